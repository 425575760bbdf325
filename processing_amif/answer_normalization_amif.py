"""The one normaliser of answers: two answers are the same if and only if their normal forms are equal."""

import math
import re
import reprlib
import unicodedata
from functools import lru_cache
from numbers import Integral, Real

_QUOTES = re.compile("[\"'`´‘’“”]")
_SPACED_GENITIVE = re.compile(r"(?<=\w) ['’] (?=s\b)")
_DASHES = re.compile("[‐‑‒–—−]")
_EMPTY_PUNCTUATION = re.compile(r"[?!,;:()#*~]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SPACED_DECIMAL = re.compile(r"(?<=\d) ?\. (?=\d)")
_FULL_STOP = re.compile(r"\.(?!\d)")
_SPACED_JOINT = re.compile(r" ?/ ?| - | (?=%)")
_XRAY = re.compile(r"\bx[ -](?=rays?\b)")

# Of Unicode's compatibility forms those that differ in width alone: all of them, as in NFKC, would make "10²" "102".
_WIDTHS = ("<wide>", "<narrow>", "<small>", "<vertical>")
# What is not seen and yet no format character (Cf): variation selectors, the grapheme joiner, fillers, unused tags.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\U000e0000-\U000e0fff]")


def plain_characters(text: str) -> str:
    """Bring a text to the characters that it shows, each written in one way.

    1. full-width, half-width, small and vertical forms become the usual ones ("ＣＴ：" is "CT:"), and the stops of
       Chinese and Japanese ASCII's: "。" is ".", "、" is ", " and so no comma between thousands;
    2. what is not seen vanishes: zero-width and other format characters, variation selectors, control characters that
       are no white space;
    3. letters and their accents are composed (NFC).

    Everything else stays, superscripts and fractions among it. The function is idempotent.
    """
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", "".join(map(_plain_character, text)))


@lru_cache(maxsize=4096)
def _plain_character(character: str) -> str:
    kind, *codes = unicodedata.decomposition(character).split() or [""]
    if kind in _WIDTHS:
        return "".join(_plain_character(chr(int(code, 16))) for code in codes)
    category = unicodedata.category(character)
    if category == "Cf" or (category == "Cc" and not character.isspace()) or _UNSEEN.match(character):
        return ""
    return {"。": ".", "、": ", "}.get(character, character)


def normalize_answer(answer: str | int | float) -> str:
    """Bring an answer to the form in which answers are compared, counted and scored.

    In this order:

    1. a number becomes text; a whole float loses its fraction (3.0 is "3", the string "3.0" stays as written);
    2. `plain_characters`: forms of other widths become the usual ones, what is not seen vanishes, accents are composed;
    3. lower case; white space of any kind and length becomes one space; every kind of dash becomes "-";
    4. quotes and apostrophes vanish ("crohn's" is "crohns"), as do commas between thousands ("1,000" is "1000");
       ``? ! , ; : ( ) # * ~`` part words, as a space does;
    5. a full stop vanishes unless a digit follows ("3.4 cm" and ".5 cm" stay);
    6. a dash between spaces joins its neighbours ("mri - flair" is "mri-flair"), a slash does with or without them;
    7. "x-ray" and "x ray" become "xray", "x-rays" becomes "xrays".

    Words are never stemmed, dropped or replaced by synonyms. The function is idempotent. A WordPiece tokenizer decodes
    "crohn's", "3.4", "5%" and "a/b" with spaces around the signs; these spaces are taken back, so that a generated
    answer equals its reference.

    Args:
        answer: A string, an integer or a finite float.

    Returns:
        The normal form, never empty.

    Raises:
        TypeError: If `answer` is neither text nor a number (None, a list, a bool, ...).
        ValueError: If nothing is left to compare (empty, white space, punctuation alone), or the number is not finite.
    """
    text = _DASHES.sub("-", " ".join(plain_characters(_to_text(answer)).lower().split()))
    text = _QUOTES.sub("", _SPACED_GENITIVE.sub("", text))
    text = _EMPTY_PUNCTUATION.sub(" ", _THOUSANDS.sub("", text))
    text = _FULL_STOP.sub("", _SPACED_DECIMAL.sub(".", text))
    text = _SPACED_JOINT.sub(lambda joint: joint[0].strip(), " ".join(text.split()))
    text = unicodedata.normalize("NFC", text)  # a sign that has vanished may have parted a letter from its accent
    if not text:
        raise ValueError(f"the answer {reprlib.repr(answer)} holds no word or number: use None for an unknown answer")
    return _XRAY.sub("x", text)


def _to_text(answer: str | int | float) -> str:
    if isinstance(answer, str):
        return answer
    if isinstance(answer, bool) or not isinstance(answer, Real):
        raise TypeError(f"an answer must be a string or a number, not {reprlib.repr(answer)} ({type(answer).__name__})")
    if not math.isfinite(answer):
        raise ValueError(f"the answer {reprlib.repr(answer)} is not a number: use None for an unknown answer")
    whole = isinstance(answer, Integral) or float(answer).is_integer()
    return str(int(answer)) if whole else str(float(answer))
