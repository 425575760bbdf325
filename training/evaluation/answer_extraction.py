"""Answers taken out of sentences, as chat models write them, by rules that never see the reference.

docs/evaluation.md has the rules in a table. A reply that no rule reads, that hedges or that contradicts itself gives no
answer, which counts as wrong. `RULES_VERSION` stands in the fingerprint of every result: raise it with any change here
or in `statements.py` that changes an answer.
"""

import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from string import ascii_uppercase

from ...processing_amif.answer_normalization_amif import plain_characters
from ..data.references import normal_form
from .statements import (
    VERBS,
    asks_yes_or_no,
    fragments,
    names_alternatives,
    said_yes_or_no,
    sentences,
    uncontracted,
)

RULES_VERSION = 2

_YES_NO = frozenset(("yes", "no"))
# Some chat templates open the thought themselves, so that the reply only closes it.
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|$)|\A(?:(?!<think).)*</think(?:ing)?>", re.S | re.I)
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?([^{}]*)\}")
_MARKUP = re.compile(r"\*\*|__|[`{}]|^#+ |^\s*[-*•] |</?(?:answer|b|i)>", re.M | re.I)
_MARKER = re.compile(r"\banswer(?: to (?:the|this|your) question)?[\"']?\s*(?:is|would be|:|=|\n)\s*[:\s]*", re.I)

_COUNTED = re.compile(r"\bhow many\b|\bnumber of\b")
_MEASURED = re.compile(
    r"\bhow (?:large|big|small|long|wide|thick|deep|tall|high|old|much|far)\b"
    r"|\b(?:size|diameter|length|width|thickness|volume|age|weight)\b"
)
_NUMBER_WORDS = dict(
    zip(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
        range(13),
        strict=True,
    )
) | {"none": 0, "single": 1}
# Each spelling of a unit, and what it is in the unit by which quantities are compared.
_UNITS = {
    spelling: (unit, Fraction(factor))
    for unit, factor, spellings in (
        ("mm", 1, "mm millimeter millimeters millimetre millimetres"),
        ("mm", 10, "cm centimeter centimeters centimetre centimetres"),
        ("ml", 1, "ml cc milliliter milliliters millilitre millilitres"),
        ("%", 1, "% percent"),
        ("degrees", 1, "° degree degrees"),
        ("years", 1, "year years"),
        ("mg", 1, "mg"),
        ("hu", 1, "hu"),
    )
    for spelling in spellings.split()
}
_NUMBER = (
    rf"(?<![\w.])(\d+(?:\.\d+)?|{'|'.join(_NUMBER_WORDS)})(?:[ -]?({'|'.join(sorted(_UNITS, reverse=True))}))?(?!\w)"
)
_QUANTITY = re.compile(_NUMBER)
# "3,4 cm" too, whose comma may be a decimal point, and is a space in the normal form.
_RANGE = re.compile(
    r"\d(?:\s?[a-z%]{1,11})?\s?(?:x|×|-|to|by|and|or)\s?\d|\d \d|\b(?:least|most|than|between|several)\b"
)

Quantity = tuple[Fraction, str]


def extract_answer(
    reply: str, question: str, candidates: Collection[str], choices: Sequence[str] | None = None
) -> str | None:
    """The answer that a reply to a question gives; None where the rules find none, or more than one.

    Args:
        reply: What the system wrote, a word or many sentences.
        question: What it was asked.
        candidates: Normalised answers that a reply may name.
        choices: The question's own candidates in their order, which stand in for `candidates`.

    Returns:
        One of `choices` as it is written there; else yes, no, one of `candidates`, or a number with its unit; or the
        reply itself, normalised, where it is no sentence.
    """
    text = _plain(reply)
    markers = list(_MARKER.finditer(text))
    # What a reply calls its answer counts before the sentences that lead to it.
    final = sentences(text[markers[-1].end() :])[:1] if markers else []
    for part in [*final, text]:
        found = _chosen(part, question, choices) if choices else _found(part, question, candidates)
        if found is not None:
            return found
    stands = choices is None and not is_sentence(reply) and asks_yes_or_no(question) is not True
    return (normal_form(text) or None) if stands else None


def is_sentence(reply: str) -> bool:
    """Whether a reply says more than an answer: a verb among three words or more, an answer after yes or no."""
    words = normal_form(uncontracted(reply)).split()
    spoken = words and (words[0] in _YES_NO or not (VERBS | {"am", "im", "may", "might"}).isdisjoint(words))
    return len(words) > 2 and (bool(spoken) or len(words) > 15)


def quantity(text: str) -> Quantity | None:
    """The number and unit that a whole text is; None where it is anything else. Lengths are in mm."""
    found = _QUANTITY.fullmatch(normal_form(text))
    return None if found is None else _value(found)


def _plain(reply: str) -> str:
    text = _THOUGHT.sub("", plain_characters(reply))
    return _MARKUP.sub("", _BOXED.sub(r" answer: \1", text)).strip()


