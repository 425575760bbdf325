"""Questions about images as one batch, in which each image stands once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import PIL.Image
import torch

from ...processing_amif import AmifProcessor
from .images import decode_image
from .references import normal_form
from .shown_values import shown
from .vqa_rows import VqaItem


@dataclass
class AmifVqaCollator:
    """Rows of `VqaRows` to the tensors of `AmifForVisualQuestionAnswering`.

    Args:
        processor: Prepares images, questions and answers.
        augmentation: Called as `augmentation(image, epoch=, row=)` on an RGB image. An image's questions in a batch
            share one draw, that of the first of them.
    """

    processor: AmifProcessor
    augmentation: Callable[..., PIL.Image.Image] | None = None

    def __call__(self, rows: Sequence[VqaItem]) -> dict[str, torch.Tensor]:
        """One batch of B questions about U different images, the images in the order first seen.

        Returns:
            `pixel_values` (U, 3, H, W), or `image_states` (U, tokens, width) where the rows hold them; `image_index`
            (B,), the image of each question; `input_ids` and `attention_mask` (B, L); `row` (B,), the questions' places
            in their data set; and, if every row has an answer, `labels` (B, T): [CLS] answer [SEP] of the
            normalised answer, -100 for padding. All but the first are int64.

        Raises:
            ValueError: If an image has vanished or is damaged; the message names its file and row.
        """
        first_rows: dict[str, VqaItem] = {}
        for row in rows:
            first_rows.setdefault(row["image_id"], row)
        places = {image_id: place for place, image_id in enumerate(first_rows)}
        questions = self.processor(text=[row["question"] for row in rows])
        return {
            **self._encode_images(first_rows),
            "image_index": torch.tensor([places[row["image_id"]] for row in rows]),
            "input_ids": questions["input_ids"],
            "attention_mask": questions["attention_mask"],
            "row": torch.tensor([row["row"] for row in rows]),
            **self._encode_labels([row["answer"] for row in rows]),
        }

    def _encode_images(self, first_rows: Mapping[str, VqaItem]) -> dict[str, torch.Tensor]:
        states = [row["image_states"] for row in first_rows.values() if "image_states" in row]
        if states:
            return {"image_states": torch.stack(states)}
        encoded = self.processor(images=[self._open(row) for row in first_rows.values()])
        # The processor encodes an object once, also where it is the image of two ids.
        return {"pixel_values": encoded["pixel_values"][encoded["image_index"]]}

    def _open(self, row: VqaItem) -> PIL.Image.Image:
        image = decode_image(row["image"], f"row {row['row']} (counted from 0), image id {shown(row['image_id'])}")
        return image if self.augmentation is None else self.augmentation(image, epoch=row["epoch"], row=row["row"])

    def _encode_labels(self, answers: Sequence[str | None]) -> dict[str, torch.Tensor]:
        known = [normal_form(answer) for answer in answers if answer is not None]
        if len(known) < len(answers):
            return {}
        encoded = self.processor.encode_answers(known)
        return {"labels": encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)}


def vqa_lengths(processor: AmifProcessor, questions: Sequence[str], answers: Sequence[str]) -> list[int]:
    """What rows are grouped by in batches: answers of a length together, and among them questions of a length.

    Answers come first, since each of their tokens is predicted among the whole vocabulary.

    Returns:
        A number a row: its answer's tokens, times more than any question has, plus its question's.
    """
    of_questions = processor(text=list(questions))["attention_mask"].sum(dim=1)
    of_answers = processor.encode_answers(list(map(normal_form, answers)))["attention_mask"].sum(dim=1)
    return (of_answers * (of_questions.max() + 1) + of_questions).tolist()
