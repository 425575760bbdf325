"""Answers of a chat model to the questions of a data set; what is interrupted goes on where it stopped."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import Any, cast

import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers.utils import logging

from ..checkpoints.model_files import local_folder
from ..data.vqa_rows import VqaRows
from ..evaluation.fingerprint import answers_fingerprint
from ..evaluation.prediction_rows import ScoredAnswer
from ..evaluation.result_files import checkpoint_sha256
from ..fine_tuning.answering import answer_rows, open_partial_predictions
from .likelihood import CandidateRanker
from .prompts import PromptBatch, Prompts

logger = logging.get_logger(__name__)


@dataclass
class ChatAnswerer:
    """A chat model that answers questions about images under one protocol.

    Args:
        name: Of the model, a folder or a name on the Hub.
        model: `load_chat_model`'s.
        processor: Likewise.
        protocol: "generate" decodes freely; "choices" compares the letters of a question's options; "clean" and "paper"
            compare `candidates`.
        template: The prompt, as for `Prompts`.
        candidates: The answers to choose from under "clean" and "paper".
        max_new_tokens: The longest answer that is generated.
        batch_size: Questions a step.
    """

    name: str
    model: Any  # stubs of models do not say that they generate, and those of processors not what they take
    processor: Any
    protocol: str
    template: str
    candidates: Sequence[str] | None = None
    max_new_tokens: int = 32
    batch_size: int = 8

    def __post_init__(self) -> None:
        self.prompts = Prompts(self.processor, self.template)
        if self.processor.chat_template is None:
            logger.warning(
                f"{self.name} has no chat template: each prompt is the image and then --prompt as it is, with no turns "
                "of user and assistant around it."
            )

    def answer_rows(self, dataset: Dataset, folder: str | Path) -> tuple[list[str], list[float | None]]:
        """Answer every question.

        Args:
            dataset: Rows of the schema.
            folder: Where answers are written as they come, for an interrupted call to go on from.

        Returns:
            In the order of the rows, the answers and their log-likelihoods (nats), None for what was generated.
        """
        accelerator = Accelerator(cpu=self.model.device.type == "cpu")
        partial_predictions = open_partial_predictions(folder, self._fingerprint(dataset), accelerator)
        answers = answer_rows(
            VqaRows(dataset),
            self.answer,
            self.prompts,
            accelerator,
            partial_predictions,
            batch_size=self.batch_size,
        )
        texts, scores = zip(*(answers[row] for row in range(len(dataset))), strict=True)
        return list(texts), list(scores)

    def answer(self, batch: PromptBatch) -> list[ScoredAnswer]:
        """Answer what `Prompts` made of some questions."""
        inputs = {
            name: value.to(self.model.device, self.model.dtype if value.is_floating_point() else value.dtype)
            for name, value in batch["inputs"].items()
        }
        if self.protocol == "generate":
            return [ScoredAnswer(text, None) for text in self._generate(inputs)]
        options, tokens, allowed = [self.candidates or []] * len(batch["row"]), self._answer_tokens, None
        if self.protocol == "choices":
            options = cast(list[list[str]], batch["choices"])  # every question has some, and the template shows them
            counts = torch.tensor(list(map(len, options)))
            tokens = tokens[: int(counts.max())]
            allowed = torch.arange(len(tokens)) < counts[:, None]
        places, scores = self._ranker.best(inputs, tokens, allowed)
        return [
            ScoredAnswer(own[int(place)], score)
            for own, place, score in zip(options, places.tolist(), scores.tolist(), strict=True)
        ]

    def _generate(self, inputs: dict[str, torch.Tensor]) -> list[str]:
        tokenizer, asked = self.processor.tokenizer, inputs["input_ids"]
        tokens = self.model.generate(
            **inputs, do_sample=False, max_new_tokens=self.max_new_tokens, pad_token_id=tokenizer.pad_token_id
        )
        # An encoder-decoder's tokens are the answer alone.
        if torch.equal(tokens[:, : asked.shape[1]], asked):
            tokens = tokens[:, asked.shape[1] :]
        return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    @cached_property
    def _ranker(self) -> CandidateRanker:
        ends = self.model.generation_config.eos_token_id if self.model.generation_config is not None else None
        ends = self.processor.tokenizer.eos_token_id if ends is None else ends
        ends = [ends] if isinstance(ends, int) else ends or []
        if self.protocol != "choices" and not ends:
            logger.warning(f"{self.name} names no token that ends an answer: scores leave the end out.")
        # Of a letter no end is asked for: a model may go on with "A. yes".
        return CandidateRanker(self.model, [] if self.protocol == "choices" else ends)

    @cached_property
    def _answer_tokens(self) -> list[list[int]]:
        return self.prompts.answer_tokens(ascii_uppercase if self.protocol == "choices" else self.candidates or [])

    def _fingerprint(self, dataset: Dataset) -> str:
        return answers_fingerprint(
            self._model_parts,
            dataset,
            protocol=self.protocol,
            prompt=self.template,
            candidates=list(self.candidates or []),
            choices=list(dataset["choices"]) if self.protocol == "choices" else None,
            max_new_tokens=self.max_new_tokens if self.protocol == "generate" else None,
            batch_size=self.batch_size,
            dtype=str(self.model.dtype),
        )

    @cached_property
    def _model_parts(self) -> list[bytes]:
        # The files' hash: parts of a large model may be on no device.
        weights = checkpoint_sha256(local_folder(self.name))
        texts = [self.processor.tokenizer.get_vocab(), self.processor.chat_template]
        return [weights.encode(), self.processor.to_json_string().encode(), json.dumps(texts, sort_keys=True).encode()]
