"""Cross-validation: each question is answered by a model that was trained without it, by default without its image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from ..data.references import acceptable_answers_of
from ..data.splits import NUM_FOLDS
from ..evaluation.baselines import baseline_rows
from ..evaluation.fingerprint import evaluation_fingerprint
from ..evaluation.grouped_accuracy import accuracy_with_interval
from ..evaluation.metrics import Metrics, build_metrics
from ..evaluation.prediction_rows import Prediction, read_prediction_rows
from ..evaluation.results import Interval, Result
from ..evaluation.significance import Comparison, compare_predictions
from ..fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from ..fine_tuning.splits import limit_samples, load_splits
from ..recipes import parse_arguments
from .runs import Checkpoint, Experiments, Run

# These choose on the fold that is evaluated, train on it, or ask for other answers than the two that are compared.
_REFUSED = (
    "abstention_error_rate",
    "ablate_image",
    "early_stopping_patience",
    "grounding_shuffles",
    "predict_file",
    "refit",
)

# Each fold's last weights are evaluated: nothing is chosen on the questions that the result is about.
_NOTHING_CHOSEN = {"eval_strategy": "no", "load_best_model_at_end": False}


def fold_runs(arguments: Mapping[str, Any], fold: int) -> tuple[Run, Run]:
    """The two runs of one fold.

    Args:
        arguments: of `run_vqa.py` by name.
        fold: 1 to 5.

    Returns:
        The run that trains without the fold and answers its questions, and the one in which the same model answers them
        on blank images.
    """
    held_out = {"validation_fold": fold, "eval_split": "validation"}
    trained = Run("fold", "run_vqa.py", {**arguments, **_NOTHING_CHOSEN, **held_out})
    of_start = {field.name for field in fields(VqaModelArguments)} - {"attn_implementation"}
    evaluating = {name: value for name, value in trained.arguments.items() if name not in of_start}
    blank = {"model_name_or_path": Checkpoint(trained), "do_train": False, "ablate_image": "blank"}
    return trained, Run("fold_blank", "run_vqa.py", {**evaluating, **blank})


@dataclass(frozen=True)
class CrossValidation(Result):
    """Measures of the answers of all folds.

    Attributes:
        metrics: Of all answers together; the models themselves on blank images are one more baseline, "blank_images".
        folds: The accuracy of each.
        comparisons: Paired, with "question_only" and with "blank_images".
    """

    metrics: Metrics
    folds: list[Interval | None]
    comparisons: dict[str, Comparison]

    def json_fields(self) -> Mapping[str, object]:
        """Those of the metrics, then the others."""
        return {**self.metrics.json_fields(), "folds": self.folds, "comparisons": self.comparisons}


def cross_validate(
    experiments: Experiments, arguments: Mapping[str, Any], command: str
) -> tuple[list[Prediction], CrossValidation]:
    """Do what is not done, fold by fold, and measure the answers to all questions together.

    Args:
        experiments: where runs are kept.
        arguments: of `run_vqa.py` by name, of a data set without a validation split of its own.
        command: the command line, for the fingerprint.

    Returns:
        The rows of `predictions.jsonl`, fold after fold, and their measures, where every baseline has learnt from the
        data set's own training rows in each fold.

    Raises:
        ValueError: for arguments that choose on the evaluated questions; for data that cannot be parted in five, which
            have a validation split of their own, no training answers or too few images; and where the data have changed
            since the runs were made.
        RuntimeError: where a run fails.
    """
    if refused := [name for name in _REFUSED if name in arguments]:
        raise ValueError(f"Cross-validation evaluates each fold once, as it is: leave out {', '.join(refused)}.")
    data_args = _data_arguments(arguments)
    runs = [fold_runs(arguments, fold) for fold in range(1, NUM_FOLDS + 1)]
    baselines = _baselines(arguments)
    experiments.complete([run for of_fold in runs for run in of_fold])
    folds, blank_folds = (
        [read_prediction_rows(experiments.path(run) / "predictions.jsonl") for run in kind]
        for kind in zip(*runs, strict=True)
    )
    rows, blank = list(chain.from_iterable(folds)), list(chain.from_iterable(blank_folds))
    _check_same_questions(rows, baselines["question_only"])
    protocol, seed = arguments.get("protocol", "clean"), int(arguments.get("seed", 42))
    metrics = build_metrics(
        rows,
        protocol=protocol,
        dataset_name=data_args.dataset,
        split=f"{NUM_FOLDS} folds by {data_args.validation_by}",
        baselines=baselines | {"blank_images": blank},
        fingerprint=evaluation_fingerprint(rows, protocol=protocol, seed=seed, command=command),
    )
    return rows, CrossValidation(
        metrics=metrics,
        folds=[accuracy_with_interval(fold) for fold in folds],
        comparisons={
            "question_only": compare_predictions(rows, baselines["question_only"]),
            "blank_images": compare_predictions(rows, blank),
        },
    )


def _baselines(arguments: Mapping[str, Any]) -> dict[str, list[Prediction]]:
    pooled: dict[str, list[Prediction]] = {}
    for fold in range(1, NUM_FOLDS + 1):
        data_args = _data_arguments({**arguments, "validation_fold": fold})
        splits = limit_samples(load_splits(data_args, training=True), data_args)
        acceptable = acceptable_answers_of(data_args.dataset)
        for name, rows in baseline_rows(splits["train"], splits["validation"], acceptable).items():
            pooled.setdefault(name, []).extend(rows)
    return pooled


def _check_same_questions(answered: Sequence[Prediction], present: Sequence[Prediction]) -> None:
    asked = [[(row.question_id, row.question, row.answer) for row in rows] for rows in (answered, present)]
    if asked[0] != asked[1]:
        raise ValueError("The data have changed since these runs were made: give another --output_dir.")


def _data_arguments(arguments: Mapping[str, Any]) -> FineTuningDataArguments:
    names = [field.name for field in fields(FineTuningDataArguments) if field.name in arguments]
    values = {name: arguments[name] if isinstance(arguments[name], list) else [arguments[name]] for name in names}
    words = [str(word) for name, words in values.items() for word in (f"--{name}", *words)]
    return parse_arguments(FineTuningDataArguments, words)
