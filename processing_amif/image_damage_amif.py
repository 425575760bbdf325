"""Damage that Pillow passes over: wrong checksums in PNG, zeroed stretches in JPEG."""

import io
import re

from PIL import Image

# Of a code in which zeros mean coefficients so many zero bytes are a block of nothing but the same coefficient or more.
ZERO_BYTES = 32

_SEQUENTIAL = (0xC0, 0xC1)
_TABLES, _SCAN, _END = 0xC4, 0xDA, 0xD9
_LONE = (0x01, *range(0xD0, 0xD9))
# Within a scan 0xFF is followed by 0x00, or by the number of a restart.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def check_undamaged(image: Image.Image) -> None:
    """Look through the file behind an opened image that has not been decoded yet.

    Raises:
        ValueError: If a checksum of a PNG is wrong, or a JPEG holds a stretch of zeros that no encoder writes.
        OSError: If the file cannot be read.
        SyntaxError: If a PNG has no end.
    """
    file = getattr(image, "fp", None)
    if file is None or image.format not in ("JPEG", "MPO", "PNG"):
        return
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    if image.format == "PNG":
        with Image.open(io.BytesIO(content), formats=("PNG",)) as again:
            again.verify()
    elif bytes(ZERO_BYTES) in content and holds_zeroed_bytes(content):
        raise ValueError(f"{ZERO_BYTES} or more of its bytes in a row have been lost and are zero")


def holds_zeroed_bytes(content: bytes) -> bool:
    """Whether the compressed data of a JPEG hold a run of zeros that its Huffman codes make impossible in an image.

    A code of zeros alone is the first of its table. Where it means "as bright as the block before" and "nothing more
    in this block" for all that a scan holds, zeros are an even area, and natural. Progressive
    scans may hold bare zeros too.
    """
    first_symbols: dict[int, int] = {}
    sequential = False
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF or marker in _LONE:
            place += 1 if marker == 0xFF else 2
            continue
        if marker == _END:
            return False
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        segment = content[place + 4 : end]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            sequential = marker in _SEQUENTIAL
        elif marker == _TABLES:
            first_symbols |= _first_symbols(segment)
        elif marker == _SCAN:
            next_marker = _END_OF_SCAN.search(content, end)
            stop = next_marker.start() if next_marker else len(content)
            zeroed = bytes(ZERO_BYTES) in content[end:stop]
            if zeroed and sequential and not _zeros_are_even(segment, first_symbols):
                return True
            end = stop
        place = end
    return False


def _first_symbols(segment: bytes) -> dict[int, int]:
    """Of each Huffman table, by its class and number, what its first code means: the one of zeros alone."""
    first, place = {}, 0
    while place + 17 < len(segment):
        first[segment[place]] = segment[place + 17]
        place += 17 + sum(segment[place + 1 : place + 17])
    return first


def _zeros_are_even(scan: bytes, first_symbols: dict[int, int]) -> bool:
    pairs = scan[2 : 1 + 2 * scan[0] : 2] if scan else b""
    return all(first_symbols.get(pair >> 4, 0) == 0 and first_symbols.get(0x10 | pair & 15, 0) == 0 for pair in pairs)
