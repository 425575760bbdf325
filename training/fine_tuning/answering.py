"""Answering the questions of a data set, image by image; what is interrupted goes on where it stopped."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from ...processing_amif import AmifProcessor
from ..data.same_images import shared_image_ids
from ..data.sampler import ImageGroupedSampler
from ..data.vqa_rows import VqaItem, VqaRows
from ..evaluation.partial_predictions import PartialPredictions
from ..evaluation.prediction_rows import ScoredAnswer

# What a collator makes of questions, with the places of their rows as `row`.
_Batch = TypeVar("_Batch", bound=Mapping[str, Any])


@dataclass(frozen=True)
class Answerer:
    """Answers batches by ranking candidates, or freely where there are none.

    Args:
        processor: Encodes the candidates and decodes what is generated.
        candidates: Answers to choose from; None generates.
        choices: Each question's own candidates, which come before those of all; None where there are none.
    """

    processor: AmifProcessor
    candidates: Sequence[str] | None
    choices: Sequence[Sequence[str]] | None = None

    def predict(
        self, model: AmifForVisualQuestionAnswering, inputs: Mapping[str, Any], rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer B questions, `rows` (B,) of the data; inputs as for the model's `forward`.

        Returns:
            The best candidates' indices (B, 1) int64, of own choices those in the question's list, and log-likelihoods
            (B,) float32 in nats; of generated answers the tokens (B, length) int64, and NaN.
        """
        if self.choices is not None:
            lists = [self.choices[int(row)] for row in rows.tolist()]
            texts, encoded, mask = self.processor.encode_choices(lists)
            ranking = model.rank_answers(**inputs, answers=encoded, answer_mask=mask)
            best = [[own.index(texts[i])] for own, (i,) in zip(lists, ranking.indices.tolist(), strict=True)]
            return torch.tensor(best, device=ranking.indices.device), ranking.scores[:, 0]
        if self.candidates is None:
            tokens = model.generate(**inputs)
            return tokens, torch.full((len(tokens),), torch.nan, device=tokens.device)
        ranking = model.rank_answers(**inputs, answers=self.processor.encode_candidates(self.candidates))
        return ranking.indices, ranking.scores[:, 0]

    def texts(self, predictions: np.ndarray, rows: Sequence[int]) -> list[str]:
        """The answers that the first result of `predict` stands for; -100 fills up batches of unequal length."""
        if self.choices is not None:
            return [self.choices[row][int(index)] for row, index in zip(rows, predictions[:, 0], strict=True)]
        if self.candidates is not None:
            return [self.candidates[int(index)] for index in predictions[:, 0]]
        tokenizer = self.processor.tokenizer
        tokens = np.where(predictions == -100, tokenizer.pad_token_id, predictions)
        return tokenizer.batch_decode(tokens, skip_special_tokens=True)

    def answers(self, predictions: torch.Tensor, scores: torch.Tensor, rows: Sequence[int]) -> list[ScoredAnswer]:
        """Texts and scores of what `predict` returned; no score for what was generated."""
        texts = self.texts(predictions.cpu().numpy(), rows)
        values = [None] * len(texts) if self.choices is None and self.candidates is None else scores.tolist()
        return list(map(ScoredAnswer, texts, values))


def open_partial_predictions(folder: str | Path, fingerprint: str, accelerator: Accelerator) -> PartialPredictions:
    """The partial predictions of an evaluation, under the first process's fingerprint and in one file, in each process.

    Args:
        folder: Where they are kept.
        fingerprint: Of `prediction_fingerprint`.
        accelerator: Tells the processes apart.
    """
    shared = [fingerprint]
    broadcast_object_list(shared)
    partial_predictions = PartialPredictions(folder, shared[0], accelerator.process_index)
    if accelerator.is_main_process:
        partial_predictions.tidy()
    accelerator.wait_for_everyone()
    return partial_predictions


def answer_rows(
    rows: VqaRows,
    answer: Callable[[_Batch], list[ScoredAnswer]],
    collator: Callable[[list[Any]], _Batch],
    accelerator: Accelerator,
    partial_predictions: PartialPredictions | None,
    *,
    batch_size: int,
    num_workers: int = 0,
    progress: bool = True,
) -> dict[int, ScoredAnswer]:
    """Answer every row that has no partial prediction; the processes share the batches.

    Rows that ask the same of the same image, and have the same choices, are answered once, by the first of them.

    Args:
        rows: The questions.
        answer: Answers a batch of the collator.
        collator: Makes the batches, each with the places of its rows as `row`.
        accelerator: Tells the processes apart.
        partial_predictions: Holds what was answered before, and is told every answer; None keeps them in memory alone.
        batch_size: Questions a batch.
        num_workers: Processes that read them; 0 reads in this one.
        progress: Whether a bar is shown.

    Returns:
        The answers of all processes by row.
    """
    image_ids = shared_image_ids(rows.dataset)
    first = first_that_ask_the_same(rows.dataset, image_ids)
    asked = sorted(set(first))
    order = [asked[place] for place in ImageGroupedSampler([image_ids[row] for row in asked])]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    before = {} if partial_predictions is None else partial_predictions.read()
    accelerator.wait_for_everyone()  # no process appends before all have read
    # Whole batches: in other company, and padded otherwise, a question's score may differ in the last digit.
    waiting = [batch for batch in batches if not before.keys() >= set(batch)]
    own = waiting[accelerator.process_index :: accelerator.num_processes]
    collate = partial(collate_under_ids, collator, image_ids)
    loader = DataLoader(rows, batch_sampler=own, collate_fn=collate, num_workers=num_workers)
    question_ids, found = rows.dataset["question_id"][:], []
    for batch in tqdm(loader, desc="Answering", disable=not progress or not accelerator.is_local_main_process):
        places = batch["row"].tolist()
        answers = answer(batch)
        if partial_predictions is not None:
            partial_predictions.append(places, [question_ids[place] for place in places], answers)
        found += zip(places, answers, strict=True)
    answered = before | dict(gather_object(found))
    return {row: answered[answering] for row, answering in enumerate(first)}


def first_that_ask_the_same(dataset: Dataset, image_ids: Sequence[str]) -> list[int]:
    """Of each row the first that has its question, its choices and its image of `image_ids`."""
    choices = dataset["choices"][:] if "choices" in dataset.column_names else [None] * len(dataset)
    firsts: dict[tuple[str, str, tuple[str, ...]], int] = {}
    return [
        firsts.setdefault((image_id, question, tuple(own or ())), row)
        for row, (image_id, question, own) in enumerate(zip(image_ids, dataset["question"][:], choices, strict=True))
    ]


def collate_under_ids(
    collator: Callable[[list[Any]], _Batch], image_ids: Sequence[str], items: Sequence[VqaItem]
) -> _Batch:
    """What `collator` makes of rows with other image ids. At module level, for workers may be sent it."""
    return collator([{**item, "image_id": image_ids[item["row"]]} for item in items])
