"""The form in which reports and captions are read by the text encoder, and in which two of them are compared."""

import re
import unicodedata

from .answer_normalization_amif import plain_characters

MAX_REPORT_WORDS = 200

# Signs that carry meaning stay: % + < > = and the like. A point or comma stays between digits.
_APOSTROPHES = re.compile("['’‘]")
_PUNCTUATION = re.compile(r"""(?<!\d)[.,]|[.,](?!\d)|[!"#&()*/:;?@\[\\\]^_`{|}~´‐‑‒–—−“”„…«»•·-]""")


def normalize_report(report: str, max_words: int = MAX_REPORT_WORDS) -> str:
    """Bring a report to the form that is tokenized: lower case, without punctuation, its first `max_words` words.

    Apostrophes vanish ("patient's" is "patients"), other punctuation parts words ("x-ray" is "x ray"), and so do the
    underscores that stand for removed names. Numbers ("1.5", "1,200") and the signs % + < > = stay. All this is
    done in `plain_characters`. The function is idempotent.

    Args:
        report: Any text.
        max_words: How many words are kept, the first ones.

    Returns:
        The words with single spaces between them; empty where there are none.
    """
    words = _PUNCTUATION.sub(" ", _APOSTROPHES.sub("", plain_characters(report).lower())).split()
    return unicodedata.normalize("NFC", " ".join(words[:max_words]))
