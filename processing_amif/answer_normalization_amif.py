"""The one normaliser of answers: two answers are the same if and only if their normal forms are equal."""

import math
import re
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


def normalize_answer(answer: str | int | float) -> str:
    """Bring an answer to the form in which answers are compared, counted and scored.

    In this order:

    1. a number becomes text; a whole float loses its fraction (3.0 is "3", the string "3.0" stays as written);
    2. lower case; white space of any kind and length becomes one space; every kind of dash becomes "-";
    3. quotes and apostrophes vanish ("crohn's" is "crohns"), as do commas between thousands ("1,000" is "1000");
       ``? ! , ; : ( ) # * ~`` part words, as a space does;
    4. a full stop vanishes unless a digit follows ("3.4 cm" and ".5 cm" stay);
    5. a dash between spaces joins its neighbours ("mri - flair" is "mri-flair"), a slash does with or without them;
    6. "x-ray" and "x ray" become "xray", "x-rays" becomes "xrays".

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
    text = _DASHES.sub("-", " ".join(_to_text(answer).lower().split()))
    text = _QUOTES.sub("", _SPACED_GENITIVE.sub("", text))
    text = _EMPTY_PUNCTUATION.sub(" ", _THOUSANDS.sub("", text))
    text = _FULL_STOP.sub("", _SPACED_DECIMAL.sub(".", text))
    text = _SPACED_JOINT.sub(lambda joint: joint[0].strip(), " ".join(text.split()))
    if not text:
        raise ValueError(f"the answer {answer!r} holds no word or number: use None for an unknown answer")
    return _XRAY.sub("x", text)


def _to_text(answer: str | int | float) -> str:
    if isinstance(answer, str):
        return answer
    if isinstance(answer, bool) or not isinstance(answer, Real):
        raise TypeError(f"an answer must be a string or a number, not {answer!r} ({type(answer).__name__})")
    if not math.isfinite(answer):
        raise ValueError(f"the answer {answer!r} is not a number: use None for an unknown answer")
    whole = isinstance(answer, Integral) or float(answer).is_integer()
    return str(int(answer)) if whole else str(float(answer))
