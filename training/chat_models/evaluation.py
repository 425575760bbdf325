"""A chat model's answers to a split, and what they are worth, by the same measures as every other system's."""

from dataclasses import replace

from datasets import Dataset, DatasetDict
from transformers.utils import logging

from ..data import replace_images
from ..data.mixtures import first_rows
from ..data.references import acceptable_answers_of
from ..data.splits import evaluated_split
from ..evaluation.baselines import split_baselines
from ..evaluation.fingerprint import command_line, evaluation_fingerprint
from ..evaluation.metrics import Metrics, RunFacts, build_metrics
from ..evaluation.prediction_rows import Prediction, prediction_rows
from ..evaluation.protocols import candidate_answers, check_choices_given
from ..fine_tuning.answer_checks import count_unreachable
from .answering import ChatAnswerer
from .arguments import ChatModelArguments
from .loading import check_chat_model, load_chat_model
from .prompts import lettered

logger = logging.get_logger(__name__)


def answer_and_evaluate(args: ChatModelArguments) -> tuple[list[Prediction], Metrics, Dataset]:
    """Answer a split with a chat model: the rows of predictions.jsonl, the content of metrics.json, and what was asked.

    Args:
        args: The model, the questions, and how they are answered.

    Returns:
        The answers, what they are worth, and the questions with the images that the model was shown.

    Raises:
        FileNotFoundError: If there is no such model, or a file of the data is missing.
        ValueError: If the model is another one, the data lack the split or what the protocol needs, or a row is bad.
    """
    check_chat_model(args.model, args.trust_remote_code)  # before data are read
    splits = args.load_splits()
    split = evaluated_split(splits, args.split, args.name)
    whole, acceptable = splits[split], acceptable_answers_of(args.name)
    candidates = None
    if args.protocol in ("clean", "paper"):
        candidates = candidate_answers(args.protocol, splits, split, acceptable)
    dataset = first_rows(whole, args.max_eval_samples)
    check_choices_of(dataset, args.protocol, split)
    if candidates is not None:
        logger.info(f"Candidates: {len(candidates)} answers.")
        count_unreachable(dataset, candidates, acceptable)
    if args.ablate_image is not None:
        dataset = replace_images(dataset, args.ablate_image, args.seed)
    model, processor = load_chat_model(args.model, args.dtype, args.device_map, args.trust_remote_code)
    answerer = ChatAnswerer(
        args.model,
        model,
        processor,
        args.protocol,
        args.template,
        candidates,
        max_new_tokens=args.max_new_tokens,
        batch_size=args.batch_size,
    )
    rows = prediction_rows(dataset, *answerer.answer_rows(dataset, args.output_dir), acceptable)
    baselines, note = split_baselines(DatasetDict({**splits, split: dataset}), split, acceptable)
    metrics = build_metrics(
        rows,
        protocol=args.protocol,
        dataset_name=args.name,
        split=split,
        baselines=baselines,
        baselines_note=note,
        fingerprint=evaluation_fingerprint(rows, protocol=args.protocol, seed=args.seed, command=command_line()),
    )
    facts = RunFacts(args.ablate_image, refit=False, model=args.model, prompt=args.template)
    return rows, replace(metrics, run=facts), dataset


def check_choices_of(dataset: Dataset, protocol: str, split: str) -> None:
    """Make sure that each question has options where they are chosen from; elsewhere say that they are not shown.

    Args:
        dataset: The questions.
        protocol: How they are answered.
        split: Of which split they are, for messages.

    Raises:
        ValueError: If a question has none under "choices", or more than there are letters.
    """
    if protocol != "choices":
        if with_choices := sum(map(bool, dataset["choices"])) if "choices" in dataset.column_names else 0:
            logger.warning(
                f"{with_choices} of {len(dataset)} {split} questions have choices, which are not shown under "
                f"--protocol {protocol}: --protocol choices shows them."
            )
        return
    check_choices_given(dataset, split)
    for row, choices in enumerate(dataset["choices"]):
        try:
            lettered(choices)
        except ValueError as error:
            raise ValueError(f"{split}, row {row} (counted from 0): {error}") from None
