"""Questions about images as one batch, in which each image stands once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import PIL.Image
import torch

from ...processing_amif import AmifProcessor
from ...processing_amif.images_amif import view_index
from .images import ImageCell, decode_image
from .references import normal_form
from .shown_values import shown
from .views import cells_of, view_ids
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
            (B,), the image of each question, or (B, V), its views and -1 behind the last, where one has several;
            `input_ids` and `attention_mask` (B, L); `row` (B,), the questions' places in their data set; and, if every
            row has an answer, `labels` (B, T): [CLS] answer [SEP] of the normalised answer, -100 for padding. All but
            the first are int64.

        Raises:
            ValueError: If an image has vanished or is damaged; the message names its file and row.
        """
        views = [cells_of(row["image"]) for row in rows]
        ids = [view_ids(row["image_id"], len(cells)) for row, cells in zip(rows, views, strict=True)]
        shown_first: dict[str, tuple[VqaItem, int]] = {}
        for row, names in zip(rows, ids, strict=True):
            for place, image_id in enumerate(names):
                shown_first.setdefault(image_id, (row, place))
        places = {image_id: place for place, image_id in enumerate(shown_first)}
        image_index = view_index(list(map(len, ids)), [places[image_id] for names in ids for image_id in names])
        return {
            **self._encode_images(list(shown_first.values())),
            "image_index": torch.tensor(image_index),
            **_each_once(lambda texts: self.processor(text=texts), [row["question"] for row in rows]),
            "row": torch.tensor([row["row"] for row in rows]),
            **self._encode_labels([row["answer"] for row in rows]),
        }

    def _encode_images(self, views: Sequence[tuple[VqaItem, int]]) -> dict[str, torch.Tensor]:
        """Each image once, given as a row that shows it and its place there."""
        states = [row["image_states"][place] for row, place in views if "image_states" in row]
        if states:
            return {"image_states": torch.stack(states)}
        encoded = self.processor(images=[self._open(row, cells_of(row["image"])[place]) for row, place in views])
        # The processor encodes an object once, also where it is the image of two ids.
        return {"pixel_values": encoded["pixel_values"][encoded["image_index"]]}

    def _open(self, row: VqaItem, cell: ImageCell) -> PIL.Image.Image:
        image = decode_image(cell, f"row {row['row']} (counted from 0), image id {shown(row['image_id'])}")
        return image if self.augmentation is None else self.augmentation(image, epoch=row["epoch"], row=row["row"])

    def _encode_labels(self, answers: Sequence[str | None]) -> dict[str, torch.Tensor]:
        known = [normal_form(answer) for answer in answers if answer is not None]
        if len(known) < len(answers):
            return {}
        encoded = _each_once(self.processor.encode_answers, known)
        return {"labels": encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)}


def _each_once(
    encode: Callable[[list[str]], Mapping[str, torch.Tensor]], texts: Sequence[str]
) -> dict[str, torch.Tensor]:
    """The tensors of texts, of which `encode` is given each once: many questions of a batch are asked alike."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    index = torch.tensor([places[text] for text in texts])
    return {name: tensor[index] for name, tensor in encode(list(places)).items()}


def vqa_lengths(processor: AmifProcessor, questions: Sequence[str], answers: Sequence[str]) -> list[int]:
    """What rows are grouped by in batches: answers of a length together, and among them questions of a length.

    Answers come first, since each of their tokens is predicted among the whole vocabulary.

    Returns:
        A number a row: its answer's tokens, times more than any question has, plus its question's.
    """
    of_questions = processor(text=list(questions))["attention_mask"].sum(dim=1)
    of_answers = processor.encode_answers(list(map(normal_form, answers)))["attention_mask"].sum(dim=1)
    return (of_answers * (of_questions.max() + 1) + of_questions).tolist()
