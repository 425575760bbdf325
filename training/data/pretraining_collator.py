"""Image-report pairs as one batch: views of every study, its report, and which of them are the same."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any, Protocol

import PIL.Image
import torch
from transformers import BatchEncoding, PreTrainedModel

from ...processing_amif import AmifProcessor, normalize_report
from ...processing_amif.processing_amif import MAX_REPORT_LENGTH
from .images import decode_image
from .phantom import VISIBLE
from .pretraining_rows import PretrainingItem, stable_id
from .shown_values import shown


class Embedder(Protocol):
    """What embeds images and texts in one space, as `amif.training.pretraining.teacher.Teacher` does."""

    def embed_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        """Unit vectors (n, d)."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors (n, d)."""
        ...


@dataclass
class AmifPreTrainingCollator:
    """Rows of `PretrainingRows` to the tensors of a model for pre-training.

    Args:
        processor: Prepares images and reports.
        augmentation: Called as `augmentation(image, epoch=, row=)` on each view, an RGB image, with a different
            `row` for the two of a study. With it (training) the two views are drawn among a study's images, without it
            (evaluation) they are always the same two.
        max_report_length: Tokens of a report, [CLS] and [SEP] included.
        seed: Of the draws of views.
        teacher: Embeds each batch's own views, augmentation included, and reports; None where the rows hold embeddings,
            or soft labels are not wanted.
        views: Two of every study, or only the first of them.
        word_pieces: Say also which tokens continue a word.
    """

    processor: AmifProcessor
    augmentation: Callable[..., PIL.Image.Image] | None = None
    max_report_length: int = MAX_REPORT_LENGTH
    seed: int = 0
    teacher: Embedder | None = None
    views: int = 2
    word_pieces: bool = False

    def __call__(self, rows: Sequence[PretrainingItem]) -> dict[str, torch.Tensor]:
        """One batch of B studies.

        Returns:
            `pixel_values` (2B, 3, H, W): the first views of all studies, then their second ones, if any; `input_ids`
            and `attention_mask` (B, L) of the reports; int64 (B,) `row` and
            `text_group` (equal for two rows of this batch of the same study or with the same normalised report, which
            must not be each other's hard negatives; between batches, equal for equal reports whose studies stand once).
            Where the rows say what can be seen, as phantom's do: int64 (B,) `visible_group`, equal for two rows of
            which the same can be seen, whatever their wording.
            With a teacher, or where the rows hold `teacher_image_embeds` (d values a study, which stand for each of its
            views, or d for each image): (2B, d) in the order of `pixel_values`; the same with `teacher_text_embeds`:
            (B, d); both float32.
            With `word_pieces`: `continued` (B, L) bool, True where a token continues the word of the token before.

        Raises:
            ValueError: If a study has no image, or one that cannot be read, a report holds no word, or a teacher's
                embedding has no direction or another width; the message names the study and the file.
        """
        pairs = []
        for row in rows:
            number, positions = len(row["images"]), row.get("view_positions")
            # Of a table of text, "PA" is that of the only image.
            several = 1 if isinstance(positions, str) else len(positions or ())
            if not number or several not in (0, number):
                known = f", and {several} view positions" if positions else ""
                raise ValueError(f"{_name_of(row)}: it has {number} images{known}. Correct the row, or leave it out.")
            draw = random.Random(f"{self.seed}:{row['epoch']}:{row['row']}") if self.augmentation else None
            pairs.append(choose_views(number, positions, draw)[: self.views])
        views = [self._open(row, pair) for row, pair in zip(rows, pairs, strict=True)]
        images = [opened[place] for place in range(self.views) for opened in views]
        encoded = self.processor(images=images)
        try:
            reports = self.processor.encode_reports([row["text"] for row in rows], max_length=self.max_report_length)
        except ValueError as error:
            wordless = [_name_of(row) for row in rows if not normalize_report(row["text"] or "")]
            raise ValueError(f"{next(iter(wordless), 'reports')}: {error}.") from None
        known = [row for row in rows if row.keys() >= {*VISIBLE}]
        visible = [stable_id(repr([row.get(name) for name in VISIBLE])) for row in known]
        return {
            # The processor encodes an object once, also where it is both views of a study.
            "pixel_values": encoded["pixel_values"][encoded["image_index"]],
            "input_ids": reports["input_ids"],
            "attention_mask": reports["attention_mask"],
            "row": torch.tensor([row["row"] for row in rows]),
            "text_group": torch.tensor(report_groups(rows)),
            **({"continued": _continued(reports)} if self.word_pieces else {}),
            **({"visible_group": torch.tensor(visible)} if visible else {}),
            **(_teacher_embeds(rows, pairs) if self.teacher is None else _ask_teacher(self.teacher, images, rows)),
        }

    def _open(self, row: PretrainingItem, pair: tuple[int, ...]) -> list[PIL.Image.Image]:
        opened = {place: decode_image(row["images"][place], _name_of(row)) for place in set(pair)}
        if self.augmentation is None:
            return [opened[place] for place in pair]
        return [
            self.augmentation(opened[place], epoch=row["epoch"], row=2 * row["row"] + view)
            for view, place in enumerate(pair)
        ]


