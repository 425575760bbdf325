"""Several data sets at once: read, joined, mixed, and trained on without images that an evaluation will show."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, IterableDataset, Value, concatenate_datasets, interleave_datasets
from tqdm.auto import tqdm
from transformers.utils import logging

from .image_overlap import ImagePrints, image_prints, near_duplicates, shared_by_id, shared_pixels
from .pretraining_schema import PRETRAINING_FEATURES
from .readers.vqa_pairs import to_pairs
from .references import AcceptableAnswers, acceptable_answers_of
from .schema import VQA_FEATURES, with_alike_answers
from .sources import Source
from .streams import size_of
from .views import VIEW_SEPARATOR, alike, view_ids_of
from .vqa_dataset import load_vqa_dataset

logger = logging.get_logger(__name__)

# The column that says of a row which of several sets it is of.
SET_COLUMN = "dataset_name"

VQA_IDS = ("image_id", "question_id")

# An epoch is over when the last row of every set was drawn: small sets are repeated, nothing is left out.
_EPOCH_ENDS = "all_exhausted"

_SPLITS = ("train", "validation", "test")

_Rows = TypeVar("_Rows", Dataset, IterableDataset)


def load_sources(
    sources: Sequence[Source],
    load: Callable[..., Any],
    reader_of: Callable[[str], Callable[..., Any]],
    id_columns: Sequence[str],
    options: Mapping[str, Any],
    **shared: Any,
) -> DatasetDict:
    """One data set as it is, or several whose splits are joined by name.

    Of several, `id_columns` begin with the set's name, `SET_COLUMN` holds it, and columns that a set lacks are None.

    Args:
        sources: The sets.
        load: `load_vqa_dataset` or `load_pretraining_dataset`.
        reader_of: The function that reads a set, which tells by its parameters what options the set takes.
        id_columns: The columns whose values must not meet those of another set.
        options: What readers are told, each that takes it.
        **shared: What `load` is told of every set.

    Raises:
        ValueError: If no set takes an option, a set cannot be read, or two have a column of one name and two types.
        FileNotFoundError: If a file of a set is missing.
    """
    if len(sources) == 1:
        return load(*sources[0], **shared, **options)
    taken = {source: set(inspect.signature(reader_of(source.dataset)).parameters) for source in sources}
    if unused := [name for name in options if not any(name in names for names in taken.values())]:
        raise ValueError(f"--{unused[0]}: none of {', '.join(source.name for source in sources)} takes it.")
    parts = {}
    for source in sources:
        own = {name: value for name, value in options.items() if name in taken[source]}
        try:
            splits = load(*source, **shared, **own)
        except (ValueError, FileNotFoundError) as error:
            # Not of its own type, which may take other arguments, as those of a damaged text do.
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"{source.name}: {error}") from error
        parts[source.name] = {split: with_set_name(rows, source.name, id_columns) for split, rows in splits.items()}
    return DatasetDict(
        {split: _joined(split, parts) for split in _SPLITS if any(split in splits for splits in parts.values())}
    )


def _joined(split: str, parts: Mapping[str, Mapping[Any, Dataset]]) -> Dataset:
    given = {name: splits[split] for name, splits in parts.items() if split in splits}
    rows = dict(zip(given, with_alike_answers(alike(list(given.values()))), strict=True))
    if without := [name for name in parts if name not in rows]:
        logger.warning(f"{split}: of {', '.join(rows)} alone, since {', '.join(without)} has no such split.")
    kinds: dict[str, dict[str, Any]] = {}
    for name, part in rows.items():
        for column, kind in part.features.items():
            if kind != Value("null"):
                kinds.setdefault(column, {})[name] = kind
    clashing = [column for column, of in kinds.items() if any(kind != next(iter(of.values())) for kind in of.values())]
    for column in clashing:
        logger.warning(f"{split}: the column {column} is left out, which is of several types: {kinds[column]}.")
    return concatenate_datasets(
        [part.remove_columns([column for column in clashing if column in part.features]) for part in rows.values()]
    )


def with_set_name(rows: Dataset, name: str, id_columns: Sequence[str] = ()) -> Dataset:
    """Rows that say in `SET_COLUMN` which set they are of, as do their ids, "name/id".

    Raises:
        ValueError: If they have a column of that name already.
    """
    if SET_COLUMN in rows.column_names:
        raise ValueError(f"{name} has a column {SET_COLUMN}, which is this package's own: rename it.")
    columns = {column: [f"{name}/{value}" for value in rows[column]] for column in id_columns}
    if "image_id" in columns:
        columns["image_id"] = [VIEW_SEPARATOR.join(f"{name}/{view}" for view in views) for views in view_ids_of(rows)]
    named = rows.remove_columns(list(columns))
    for column, values in (columns | {SET_COLUMN: [name] * len(rows)}).items():
        named = named.add_column(column, values)
    return named


def places_by_set(rows: Dataset | IterableDataset) -> dict[str, list[int]]:
    """Which rows are of each of several sets, in their order; nothing where there is one."""
    places: dict[str, list[int]] = {}
    several = isinstance(rows, Dataset) and SET_COLUMN in rows.column_names  # a stream is of one
    for row, name in enumerate(rows[SET_COLUMN] if several else ()):
        places.setdefault(name, []).append(row)
    return places


def count_rows(rows: Dataset | IterableDataset) -> str:
    """How many rows there are, and of several sets how many of each, for the log."""
    of_sets = ", ".join(f"{name} {len(places)}" for name, places in places_by_set(rows).items())
    return f"{size_of(rows)}{f' ({of_sets})' if of_sets else ''}"


def rows_by_set(rows: Dataset) -> dict[str, Dataset]:
    """The rows of each of several sets, without the columns in which it has nothing; nothing where there is one set."""
    parts = {}
    for name, places in places_by_set(rows).items():
        part, filled = rows.select(places), set()
        for batch in part.with_format("arrow").iter(1_000):
            table = cast("pa.Table", batch)  # in Arrow's format, which the stub does not know
            filled.update(column for column in part.column_names if table[column].null_count < len(table))
        parts[name] = part.select_columns([column for column in part.column_names if column in filled - {SET_COLUMN}])
    return parts


def rule_of_row(row: Mapping[str, Any], acceptable: AcceptableAnswers) -> AcceptableAnswers:
    """How a row's reference is read: of several sets as its own set's are, else by `acceptable`."""
    return acceptable_answers_of(row[SET_COLUMN]) if row.get(SET_COLUMN) is not None else acceptable


def right_answers(rows: Dataset, acceptable: AcceptableAnswers) -> list[list[str]]:
    """The answers of which any is right, normalised, of each row by `rule_of_row`; none without a reference."""
    cells = rows.select_columns(["answer", *({SET_COLUMN} & set(rows.column_names))])
    return [rule_of_row(row, acceptable)(row["answer"]) for row in cells.to_list()]


def first_rows(rows: Dataset, number: int | None) -> Dataset:
    """The first rows, of several sets those of each; all where `number` is None."""
    if number is None:
        return rows
    places = places_by_set(rows) or {"": range(len(rows))}
    return rows.select([row for of_set in places.values() for row in of_set[:number]])


def mix(parts: Sequence[_Rows], mixing: str | Sequence[str] = "proportional", seed: int = 0) -> _Rows:
    """The rows of several sets as one, by datasets' own functions.

    Args:
        parts: Data sets or streams, with the same columns.
        mixing: "proportional" joins them (`concatenate_datasets`), so that each row comes once; "equal" takes one of
            each in turn, numbers draw each set with that share (both `interleave_datasets`): an epoch ends when every
            row of every set has come, and sets that were through before have begun anew.
        seed: Of the draws.
    """
    if mixing == "proportional":
        return concatenate_datasets(list(parts))
    if mixing == "equal":
        return interleave_datasets(list(parts), stopping_strategy=_EPOCH_ENDS)
    weights = [float(word) for word in mixing]
    shares = [weight / sum(weights) for weight in weights]
    return interleave_datasets(list(parts), probabilities=shares, seed=seed, stopping_strategy=_EPOCH_ENDS)


def mix_rows(rows: Dataset, mixing: str | Sequence[str], seed: int) -> Dataset:
    """Joined training rows in other shares, as `mix` makes them of each set's; the shares are logged.

    Args:
        rows: Of several sets, with `SET_COLUMN`; proportional ones are returned as they are.
        mixing: As for `mix`.
        seed: Likewise.

    Raises:
        ValueError: If weights are given and a set has no training rows.
    """
    if mixing == "proportional":
        return rows
    places = places_by_set(rows)
    if mixing != "equal" and len(mixing) != len(places):
        raise ValueError(f"--mixing has {len(mixing)} weights, and training rows are of {', '.join(places)} alone.")
    mixed = mix([Dataset.from_dict({"row": of_set}) for of_set in places.values()], mixing, seed)
    drawn = rows.select(mixed["row"][:])
    for name, of_set in places_by_set(drawn).items():
        own, count = len(places[name]), len(of_set)
        share = f"{100 * count / len(drawn):.1f} % of {len(drawn)} rows an epoch"
        logger.warning(f"{name}: {share}, each of its {own} rows {count / own:.1f} times.")
    return drawn


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
        Rows with the columns of the schema alone, and `SET_COLUMN` where the rows of `splits` have it.

    Raises:
        ValueError: If a source is not of that form, or its data set is not known.
    """
    evaluated = [_prints(split, str(name), progress) for name, split in splits.items() if name != "train"]
    added = [_rows_of(source, evaluated, progress) for source in sources]
    parts = with_alike_answers(alike([splits["train"], *added]))
    return mix([_schema_rows(rows, splits["train"]) for rows in parts])


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


