"""The vocabulary that a model fuses as prior knowledge (section 3.4.1)."""

import torch
from datasets import Dataset

from ...processing_amif import AmifProcessor
from ..evaluation.protocols import distinct_answers

SOURCES = ("answers", "questions")


def knowledge_ids(source: str, training: Dataset, processor: AmifProcessor) -> torch.Tensor:
    """Token ids of the distinct answers or questions of the training rows, each closed by [SEP].

    Args:
        source: "answers" (normalised) or "questions" (lower-cased where the processor does).
        training: Rows of the schema whose answers may be known.
        processor: Gives the tokens.

    Returns:
        (M,) int64, as `set_knowledge` takes them.

    Raises:
        ValueError: If `source` is neither.
    """
    if source not in SOURCES:
        raise ValueError(f"knowledge={source!r} is unknown; choose one of {SOURCES} or none.")
    texts = distinct_answers(training) if source == "answers" else list(dict.fromkeys(training["question"]))
    encoded = processor.encode_answers(texts) if source == "answers" else processor(text=texts)
    return encoded["input_ids"][:, 1:][encoded["attention_mask"][:, 1:].bool()]
