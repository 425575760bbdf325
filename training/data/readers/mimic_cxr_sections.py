"""The sections of MIMIC-CXR's reports that say what is seen, by the rules of the data set's maintainers."""

import re
from difflib import get_close_matches

from ..schema import as_text

# Capitals and a colon at the beginning of a line.
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z /&(),-]*):", re.MULTILINE)

_CONCLUSION = re.compile("FINDING|IMPRESSION|CONCLUSION")

# These end a section. Other headings, as "PA AND LATERAL VIEWS:", stand inside of one.
_OTHER = re.compile(
    "EXAM|INDICATION|HISTORY|INFORMATION|STUDY|PROCEDURE|TECHNIQUE|COMPARISON|WET READ|ADDENDUM|NOTIFICATION"
    "|RECOMMENDATION|REASON FOR "
)

# What a report without the headings of `_CONCLUSION` calls the section that says what is seen: what was imaged.
_VIEW = re.compile(
    "CHEST|PORTABLE|RIBS|BONE WINDOW|TWO VIEWS|(?:PA|AP|ONE|LATERAL) VIEW|FRONTAL (?:VIEW|AND|UPRIGHT|SEMI-UPRIGHT)"
    "|PA AND LAT|AP AND LATERAL|LATERAL AND (?:PA|AP)"
)

_NO_VIEW = re.compile("HISTORY|COMPARISON|ADDENDUM")

_EMPTY_LINE = re.compile(r"\n[ \t]*\n")


def findings_and_impression(report: str) -> str | None:
    """The findings and the impression of a report, in its order and on one line; None where no heading names either.

    A conclusion is an impression, and misspelled headings ("IMPRESSON:") count.
    """
    headings = [found for found in _HEADING.finditer(report) if _names_conclusion(found[1]) or _OTHER.search(found[1])]
    ends = [*(heading.start() for heading in headings), len(report)][1:]
    parts = [
        report[heading.end() : end]
        for heading, end in zip(headings, ends, strict=True)
        if _names_conclusion(heading[1])
    ]
    return _one_line(" ".join(parts))


def unnamed_findings(report: str) -> str | None:
    """What stands for findings and impression in a report that has neither heading; None where nothing does.

    The last section that is headed by what was imaged, as "CHEST, TWO VIEWS:"; else what follows the first empty line
    of the last section; else the last comparison, where some reports are written. The rules, without their list of 54
    studies that were read by hand, are those by which the maintainers cut the reports for MIMIC-CXR-JPG's labels
    (github.com/MIT-LCP/mimic-cxr, folder txt).
    """
    headings = list(_HEADING.finditer(report))
    ends = [*(heading.start() for heading in headings), len(report)]
    sections = [("", report[: ends[0]])]
    sections += [(heading[1], report[heading.end() : end]) for heading, end in zip(headings, ends[1:], strict=True)]
    views = [text for name, text in sections if _VIEW.search(name) and not _NO_VIEW.search(name) and text.strip()]
    if views:
        return _one_line(views[-1])
    filled = [text for name, text in sections if text.strip() or not (_VIEW.search(name) or _names_conclusion(name))]
    last_paragraph = _EMPTY_LINE.split(filled[-1], maxsplit=1)[1:] if filled else []
    comparisons = [text for name, text in sections if "COMPARISON" in name]
    return _one_line(" ".join(last_paragraph)) or _one_line(" ".join(comparisons[-1:]))


def _names_conclusion(heading: str) -> bool:
    return bool(_CONCLUSION.search(heading) or get_close_matches(heading, ("FINDINGS", "IMPRESSION"), 1, 0.8))


def _one_line(text: str) -> str | None:
    return as_text(" ".join(text.split()))