def leave_out_images_of_other_sets(rows: Dataset, splits: DatasetDict, progress: bool = True) -> Dataset:
    """Training rows of several sets without those about an image that another set shows in validation or test.

    What a set shows itself in its own splits stays, as its authors made them. Images are compared by their pixels.

    Args:
        rows: Training rows, with `SET_COLUMN`.
        splits: The sets, joined: of them all but the training rows are looked at.
        progress: Whether to show progress bars.
    """
    evaluated = [
        (name, _prints(split.select(places), f"{name} {kind}", progress))
        for kind, split in splits.items()
        if kind != "train"
        for name, places in places_by_set(split).items()
    ]
    kept = []
    for name, places in places_by_set(rows).items():
        own = rows.select(places)
        others = [prints for other, prints in evaluated if other != name]
        kept.append(_without_shown(own, others, _prints(own, name, progress), f"Training on {name}"))
    return concatenate_datasets(kept)


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
        Rows of `images`, `text` and `study_id` alone, and `SET_COLUMN` where `pairs` have it.

    Raises:
        ValueError: If a source is not of that form, its data set is not known, or no split can be made that way.
    """
    added = [_pairs_of(source, sources, validation_by, progress) for source in sources]
    columns = [*PRETRAINING_FEATURES, *({SET_COLUMN} & set(pairs.column_names))]
    return mix([rows.select_columns(columns) for rows in (pairs, *added)])


def has_validation(source: str) -> bool:
    """Whether a VQA set, as "name=folder", has a validation split of its own."""
    return "validation" in _load(source, None)


def _pairs_of(source: str, sources: Sequence[str], validation_by: str, progress: bool) -> Dataset:
    shares_images = validation_by != "image" and not has_validation(source)
    evaluated = [other for other in sources if other != source or not shares_images]
    rows = _load(source, validation_by)["train"]
    pairs = to_pairs(leave_out_shown_images(rows, evaluated, validation_by, progress))
    return with_set_name(pairs, source.partition("=")[0], ("study_id",))


def _load(source: str, validation_by: str | None = "image") -> DatasetDict:
    name, separator, folder = source.partition("=")
    if not separator:
        raise ValueError(f"{source!r} does not say where the data set is: give name=folder, as in slake=DIR.")
    return load_vqa_dataset(name, folder, validation_by=validation_by)


def _without_shown(rows: Dataset, evaluated: Sequence[ImagePrints], prints: ImagePrints, what: str) -> Dataset:
    shown: set[str] = set()
    for other in evaluated:
        shown.update(shared_by_id(other, prints), shared_pixels(other, prints), near_duplicates(other, prints))
    kept = [row for row, ids in enumerate(view_ids_of(rows)) if shown.isdisjoint(ids)]
    logger.warning(
        f"{what}: {len(kept)} questions; {len(rows) - len(kept)} about {len(shown)} images that validation or test "
        "show were left out."
    )
    return rows.select(kept)


def _rows_of(source: str, evaluated: Sequence[ImagePrints], progress: bool) -> Dataset:
    name = source.partition("=")[0]
    rows = _load(source)["train"]
    kept = _without_shown(rows, evaluated, _prints(rows, name, progress), f"Also training on {name}")
    return with_set_name(kept, name, VQA_IDS)


def _prints(rows: Dataset, name: str, progress: bool) -> ImagePrints:
    return image_prints(rows, lambda images: tqdm(images, desc=f"Comparing images: {name}", disable=not progress))


def _schema_rows(rows: Dataset, like: Dataset) -> Dataset:
    """Rows with the columns of the schema, and `SET_COLUMN` where `like` has it."""
    # One image or answer, or lists of them where a question has several.
    own = {name: rows.features[name] for name in ("image", "answer")}
    features = Features(VQA_FEATURES | own | ({SET_COLUMN: Value("string")} if SET_COLUMN in like.column_names else {}))
    return rows.select_columns(list(features)).cast(features)
