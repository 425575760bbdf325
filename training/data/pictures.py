"""Whether pictures can be decoded, found out before anything is trained on them."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm.auto import tqdm

from ...processing_amif import to_rgb
from .images import open_image


def unreadable_pictures(keys: Sequence[str], cell_of: Callable[[str], Mapping[str, Any]]) -> dict[str, str]:
    """Decode every picture once, with a progress bar, and say what is wrong with those that cannot be.

    Pillow decodes outside Python's lock, hence threads; a JPEG file is read to its end but decoded at an eighth of its
    size, which costs a fraction and still meets every missing or damaged byte that a full decoding would.

    Args:
        keys: what tells the pictures apart.
        cell_of: the undecoded `image` cell of a key.

    Returns:
        By key, the reason why a picture cannot be used; empty where all can.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(lambda key: _reason(cell_of(key)), keys)
        reasons = dict(zip(keys, tqdm(found, "Checking images", len(keys), leave=False), strict=True))
    return {key: reason for key, reason in reasons.items() if reason is not None}


def _reason(cell: Mapping[str, Any]) -> str | None:
    try:
        picture = open_image(cell)
        picture.draft(picture.mode, (1, 1))
        to_rgb(picture)
    except (ValueError, TypeError) as error:
        return f"{error}."
    return None
