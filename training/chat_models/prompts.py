"""What a chat model is asked: the prompt of a question, its images, and the tokens of the answers to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, TypedDict

import PIL.Image
import torch
from transformers.utils import logging

from ..data.images import decode_image

logger = logging.get_logger(__name__)

# Stands for an answer where a chat template is asked what it writes before one.
_SOME_ANSWER = "yes"


def lettered(choices: Sequence[str]) -> str:
    """Options as lines, "A. yes" the first.

    Raises:
        ValueError: If there are more than letters.
    """
    if len(choices) > len(ascii_uppercase):
        raise ValueError(f"{len(choices)} choices are more than the {len(ascii_uppercase)} letters that name them.")
    return "\n".join(f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False))


class PromptBatch(TypedDict):
    """What a chat model is asked at once.

    `row` (B,) int64 are the places of the B questions, `choices` the options of each or None, and `inputs` are the
    model's, padded on the left.
    """

    row: torch.Tensor
    choices: list[list[str] | None]
    inputs: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Prompts:
    """Makes the inputs of a chat model, and is the collator of `VqaRows`.

    The processor's chat template writes the conversation, of one turn of the user: the images, then the prompt. Where
    it has none, the images' tokens stand right before the prompt, and nothing behind it.

    Args:
        processor: The model's.
        template: The prompt with `{question}` and, where options are shown, `{choices}`.
    """

    processor: Any  # whose stub does not say what it takes
    template: str

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> PromptBatch:
        """The batch of B rows; options are `choices` only where the template shows them."""
        choices = [item.get("choices") if "{choices}" in self.template else None for item in items]
        texts = [
            self.template.format(question=item["question"], choices=lettered(options or []))
            for item, options in zip(items, choices, strict=True)
        ]
        images = [
            [decode_image(cell, f"row {item['row']} (counted from 0)") for cell in cells]
            for item in items
            for cells in [item["image"] if isinstance(item["image"], list) else [item["image"]]]
        ]
        return {
            "row": torch.tensor([item["row"] for item in items]),
            "choices": choices,
            "inputs": self.encode(texts, images),
        }

    def encode(self, texts: Sequence[str], images: Sequence[Sequence[PIL.Image.Image]]) -> dict[str, torch.Tensor]:
        """Inputs for B prompts and the images of each, padded on the left."""
        options = {"padding": True, "padding_side": "left"}
        if self.processor.chat_template is None:
            before = getattr(self.processor, "image_token", "")
            prompts = [before * len(own) + text for text, own in zip(texts, images, strict=True)]
            return dict(self.processor(text=prompts, images=list(map(list, images)), return_tensors="pt", **options))
        asked = [_conversation(text, own) for text, own in zip(texts, images, strict=True)]
        inputs = self.processor.apply_chat_template(
            asked,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=options,
        )
        return dict(inputs)

    def answer_tokens(self, answers: Sequence[str]) -> list[list[int]]:
        """The tokens by which a model would give each answer, right behind the prompt."""
        tokenizer = self.processor.tokenizer
        before, gap = self._before_answer()
        tokens_before = tokenizer(before, add_special_tokens=False)["input_ids"]
        alone = tokenizer([gap + answer for answer in answers], add_special_tokens=False)["input_ids"]
        behind = tokenizer([before + gap + answer for answer in answers], add_special_tokens=False)["input_ids"]
        # What merges with the prompt's last token cannot follow it.
        return [
            list(whole[len(tokens_before) :]) if whole[: len(tokens_before)] == tokens_before else list(own)
            for whole, own in zip(behind, alone, strict=True)
        ]

    def _before_answer(self) -> tuple[str, str]:
        """How a prompt ends, and the white space between it and an answer."""
        image = PIL.Image.new("RGB", (64, 64))
        if self.processor.chat_template is None:
            (ids,) = self.encode([self.template.format(question="", choices="")], [[image]])["input_ids"].tolist()
            before = self.processor.tokenizer.decode(ids[-4:])
            return before, "" if before[-1:].isspace() else " "
        asked = _conversation("", [image])
        answered = [*asked, {"role": "assistant", "content": [{"type": "text", "text": _SOME_ANSWER}]}]
        before = str(self.processor.apply_chat_template(asked, add_generation_prompt=True))
        rest = str(self.processor.apply_chat_template(answered)).removeprefix(before)
        gap = rest[: len(rest) - len(rest.lstrip())]
        return before, gap if rest.lstrip().startswith(_SOME_ANSWER) else ""


def _conversation(text: str, images: Sequence[PIL.Image.Image]) -> list[dict[str, Any]]:
    shown = [{"type": "image", "image": image} for image in images]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]
