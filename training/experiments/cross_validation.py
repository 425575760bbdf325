"""Cross-validation: each question is answered by a model that was trained without it, by default without its image."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..data.names import NUM_FOLDS
from ..data.references import acceptable_answers_of
from ..evaluation.baselines import baseline_rows
from ..evaluation.fingerprint import evaluation_fingerprint
from ..evaluation.grouped_accuracy import accuracy_with_interval
from ..evaluation.metrics import Metrics, build_metrics
from ..evaluation.prediction_rows import Prediction
from ..evaluation.results import Interval, Result
from ..evaluation.significance import Comparison, compare_predictions
from ..fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from ..fine_tuning.splits import limit_samples, load_splits
from ..recipes import arguments_of
from .run_arguments import check_runs
from .runs import Experiments, PlainValue, Run, RunFolder, check_not_set_here

# These choose on the fold that is evaluated, train on it, or ask for other answers than the two that are compared.
_REFUSED = (
    "abstention_error_rate",
    "ablate_image",
    "early_stopping_patience",
    "grounding_shuffles",
    "predict_file",
    "refit",
)

# Folds and the chain of runs say these.
_SET_HERE = ("do_train", "eval_split", "output_dir", "resume_from_checkpoint", "validation_fold")

# Each fold's last weights are evaluated: nothing is chosen on the questions that the result is about.
_NOTHING_CHOSEN = {"eval_strategy": "no", "load_best_model_at_end": False}


@dataclass(frozen=True)
class CrossValidation(Result):
    """The answers of all folds together, and what they are worth.

    Attributes:
        predictions: The answers, fold after fold.
        metrics: Of all answers, where every baseline has learnt from the data set's own training rows in each fold, and
            the models themselves on blank images are one more, "blank_images".
        folds: The accuracy of each fold.
        comparisons: The paired comparison with "question_only" and with "blank_images".
    """

    predictions: list[Prediction]
    metrics: Metrics
    folds: list[Interval | None]
    comparisons: dict[str, Comparison]

    def json_fields(self) -> Mapping[str, object]:
        """The content of `metrics.json`: the fields of the metrics, then folds and comparisons."""
        return {**self.metrics.json_fields(), "folds": self.folds, "comparisons": self.comparisons}


def fold_runs(arguments: Mapping[str, PlainValue], fold: int) -> tuple[Run, Run]:
    """The two runs of one fold.

    Args:
        arguments: Of `run_vqa.py` by name.
        fold: 1 to 5.

    Returns:
        The run that trains without the fold and answers its questions, and the one in which the same model answers them
        on blank images.
    """
    held_out = {"validation_fold": fold, "eval_split": "validation"}
    trained = Run("fold", "run_vqa.py", {**arguments, **_NOTHING_CHOSEN, **held_out})
    of_start = {field.name for field in fields(VqaModelArguments)} - {"attn_implementation"}
    evaluating = {name: value for name, value in trained.arguments.items() if name not in of_start}
    blank = {"model_name_or_path": RunFolder(trained), "do_train": False, "ablate_image": "blank"}
    return trained, Run("fold_blank", "run_vqa.py", {**evaluating, **blank})


def cross_validate(experiments: Experiments, arguments: Mapping[str, PlainValue], command: str) -> CrossValidation:
    """Do what is not done, fold by fold, and measure the answers to all questions together.

    Args:
        experiments: Where runs are kept.
        arguments: Of `run_vqa.py` by name, of a data set without a validation split of its own.
        command: The command line, for the fingerprint.

    Raises:
        ValueError: If the script does not take an argument, or it is one that chooses on the evaluated questions, or
            that the folds say; if the data cannot be parted in five, which have a validation split of their own, no
            training answers or too few images; or if the data have changed since the runs were made.
        RuntimeError: If a run fails.
    """
    check_not_set_here(arguments, _SET_HERE)
    if refused := [name for name in _REFUSED if name in arguments]:
        raise ValueError(f"Cross-validation evaluates each fold once, as it is: leave out {', '.join(refused)}.")
    data_args = _data_arguments(arguments)
    runs = [fold_runs(arguments, fold) for fold in range(1, NUM_FOLDS + 1)]
    check_runs(runs[0])
    baselines = _baselines(arguments)
    experiments.complete([run for of_fold in runs for run in of_fold])
    folds = [experiments.predictions(trained) for trained, _ in runs]
    rows = [row for fold in folds for row in fold]
    blank = [row for _, run in runs for row in experiments.predictions(run)]
    asked, present = (
        [(row.question_id, row.question, row.answer) for row in of] for of in (rows, baselines["question_only"])
    )
    if asked != present:
        raise ValueError("The data have changed since these runs were made: give another --output_dir.")
    protocol, seed = str(arguments.get("protocol", "clean")), int(str(arguments.get("seed", 42)))
    metrics = build_metrics(
        rows,
        protocol=protocol,
        dataset_name=data_args.name,
        split=f"{NUM_FOLDS} folds by {data_args.validation_by}",
        baselines=baselines | {"blank_images": blank},
        fingerprint=evaluation_fingerprint(rows, protocol=protocol, seed=seed, command=command),
    )
    return CrossValidation(
        rows,
        metrics,
        [accuracy_with_interval(fold) for fold in folds],
        {
            "question_only": compare_predictions(rows, baselines["question_only"]),
            "blank_images": compare_predictions(rows, blank),
        },
    )


def _baselines(arguments: Mapping[str, PlainValue]) -> dict[str, list[Prediction]]:
    pooled: dict[str, list[Prediction]] = {}
    for fold in range(1, NUM_FOLDS + 1):
        data_args = _data_arguments({**arguments, "validation_fold": fold})
        splits = limit_samples(load_splits(data_args, training=True), data_args)
        acceptable = acceptable_answers_of(data_args.name)
        for name, rows in baseline_rows(splits["train"], splits["validation"], acceptable).items():
            pooled.setdefault(name, []).extend(rows)
    return pooled


def _data_arguments(arguments: Mapping[str, PlainValue]) -> FineTuningDataArguments:
    names = {field.name for field in fields(FineTuningDataArguments)}
    given = {name: value for name, value in arguments.items() if name in names}
    (data_args,) = arguments_of((FineTuningDataArguments,), given, "the data")
    return data_args
