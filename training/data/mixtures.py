"""Training on several data sets at once, without images that an evaluation will show."""

from collections.abc import Sequence

from datasets import Dataset, DatasetDict, concatenate_datasets
from tqdm.auto import tqdm
from transformers.utils import logging

from .image_overlap import ImagePrints, image_prints, near_duplicates, shared_by_id, shared_pixels
from .pretraining_schema import PRETRAINING_FEATURES
from .readers.vqa_pairs import to_pairs
from .schema import VQA_FEATURES
from .vqa_dataset import load_vqa_dataset

logger = logging.get_logger(__name__)


def add_training_sets(splits: DatasetDict, sources: Sequence[str], progress: bool = True) -> Dataset:
    """The training rows of `splits` and, behind them, the training rows of other data sets.

    An image of another set that a validation or test split of `splits` shows too is left out with all its questions:
    by its id, by its pixels, or nearly (`near_duplicates`). The ids of what is added begin with its data set's name.

    Args:
        splits: Rows of the schema of the data set that is evaluated.
        sources: Data sets by name, each as "name=folder"; their training splits are taken as `load_vqa_dataset` gives
            them.
        progress: Whether to show progress bars.

    Returns:
        Rows with the columns of the schema alone.

    Raises:
        ValueError: If a source is not of that form, or its data set is not known.
    """
    evaluated = [_prints(split, str(name), progress) for name, split in splits.items() if name != "train"]
    added = [_rows_of(source, evaluated, progress) for source in sources]
    return concatenate_datasets([_schema_rows(splits["train"]), *added])


def leave_out_shown_images(
    rows: Dataset, sources: Sequence[str], validation_by: str = "image", progress: bool = True
) -> Dataset:
    """Training rows without those about an image that other data sets, evaluated later, show in validation or test.

    A model that is trained on these rows may then be fine-tuned on any of the sources and evaluated there.

    Args:
        rows: Training rows of the schema.
        sources: Data sets by name, each as "name=folder".
        validation_by: What their missing validation splits are made of, as `load_vqa_dataset` takes it.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If a source is not of that form, its data set is not known, or no split can be made that way.
    """
    splits = {source: _load(source, validation_by) for source in sources}
    evaluated = [
        _prints(split, source.partition("=")[0], progress)
        for source, named in splits.items()
        for name, split in named.items()
        if name != "train"
    ]
    return _without_shown(rows, evaluated, _prints(rows, "training", progress), "Training")


def add_vqa_pairs(
    pairs: Dataset, sources: Sequence[str], validation_by: str = "image", progress: bool = True
) -> Dataset:
    """Image-text pairs and, behind them, pairs made of the training questions of VQA sets (see `to_pairs`).

    Of a VQA set, images that the validation or test split of any of the sources shows are left out. VQA-RAD's official
    test shows training images alone, so that many of its pairs go. Those that stay hold all questions of their images:
    what another `validation_by`, or a `validation_fold`, holds out later is among them.

    With another `validation_by`, a set without a validation split of its own keeps the images that it evaluates itself,
    as its official split has it, and its pairs hold no question of that validation.

    Study ids begin with the set's name.

    Args:
        pairs: Rows of image-text pairs.
        sources: VQA sets by name, each as "name=folder".
        validation_by: What a missing validation split is made of, as `load_vqa_dataset` takes it.
        progress: Whether to show progress bars.

    Returns:
        Rows of `images`, `text` and `study_id` alone.

    Raises:
        ValueError: If a source is not of that form, its data set is not known, or no split can be made that way.
    """
    added = [_pairs_of(source, sources, validation_by, progress) for source in sources]
    return concatenate_datasets([rows.select_columns(list(PRETRAINING_FEATURES)) for rows in (pairs, *added)])


def has_validation(source: str) -> bool:
    """Whether a VQA set, as "name=folder", has a validation split of its own."""
    return "validation" in _load(source, None)


def _pairs_of(source: str, sources: Sequence[str], validation_by: str, progress: bool) -> Dataset:
    shares_images = validation_by != "image" and not has_validation(source)
    evaluated = [other for other in sources if other != source or not shares_images]
    rows = _load(source, validation_by)["train"]
    pairs = to_pairs(leave_out_shown_images(rows, evaluated, validation_by, progress))
    name = source.partition("=")[0]
    return pairs.map(lambda study_id: {"study_id": f"{name}/{study_id}"}, input_columns="study_id")


def _load(source: str, validation_by: str | None = "image") -> DatasetDict:
    name, separator, folder = source.partition("=")
    if not separator:
        raise ValueError(f"{source!r} does not say where the data set is: give name=folder, as in slake=DIR.")
    return load_vqa_dataset(name, folder, validation_by=validation_by)


def _without_shown(rows: Dataset, evaluated: Sequence[ImagePrints], prints: ImagePrints, what: str) -> Dataset:
    shown: set[str] = set()
    for other in evaluated:
        shown.update(shared_by_id(other, prints), shared_pixels(other, prints), near_duplicates(other, prints))
    kept = [row for row, image_id in enumerate(rows["image_id"]) if image_id not in shown]
    logger.warning(
        f"{what}: {len(kept)} questions; {len(rows) - len(kept)} about {len(shown)} images that validation or test "
        "show were left out."
    )
    return rows.select(kept)


def _rows_of(source: str, evaluated: Sequence[ImagePrints], progress: bool) -> Dataset:
    name = source.partition("=")[0]
    rows = _schema_rows(_load(source)["train"])
    kept_rows = _without_shown(rows, evaluated, _prints(rows, name, progress), f"Also training on {name}")
    named = {column: [f"{name}/{value}" for value in kept_rows[column]] for column in ("image_id", "question_id")}
    kept_rows = kept_rows.remove_columns(list(named))
    for column, values in named.items():
        kept_rows = kept_rows.add_column(column, values)
    return _schema_rows(kept_rows)


def _prints(rows: Dataset, name: str, progress: bool) -> ImagePrints:
    return image_prints(rows, lambda images: tqdm(images, desc=f"Comparing images: {name}", disable=not progress))


def _schema_rows(rows: Dataset) -> Dataset:
    return rows.select_columns(list(VQA_FEATURES)).cast(VQA_FEATURES)
