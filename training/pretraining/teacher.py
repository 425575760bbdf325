"""Frozen teachers, whose embeddings of images and reports make the soft labels (equation 5)."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import datasets.config
import PIL.Image
import pyarrow as pa
import torch
import torch.nn.functional as F
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets
from transformers import AutoModel, AutoProcessor
from transformers.utils import logging

from ...modeling_amif.dual_encoder_amif import AmifDualEncoder
from ...processing_amif import to_rgb
from ..checkpoints.model_files import load_all_weights, load_checkpoint
from ..data.images import decode_image
from ..data.teacher_vectors import check_teacher_vectors
from ..data.zipped_images import image_file_state

logger = logging.get_logger(__name__)

SPECS = "none, amif:PATH, hf:NAME, open_clip:NAME or column:NAME"

IMAGE_COLUMN, TEXT_COLUMN = "teacher_image_embeds", "teacher_text_embeds"

# Studies whose embeddings are kept in one file: minutes of work, which an interruption can cost.
ROWS_A_PART = 2_048


class Teacher:
    """A model that embeds images and texts in one space: frozen, in evaluation mode, part of no checkpoint.

    Args:
        model: Its network.
        images: Turns n RGB images into (n, ...) pixels.
        texts: Turns n strings into the tensors of `encode_texts`, by name.
        encode_images: Turns pixels into (n, d).
        encode_texts: Turns those tensors into (n, d).
        preprocessing: What `images` and `texts` do, in words, for the fingerprint.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        images: Callable[[list[PIL.Image.Image]], torch.Tensor],
        texts: Callable[[list[str]], dict[str, torch.Tensor]],
        encode_images: Callable[[torch.Tensor], torch.Tensor],
        encode_texts: Callable[..., torch.Tensor],
        preprocessing: str,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self._images, self._texts = images, texts
        self._encode_images, self._encode_texts = encode_images, encode_texts
        self._preprocessing = preprocessing

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def embed_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        """Unit vectors (n, d), float32, on the teacher's device."""
        pixels = self._images([to_rgb(image) for image in images]).to(self.device)
        return F.normalize(self._encode_images(pixels).float(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors (n, d), float32, on the teacher's device; what exceeds the teacher's length is cut off."""
        tokens = {name: tensor.to(self.device) for name, tensor in self._texts(list(texts)).items()}
        return F.normalize(self._encode_texts(**tokens).float(), dim=-1)

    def fingerprint(self) -> str:
        """A hash of weights and preprocessing, the same wherever the teacher lies."""
        digest = hashlib.sha256(self._preprocessing.encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()


def load_teacher(spec: str, device: str | torch.device = "cpu") -> Teacher:
    """The teacher that a command line names.

    Args:
        spec: One of amif:PATH, a pre-training checkpoint; hf:NAME, a CLIP-like model of transformers, name or folder;
            open_clip:NAME, a hub id or a folder in open_clip's layout, as BiomedCLIP's (its tokenizer's files beside
            `open_clip_config.json`).
        device: Where it runs.

    Raises:
        ValueError: If the spec is another, there is no such model, it has no image and text embeddings, or some of its
            weights are missing or not finite.
    """
    kind, _, name = spec.partition(":")
    loaders = {"amif": _load_amif, "hf": _load_hf, "open_clip": _load_open_clip}
    if kind not in loaders or not name:
        raise ValueError(f"teacher {spec!r} is no model; choose {SPECS}.")
    try:
        teacher = loaders[kind](name)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"teacher {spec!r} cannot be read: give its folder, or its name on the Hub ({error})"
        ) from error
    teacher.model.to(device)
    return teacher


def add_teacher_embeddings(
    splits: DatasetDict,
    spec: str,
    device: str | torch.device = "cpu",
    batch_size: int = 32,
    cache_dir: str | os.PathLike[str] | None = None,
    read: Mapping[str, Sequence[int]] | None = None,
) -> DatasetDict:
    """Image-report pairs with the columns that soft labels are made of: the teacher's embeddings, computed once.

    They are kept in the data sets' cache in parts of `ROWS_A_PART` studies, each under a hash of teacher, images and
    texts, and one of its own, by which a damaged file is found and computed anew. After an interruption the parts that
    were whole are not computed again. On several processes, call it within `training_args.main_process_first()`.

    Args:
        splits: Rows with images and text.
        spec: As for `load_teacher`; "none" changes nothing; "column:NAME" takes the columns `NAME_image_embeds` (d
            values a row, or a list of d values for each image) and `NAME_text_embeds` (d values).
        device: Where the teacher runs.
        batch_size: Studies a step.
        cache_dir: Where embeddings are kept; None takes a folder in datasets' cache.
        read: The splits that are embedded, and the places of their rows that are, in rising order; the other rows get
            None, the other splits no columns. None embeds all.

    Returns:
        The rows with `teacher_image_embeds`, a list of d values for each image, and `teacher_text_embeds`, d values.

    Raises:
        ValueError: If the spec is unknown, the data lacks a column, a row has no vectors of one width that have a
            direction, or an image cannot be read.
        FileNotFoundError: If an image has vanished.
        OSError: If the embeddings cannot be kept.
    """
    if spec == "none":
        return splits
    if spec.startswith("column:"):
        return DatasetDict({str(name): _rename_columns(str(name), split, spec) for name, split in splits.items()})
    teacher = load_teacher(spec, device)
    folder = Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "amif_teacher")
    fingerprint, embedded = teacher.fingerprint(), {}
    for name, split in splits.items():
        places = range(len(split)) if read is None else read.get(str(name), ())
        if not places:
            continue
        logger.info(f"The teacher embeds {len(places)} of {len(split)} studies of {name}.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            embedded[name] = _embed_rows(split, places, teacher, batch_size, folder, fingerprint)
        except FileNotFoundError:  # of an image
            raise
        except OSError as error:
            raise OSError(
                f"the teacher's embeddings cannot be kept in {folder} ({error.strerror or error}): make room there, or "
                "name another folder in the environment variable HF_DATASETS_CACHE."
            ) from None
    return DatasetDict(splits | embedded)


def _rename_columns(name: str, split: Any, spec: str) -> Any:
    prefix = spec.partition(":")[2]
    names = {f"{prefix}_image_embeds": IMAGE_COLUMN, f"{prefix}_text_embeds": TEXT_COLUMN}
    missing = [name for name in names if name not in split.column_names]
    if missing:
        raise ValueError(
            f"teacher {spec!r} needs the columns {' and '.join(names)}; {' and '.join(missing)} missing among "
            f"{', '.join(split.column_names)}."
        )
    if isinstance(split, Dataset):  # the rows of a stream are looked at when they come
        check_teacher_vectors(split, *names, source=name)
    return split.rename_columns({old: new for old, new in names.items() if old != new})


def _embed_rows(
    split: Dataset, places: Sequence[int], teacher: Teacher, batch_size: int, folder: Path, fingerprint: str
) -> Dataset:
    """A split with the teacher's embeddings of its rows at `places`, of equal rows once, and None in the others."""
    digests = _row_digests(split.select(places))
    first = {digest: place for place, digest in reversed(list(zip(places, digests, strict=True)))}
    different, parts = list(dict.fromkeys(digests)), []
    for start in range(0, len(different), ROWS_A_PART):
        of_part = different[start : start + ROWS_A_PART]
        key = hashlib.sha256(fingerprint.encode() + b"".join(of_part)).hexdigest()[:32]
        if (kept := _read_cache(folder, key)) is None:
            places_of_part = [first[digest] for digest in of_part]
            kept = _embed_part(split.select(places_of_part), places_of_part, teacher, batch_size, folder, key)
        parts.append(kept)
    embeds = concatenate_datasets(parts)
    if len(different) < len(split):
        nothing = Dataset.from_dict({name: [None] for name in embeds.column_names}, features=embeds.features)
        row_of = {digest: row for row, digest in enumerate(different)}
        rows = {place: row_of[digest] for place, digest in zip(places, digests, strict=True)}
        chosen = [rows.get(place, len(embeds)) for place in range(len(split))]
        embeds = concatenate_datasets([embeds, nothing]).select(chosen)
    return concatenate_datasets([split, embeds], axis=1)


def _read_cache(folder: Path, key: str) -> Dataset | None:
    """The embeddings that are kept under `key`; None where there are none, or no whole ones."""
    for file in folder.glob(f"{key}-*.arrow"):
        if file.stem == f"{key}-{_sha256(file)}":
            return Dataset.from_file(str(file))
        logger.warning(f"{file}, which keeps the teacher's embeddings, is damaged: they are computed anew.")
        file.unlink(missing_ok=True)
    return None


def _embed_part(
    part: Dataset, places: Sequence[int], teacher: Teacher, batch_size: int, folder: Path, key: str
) -> Dataset:
    """The teacher's embeddings of the rows of a part, which are kept for `_read_cache` once they are whole."""
    vector = datasets.List(Value("float32"))
    with tempfile.TemporaryDirectory(prefix=f"{key}-", dir=folder) as partial:
        file = Path(partial) / "embeddings.arrow"
        embeds = part.with_format("arrow").map(
            lambda batch, rows: embed_batch(batch.to_pydict(), [places[row] for row in rows], teacher),
            with_indices=True,
            batched=True,
            batch_size=batch_size,
            remove_columns=part.column_names,
            features=Features({IMAGE_COLUMN: datasets.List(vector), TEXT_COLUMN: vector}),
            cache_file_name=str(file),
            new_fingerprint=key,
            desc=f"Embedding by the teacher from row {places[0]}",
        )
        whole = concatenate_datasets([part, embeds.with_format(None)], axis=1)
        check_teacher_vectors(whole, IMAGE_COLUMN, TEXT_COLUMN, f"embeddings of the teacher from row {places[0]}")
        del whole, embeds  # of a file that is open some systems refuse to change the name
        kept = folder / f"{key}-{_sha256(file)}.arrow"
        os.replace(file, kept)
    return Dataset.from_file(str(kept))


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def embed_batch(
    rows: Mapping[str, list[Any]], numbers: Sequence[int | str], teacher: Teacher
) -> dict[str, list[list[Any]]]:
    """Embeddings of a batch of undecoded rows, by column, each image of each study once.

    Args:
        rows: By column, `images` and `text`.
        numbers: What messages call the rows.
        teacher: Embeds them.
    """
    counts = [len(images) for images in rows["images"]]
    opened = [
        decode_image(image, f"row {number} (counted from 0)")
        for number, study in zip(numbers, rows["images"], strict=True)
        for image in study
    ]
    images, texts = teacher.embed_images(opened), teacher.embed_texts(rows["text"])
    by_study = [study.tolist() for study in images.cpu().split(counts)]
    return {IMAGE_COLUMN: by_study, TEXT_COLUMN: texts.cpu().tolist()}


def _row_digests(rows: Dataset) -> list[bytes]:
    """Of each row a hash of its text and images; of an image that is a file, of its path, size and time of change."""
    digests = []
    for batch in rows.select_columns(["images", "text"]).with_format("arrow").iter(1_000):
        # The stub knows of no formats: in Arrow's a batch is a table.
        for row in cast("pa.Table", batch).to_pylist():
            digest = hashlib.sha256(repr((row["text"], len(row["images"]))).encode())
            for image in row["images"]:
                digest.update(image["bytes"] or image_file_state(image["path"]).encode())
            digests.append(digest.digest())
    return digests


def _load_amif(path: str) -> Teacher:
    model, processor = load_checkpoint(path, AmifDualEncoder)
    limit = model.config.text_config.max_position_embeddings
    return Teacher(
        model,
        images=lambda images: processor(images=images)["pixel_values"],
        texts=lambda texts: dict(processor.encode_reports(texts, max_length=min(120, limit))),
        encode_images=model.embed_images,
        encode_texts=lambda input_ids, attention_mask, **_: model.embed_texts(input_ids, attention_mask),
        preprocessing=f"amif {processor.image_processor.to_json_string()} {limit} pooling: {model.config.pooling_mode}",
    )


def _load_hf(name: str) -> Teacher:
    model = load_all_weights(AutoModel, name)
    if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
        raise ValueError(f"teacher hf:{name} is a {type(model).__name__}, without image and text features like CLIP's.")
    processor = AutoProcessor.from_pretrained(name, trust_remote_code=False)
    limit = min(processor.tokenizer.model_max_length, model.config.text_config.max_position_embeddings)
    # SigLIP was trained with padding to its full length and reads no mask; to the others padding makes no difference.
    padding = "max_length" if model.config.model_type.startswith("siglip") else "longest"

    def tokenize(texts: list[str]) -> dict[str, torch.Tensor]:
        return dict(processor.tokenizer(texts, padding=padding, truncation=True, max_length=limit, return_tensors="pt"))

    return Teacher(
        model,
        images=lambda images: processor.image_processor(images=images, return_tensors="pt")["pixel_values"],
        texts=tokenize,
        encode_images=lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        encode_texts=lambda **tokens: model.get_text_features(**tokens).pooler_output,
        preprocessing=f"hf {processor.image_processor.to_json_string()} {padding} {limit}",
    )


def _load_open_clip(name: str) -> Teacher:
    import open_clip

    source = name if ":" in name else f"{'local-dir' if Path(name).is_dir() else 'hf-hub'}:{name}"
    # Its stub tells of every model that it can build and of every transform, not of the pair that comes here.
    model, transform = cast("tuple[Any, Any]", open_clip.create_model_from_pretrained(source))
    tokenizer = open_clip.get_tokenizer(source)
    return Teacher(
        model,
        images=lambda images: torch.stack([transform(image) for image in images]),
        texts=lambda texts: {"text": tokenizer(texts)},
        encode_images=model.encode_image,
        encode_texts=model.encode_text,
        preprocessing=f"open_clip {transform} {tokenizer.context_length}",
    )