def _name_of(row: PretrainingItem) -> str:
    return f"study {shown(row['study_id'])} (row {row['row']}, counted from 0)"


def report_groups(rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """A number for each row, equal for rows that share a study or a normalised report, directly or through others."""
    groups = [stable_id(normalize_report(row["text"])) for row in rows]
    first_of_study: dict[str, int] = {}
    for place, row in enumerate(rows):
        other = first_of_study.setdefault(row["study_id"], place)
        old, new = groups[place], groups[other]
        if old != new:
            groups = [new if group == old else group for group in groups]
    return groups


def _continued(reports: BatchEncoding) -> torch.Tensor:
    words = [reports.word_ids(row) for row in range(len(reports["input_ids"]))]
    return torch.tensor(
        [[word is not None and word == before for before, word in pairwise([None, *row])] for row in words]
    )


def _ask_teacher(
    teacher: Embedder, images: Sequence[PIL.Image.Image], rows: Sequence[PretrainingItem]
) -> dict[str, torch.Tensor]:
    # On the CPU like the rest of the batch, which the DataLoader may pin.
    return {
        "teacher_image_embeds": teacher.embed_images(images).cpu(),
        "teacher_text_embeds": teacher.embed_texts([row["text"] for row in rows]).cpu(),
    }


def _teacher_embeds(rows: Sequence[PretrainingItem], pairs: Sequence[tuple[int, ...]]) -> dict[str, torch.Tensor]:
    embeds = {}
    if any("teacher_image_embeds" in row for row in rows):
        by_row = [_vectors(row, "teacher_image_embeds", pair) for row, pair in zip(rows, pairs, strict=True)]
        embeds["teacher_image_embeds"] = _stacked(rows, [own[view] for view in range(len(pairs[0])) for own in by_row])
    if any("teacher_text_embeds" in row for row in rows):
        embeds["teacher_text_embeds"] = _stacked(rows, [_vectors(row, "teacher_text_embeds", (0,))[0] for row in rows])
    return embeds


def _vectors(row: PretrainingItem, column: str, places: Sequence[int]) -> list[torch.Tensor]:
    """A row's vectors of the images at `places`, which may be one for the whole study."""
    try:
        vectors = torch.as_tensor(row.get(column), dtype=torch.float32)
        found = [vectors if vectors.ndim == 1 else vectors[place] for place in places]
        if all(vector.ndim == 1 and vector.isfinite().all() and vector.any() for vector in found):
            return found
    except (TypeError, ValueError, IndexError, RuntimeError):
        pass
    raise ValueError(
        f"{_name_of(row)}: {column} is no vector, nor one for each image, of finite numbers that are not all 0."
    )


def _stacked(rows: Sequence[PretrainingItem], vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    width = len(vectors[0])
    odd = next((place for place, vector in enumerate(vectors) if len(vector) != width), None)
    if odd is not None:
        raise ValueError(
            f"{_name_of(rows[odd % len(rows)])}: the teacher's embedding has {len(vectors[odd])} values, and others "
            f"have {width}."
        )
    return torch.stack(list(vectors))


def report_length(model: PreTrainedModel) -> int:
    """Tokens of a report that are read, [CLS] and [SEP] included: at most as many as the text encoder can place."""
    return min(MAX_REPORT_LENGTH, model.config.text_config.max_position_embeddings)


def choose_views(
    number: int, positions: Sequence[str | None] | None = None, draw: random.Random | None = None
) -> tuple[int, int]:
    """The places of a study's two views among its `number` images.

    Two images of different known view positions where there are any, else any two different images, else the only one
    twice, for two augmentations of it.

    Args:
        number: Images of the study, at least 1.
        positions: The view position of each, such as "PA" and "LATERAL"; None where unknown.
        draw: Chooses among the pairs, each as likely as the others and in either order; without it, the first pair.
    """
    if number == 1:
        return 0, 0
    pairs = list(permutations(range(number), 2))
    known = positions or [None] * number
    different = [(i, j) for i, j in pairs if known[i] and known[j] and known[i] != known[j]]
    candidates = different or pairs
    return draw.choice(candidates) if draw else candidates[0]
