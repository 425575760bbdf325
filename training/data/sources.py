"""The data sets that a command line names, where they lie, and how several are mixed."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple


class Source(NamedTuple):
    """A data set by name or path, and the folder of its local copy, if it was given one."""

    dataset: str
    folder: str | None = None

    @property
    def name(self) -> str:
        """What its rows, ids and records are called by: of a path the last part."""
        return Path(self.dataset).name


def sources_of(
    dataset: str | Sequence[str], data_dir: str | Sequence[str] | None, with_folder: Collection[str]
) -> list[Source]:
    """The data sets that a command line names.

    Args:
        dataset: Names, paths and Hub ids, of sets with a folder also as "name=folder".
        data_dir: Folders, in the order of the sets that take one and do not say it themselves.
        with_folder: The names of the sets that take a folder.

    Raises:
        ValueError: If there are not as many folders as sets that take one, "name=folder" is of another set, or two sets
            have one name.
    """
    words = [dataset] if isinstance(dataset, str) else list(dataset)
    folders = [data_dir] if isinstance(data_dir, str) else list(data_dir or ())
    sources = [Source(word, folders[0] if len(folders) == 1 == len(words) else None) for word in words]
    for place, word in enumerate(words):
        name, equals, folder = word.partition("=")
        if name in with_folder and folder:
            sources[place] = Source(name, folder)
        elif equals and not Path(word).exists():
            raise ValueError(f"--dataset {word}: name=folder is for {', '.join(with_folder)}.")
    waiting = [place for place, source in enumerate(sources) if source.folder is None and source.dataset in with_folder]
    if len(words) > 1 or any("=" in word for word in words) or len(folders) > 1:
        if len(folders) != len(waiting):
            given = " ".join(map(str, folders)) or "not given"
            raise ValueError(
                f"--data_dir is {given}, and of --dataset {len(waiting)} need a folder from there "
                f"({', '.join(sources[place].dataset for place in waiting) or 'none'}): give one for each, in their "
                "order, or write name=folder."
            )
        for place, folder in zip(waiting, folders, strict=True):
            sources[place] = Source(sources[place].dataset, folder)
    if repeated := [name for name, count in Counter(source.name for source in sources).items() if count > 1]:
        raise ValueError(f"--dataset names {repeated[0]} twice, and rows are told apart by the names of their sets.")
    return sources


def read_mixing(mixing: str | Sequence[str], number_of_sets: int) -> list[str] | str:
    """How sets are mixed, as `mix` takes it: a word, or weights.

    Raises:
        ValueError: If there is one set, `mixing` is another word, or not one number above 0 for each set.
    """
    words = [mixing] if isinstance(mixing, str) else list(mixing)
    if words == ["proportional"]:
        return words[0]
    said = f"--mixing {' '.join(words)}"
    if number_of_sets == 1:
        raise ValueError(f"{said}: there is one set to train on. Name several as --dataset, or leave it out.")
    if words == ["equal"]:
        return words[0]
    try:
        weights = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"{said}: it is proportional, equal, or one weight for each set.") from None
    if len(weights) != number_of_sets or not all(0 < weight < float("inf") for weight in weights):
        raise ValueError(f"{said}: give {number_of_sets} weights above 0, one for each set that is trained on.")
    return words
