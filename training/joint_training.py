"""Training questions of several data sets at once, without images that the evaluation will show."""

from collections.abc import Sequence

from datasets import Dataset, DatasetDict, concatenate_datasets
from tqdm.auto import tqdm
from transformers.utils import logging

from .data.schema import VQA_FEATURES
from .data.vqa_dataset import load_vqa_dataset
from .evaluation.image_overlap import ImagePrints, image_prints, near_duplicates, shared_by_id, shared_pixels

logger = logging.get_logger(__name__)


def add_training_sets(splits: DatasetDict, sources: Sequence[str], progress: bool = True) -> Dataset:
    """The training rows of `splits` and, behind them, the training rows of other data sets.

    An image of another set that a validation or test split of `splits` shows too is left out with all its questions:
    by its id, by its pixels, or nearly (`near_duplicates`). The ids of what is added begin with its data set's name.

    Args:
        splits: rows of the schema of the data set that is evaluated.
        sources: data sets by name, each as "name=folder"; their training splits are taken as `load_vqa_dataset` gives
            them.
        progress: whether to show progress bars.

    Returns:
        Rows with the columns of the schema alone.

    Raises:
        ValueError: where a source is not of that form, or its data set is not known.
    """
    evaluated = [_prints(split, name, progress) for name, split in splits.items() if name != "train"]
    added = [_rows_of(source, evaluated, progress) for source in sources]
    return concatenate_datasets([_schema_rows(splits["train"]), *added])


def _rows_of(source: str, evaluated: Sequence[ImagePrints], progress: bool) -> Dataset:
    name, separator, folder = source.partition("=")
    if not separator:
        raise ValueError(f"{source!r} does not say where the data set is: give name=folder, as in slake=DIR.")
    rows = _schema_rows(load_vqa_dataset(name, folder)["train"])
    shared = _shown_in(evaluated, _prints(rows, name, progress))
    image_ids = list(rows["image_id"])
    kept = [row for row, image_id in enumerate(image_ids) if image_id not in shared]
    logger.warning(
        f"Also training on {name}: {len(kept)} questions; {len(rows) - len(kept)} about {len(shared)} images that "
        "validation or test show were left out."
    )
    named = {
        column: [f"{name}/{value}" for value in rows.select(kept)[column]] for column in ("image_id", "question_id")
    }
    kept_rows = rows.select(kept).remove_columns(list(named))
    for column, values in named.items():
        kept_rows = kept_rows.add_column(column, values)
    return _schema_rows(kept_rows)


def _shown_in(evaluated: Sequence[ImagePrints], known: ImagePrints) -> set[str]:
    """Ids of the images of `known` that one of the evaluated splits shows."""
    shown: set[str] = set()
    for prints in evaluated:
        shown.update(shared_by_id(prints, known), shared_pixels(prints, known), near_duplicates(prints, known))
    return shown


def _prints(rows: Dataset, name: str, progress: bool) -> ImagePrints:
    return image_prints(rows, lambda images: tqdm(images, desc=f"Comparing images: {name}", disable=not progress))


def _schema_rows(rows: Dataset) -> Dataset:
    return rows.select_columns(list(VQA_FEATURES)).cast(VQA_FEATURES)
