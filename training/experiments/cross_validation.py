"""Cross-validation: each question is answered by a model that was trained without it, by default without its image."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import chain
from typing import Any

from transformers import HfArgumentParser

from ..data.splits import NUM_FOLDS
from ..evaluation import (
    acceptable_answers_of,
    accuracy_with_interval,
    baseline_rows,
    build_metrics,
    compare_predictions,
    evaluation_fingerprint,
)
from ..evaluation.prediction_rows import Row
from ..evaluation.result_files import read_jsonl
from ..fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from ..fine_tuning.splits import limit_samples, load_splits
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


def cross_validate(experiments: Experiments, arguments: Mapping[str, Any], command: str) -> tuple[list[Row], Row]:
    """Do what is not done, fold by fold, and measure the answers to all questions together.

    Args:
        experiments: where runs are kept.
        arguments: of `run_vqa.py` by name, of a data set without a validation split of its own.
        command: the command line, for the fingerprint.

    Returns:
        The rows of `predictions.jsonl`, fold after fold, and `build_metrics` of them, where every baseline has learnt
        from the data set's own training rows in each fold, and the models themselves on blank images are one more,
        "blank_images". Beside these `folds`, the accuracy of each, and `comparisons`: `compare_predictions` with
        "question_only" and with "blank_images".

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
        [read_jsonl(experiments.path(run) / "predictions.jsonl") for run in kind] for kind in zip(*runs, strict=True)
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
    return rows, metrics | {
        "folds": [accuracy_with_interval(fold) for fold in folds],
        "comparisons": {
            "question_only": compare_predictions(rows, baselines["question_only"]),
            "blank_images": compare_predictions(rows, blank),
        },
    }


def _baselines(arguments: Mapping[str, Any]) -> dict[str, list[Row]]:
    pooled: dict[str, list[Row]] = {}
    for fold in range(1, NUM_FOLDS + 1):
        data_args = _data_arguments({**arguments, "validation_fold": fold})
        splits = limit_samples(load_splits(data_args, training=True), data_args)
        acceptable = acceptable_answers_of(data_args.dataset)
        for name, rows in baseline_rows(splits["train"], splits["validation"], acceptable).items():
            pooled.setdefault(name, []).extend(rows)
    return pooled


def _check_same_questions(answered: Sequence[Row], present: Sequence[Row]) -> None:
    keys = ("question_id", "question", "answer")
    if [[row[key] for key in keys] for row in answered] != [[row[key] for key in keys] for row in present]:
        raise ValueError("The data have changed since these runs were made: give another --output_dir.")


def _data_arguments(arguments: Mapping[str, Any]) -> FineTuningDataArguments:
    names = [field.name for field in fields(FineTuningDataArguments) if field.name in arguments]
    values = {name: arguments[name] if isinstance(arguments[name], list) else [arguments[name]] for name in names}
    words = [str(word) for name, words in values.items() for word in (f"--{name}", *words)]
    return HfArgumentParser(FineTuningDataArguments).parse_args_into_dataclasses(words)[0]
