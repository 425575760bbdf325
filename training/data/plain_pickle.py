"""Pickle files of plain containers, read without running anything that they ask for."""

import pickle
from pathlib import Path
from typing import Any


class _PlainUnpickler(pickle._Unpickler):
    # Of the two that Python has the slow one: nine bytes can make the fast one ask for gigabytes of memory.

    def find_class(self, module: str, name: str) -> Any:
        # Dictionaries, lists, tuples, texts and numbers need no class: whatever asks for one could run any code.
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_plain_pickle(path: Path) -> Any:
    """What a pickle file of dictionaries, lists, texts and numbers holds.

    Raises:
        ValueError: when the file is damaged or holds anything else; nothing of it has been run then.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except Exception as error:  # a damaged pickle raises errors of every kind
        raise ValueError(
            f"{path} cannot be read as a pickle of plain lists and dictionaries ({error}): give the release's file."
        ) from None