def _chosen(part: str, question: str, choices: Sequence[str]) -> str | None:
    """The one of a question's own candidates that a part of a reply takes."""
    forms = [normal_form(choice) for choice in choices]
    if normal_form(part) in forms:
        return choices[forms.index(normal_form(part))]
    lines = _lettered_lines(part, len(choices))
    letters = {*lines} or _letters(part, len(choices))
    if letters:
        letter = letters.pop()
        at, named = ord(letter) - ord("A"), _named(lines.get(letter, part), forms)
        # "B: right lung" is B, unless B is another and "right lung" is among the choices.
        return choices[at] if not letters and (not named or forms[at] in named) else None
    if _YES_NO & {*forms} and (said := said_yes_or_no(part, question)):
        return choices[forms.index(said)] if said in forms else None
    named = _named(part, forms)
    return choices[forms.index(named.pop())] if len(named) == 1 else None


def _letter(number: int) -> str:
    """A pattern, with one group, of the letters of so many options."""
    return f"([A-{ascii_uppercase[min(number, len(ascii_uppercase)) - 1]}])"


def _lettered_lines(part: str, number: int) -> dict[str, str]:
    """The lines that begin with an option's letter, by their letters: what follows in other lines explains."""
    letter = _letter(number)
    ahead = re.compile(rf"\(?{letter}(?:\s*[.:)\]]|\s[-–—])\s*\S")
    alone = re.compile(rf"\W*{letter}(?:\W*$|[)\]]\s*\S)", re.I)
    found = [(ahead.match(line) or alone.match(line), line) for line in part.splitlines()]
    return {match[1].upper(): line for match, line in found if match}


def _letters(part: str, number: int) -> set[str]:
    """The letters of options that a part of a reply takes within a sentence."""
    letter = _letter(number)
    part = re.sub(rf"\bnot (?:option )?\(?{letter}\)?,? but (?:rather )?", "", part)
    part = re.sub(rf"\b(?i:option |choice )?\(?{letter}\)? is (?:not|wrong|incorrect)\b", "", part)
    taken = (
        rf"(?<!not )(?:(?i:\b(?:option|choice|answer|letter|choose|select|pick)s?(?: is)?:? )\(?{letter}\b(?!')\)?"
        rf"(?:(?:,| or| and|/) ?(?:option )?\(?{letter}\b)?|\({letter}\)"
        rf"|\b{letter} is (?:the )?(?:right|correct|best)\b)"
    )
    return {one for found in re.findall(taken, part) for one in found if one}


def _found(part: str, question: str, candidates: Collection[str]) -> str | None:
    """The answer that a part of a reply gives to a question without choices of its own."""
    form = normal_form(part)
    closed = asks_yes_or_no(question)
    if form in candidates or (form in _YES_NO and closed is not False):
        return form
    if closed is not False:
        said = said_yes_or_no(part, question)
        if said or closed:
            return said
    asked = normal_form(question)
    measured, counted = bool(_MEASURED.search(asked)), bool(_COUNTED.search(asked))
    if measured or counted:
        numbers = {_value(found): found[0] for found in _QUANTITY.finditer(form)}
        own = [text for (_, unit), text in numbers.items() if counted is not bool(unit)]
        if _RANGE.search(form) or len(own) > 1:
            return None
        if own:
            return _spelled(own[0])
    named = _named(part, [name for name in candidates if name not in _YES_NO and quantity(name) is None])
    of_question = _named(question, [*candidates], of_question=True)
    if names_alternatives(question) and len(of_question) > 1:
        named &= of_question
        if not named:
            return said_yes_or_no(part, question)
    else:
        named -= of_question
    return named.pop() if len(named) == 1 else None


def _named(text: str, names: Collection[str], of_question: bool = False) -> set[str]:
    """The names that stand in a text in whole words, the longest at each place, without those that it denies."""
    known, longest = {*names}, max((len(name.split()) for name in names), default=0)
    found: set[str] = set()
    for sentence in sentences(text):
        for fragment in fragments(sentence):
            words, at = fragment.words, 0
            while at < len(words):
                ends = range(min(len(words), at + longest), at, -1)
                end = next((end for end in ends if " ".join(words[at:end]) in known), at)
                if end > at and (of_question or not fragment.negates(at, end)):
                    found.add(" ".join(words[at:end]))
                at = max(end, at + 1)
    return found


def _value(found: re.Match[str]) -> Quantity:
    number, spelling = found.groups()
    unit, factor = _UNITS.get(spelling or "", ("", Fraction(1)))
    return Fraction(_NUMBER_WORDS.get(number, number)) * factor, unit


def _spelled(text: str) -> str:
    """A quantity as an answer writes it: in digits, its unit as it stands."""
    word = text.split()[0]
    return text.replace(word, str(_NUMBER_WORDS.get(word, word)), 1)
