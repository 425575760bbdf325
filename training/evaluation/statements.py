"""What a sentence says of a yes/no question: it affirms or denies what is asked, or neither."""

import re
from dataclasses import dataclass

from ..data.references import normal_form


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ASKS = _words("is are was were do does did can could has have had will would should am")
_WH = re.compile(r"\b(?:what|which|where|who|whose|when|why|how)\b")
_ALTERNATIVES = re.compile(r"^(?!.*\b(?:there|any|evidence|signs?)\b).* or ")
# What is asked to be there, where other questions ask how something is.
_EXISTENCE = re.compile(
    r"^(?:(?:is|are|was|were) there|(?:does|do|did|can|could)\b.*?\b(?:show|demonstrate|reveal|contain|have|see|"
    r"identify|display|depict|indicate|suggest)"
    r"|(?:is|are|was|were)(?= .*\b(?:visible|present|seen|identified|evident)\b))\b"
)
_IMAGE_NAMED = re.compile(
    r"\b(?:in|on|from|by) (?:this|the|these|your|his|her) (?:\w+ )?"
    r"(?:image|scan|ct|mri|xray|radiograph|film|study|pic\w*|slice)s?(?: (?:image|scan)s?)?\b"
)

_YES = re.compile(
    r"(?:yes|yeah|yep)\b|(?:correct|true|affirmative|indeed|certainly|absolutely|definitely|that(?: is|'s) (?:correct|"
    r"right|true))(?=\s*(?:[,.;:!]|$))"
)
_NO = re.compile(
    r"(?:no|nope)(?=\s*(?:[,.;:!)–—-]|$)|\s+(?:there|it|this|the|that|these|i|we|you|they)\b)|not at all\b"
    r"|(?:absolutely|definitely|certainly) not\b|(?:false|incorrect|negative|not)(?=\s*(?:[,.;:!]|$))"
)
_LEAD = re.compile(
    r"(?:(?:therefore|so|thus|hence|overall|well|sure|ok|okay|i think|i believe|in (?:conclusion|summary|short|this)|"
    r"based on|according to|from|as)\b(?:[^,.]*?,|\s(?=(?:yes|no)\b))\s*)+"
)
# Nothing is said where this stands, whatever stands beside it.
_LEFT_OPEN = re.compile(
    r"\b(?:cannot|can not|cant|could not|couldnt|unable to|not able to|impossible to|difficult to|hard to|"
    r"not possible to) (?:be )?(?:\w+ly )?(?:determine|tell|say|assess|confirm|exclude|rule|answer|evaluate|conclude|"
    r"know|ascertain)\w*|\bnot (?:sure|certain)\b|\binsufficient|\bnot enough\b|\bunclear\b|\byes(?:/| or | and )no\b"
)
_HEDGE = re.compile(
    r"\b(?:may|might|could|would|if|whether|possib\w+|probab\w+|perhaps|maybe|likely|unlikely|suspici\w+|suspect\w*|"
    r"suggest\w*|questionable|equivocal|uncertain\w*|indeterminate)\b"
)

_NOT_JOINED = re.compile(
    r"\b(?:(can)(?:not|['’´]?t)|(is|are|was|were|do|does|did|has|have|had|could|would|wo|should)n['’´]?t)\b", re.I
)
_IS_JOINED = re.compile(r"\b(it|there|that|this|here|he|she)['’´]s\b", re.I)
_TURNS = re.compile(
    r"[,;:()]|\b(?:but|however|although|though|while|whereas|yet|except)\b"
    r"|\band(?=\s+(?:there|the|it|this|shows?|has|have|is|are)\b)"
)
_BEFORE = _words("no not without negative absence free neither nor never lack lacks excludes than instead")
_AFTER = _words("not absent excluded")
VERBS = _words(
    "is are was were be has have had do does did can could show shows showed demonstrates demonstrate reveals "
    "reveal contains contain appears appear seems seem suggests indicates exhibits displays depicts measures "
    "see there"
)
_PREPOSITIONS = _words("in of on at within with near from to for over under along through around")
# Words that say nothing of what is asked, in questions as in answers; what is "present" or "seen" is simply there.
_EMPTY = (
    VERBS
    | _PREPOSITIONS
    | _BEFORE
    | _AFTER
    | _words(
        "a an the here this that these those it its they i we you your my any some and or as by been being also which "
        "yes image images scan scans slice study film patient patients visible present presence seen shown "
        "showing demonstrated identified evident observed detected noted visualized visualised appreciated "
        "evidence sign signs finding findings acute obvious clear definite significant apparent focal large overt"
    )
)
_SIDES = _words("left right upper lower bilateral")


@dataclass(frozen=True)
class Fragment:
    """A part of a sentence in which a negation holds: its words, and whether one before it goes on in it."""

    words: list[str]
    negated: bool

    def negates(self, start: int, end: int) -> bool:
        """Whether the words from `start` to before `end` are denied."""
        before = sum(word in _BEFORE for word in self.words[:start]) + self.negated
        behind = False
        for word, following in zip(self.words[end:], self.words[end + 1 :], strict=False):
            if word in ("that", "which", "with", "without"):
                break
            behind = behind or (word in VERBS and following in _AFTER)
        return (before + behind) % 2 == 1


def sentences(text: str) -> list[str]:
    """The sentences of a text, in its order and spelling."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


def uncontracted(text: str) -> str:
    """A text in which "can't" is "can not", with or without its apostrophe, and "there's" is "there is"."""
    return _IS_JOINED.sub(r"\1 is", _NOT_JOINED.sub(lambda found: f"{found[1] or found[2]} not", text))


def fragments(sentence: str) -> list[Fragment]:
    """The parts between commas and words such as "but"; a list after "no" is denied to its end."""
    found: list[Fragment] = []
    sentence = uncontracted(sentence.lower())
    parts, turns = _TURNS.split(sentence), ["", *(turn.strip() for turn in _TURNS.findall(sentence))]
    for turn, part in zip(turns, parts, strict=True):
        words = normal_form(part).split()
        goes_on = turn == "," and bool(found) and not VERBS & {*words} and not _BEFORE & {*words}
        if words:
            found.append(Fragment(words, goes_on and (found[-1].negated or bool(_BEFORE & {*found[-1].words}))))
    return found


def asks_yes_or_no(question: str) -> bool | None:
    """Whether yes or no answers a question; None where its words do not tell."""
    words = normal_form(question)
    if _WH.search(words) or _ALTERNATIVES.search(words):
        return False
    last = normal_form(question.rsplit(",", 1)[-1]).split()
    return True if {*words.split()[:1], *last[:1]} & {*_ASKS} else None


def names_alternatives(question: str) -> bool:
    """Whether the answer is one of those that the question names, as in "Is it left or right?"."""
    return bool(_ALTERNATIVES.search(normal_form(question)))


def said_yes_or_no(reply: str, question: str) -> str | None:
    """What a reply answers to a yes/no question; None where it is hedged, contradicts itself or speaks of other things.

    Every sentence counts: by its head ("Yes, ..."), and by whether it affirms or denies what is asked.

    Args:
        reply: One sentence or several.
        question: Where `asks_yes_or_no` does not say that it asks so, heads alone count.

    Returns:
        "yes", "no" or None.
    """
    if _LEFT_OPEN.search(normal_form(reply)):
        return None
    sure: set[str | None] = set()
    narrow: set[str | None] = set()
    for sentence in sentences(reply):
        head, rest = _head(sentence)
        if head:
            sure.add(head)
        if asks_yes_or_no(question) and not _HEDGE.search(sentence.lower()):
            for fragment in fragments(rest):
                verdict, narrower = _verdict(fragment, normal_form(rest).split(), _Asked(question))
                (narrow if narrower else sure).add(verdict)
    said = (sure - {None}) or (narrow - {None})
    return said.pop() if len(said) == 1 else None


def _head(sentence: str) -> tuple[str | None, str]:
    """Yes or no as the sentence begins with it, and what follows."""
    text = sentence.lower().lstrip("\"'([*- ")
    if lead := _LEAD.match(text):
        text = text[lead.end() :]
    for word, pattern in (("no", _NO), ("yes", _YES)):
        if found := pattern.match(text):
            return word, text[found.end() :].lstrip(" ,.;:!)-–—")
    return None, sentence


class _Asked:
    """What a yes/no question asks for: its words, the one that they turn on, and whether that is to be there or so."""

    def __init__(self, question: str) -> None:
        text = uncontracted(_IMAGE_NAMED.sub("", normal_form(question)))
        exists = _EXISTENCE.match(text)
        self.exists = exists is not None
        asked = text[exists.end() :].split() if exists else text.split()[1:]
        self.parity = sum(word in _BEFORE for word in asked) + any(word.startswith("abnormal") for word in asked)
        # The first group of words: "fracture" of "a fracture of the left rib", "enlarged" of "the heart enlarged".
        first: list[str] = []
        for word in asked:
            if word in _PREPOSITIONS and first:
                break
            first += [] if word in _EMPTY else [_stem(word)]
        self.words = _content(asked)
        self.subject, self.turns_on = {*first[:-1]}, first[-1] if first else ""


def _verdict(fragment: Fragment, sentence: list[str], asked: _Asked) -> tuple[str | None, bool]:
    """Yes, no or None, and whether it speaks of less than what is asked, as of one place alone."""
    words, stems = fragment.words, [_stem(word) for word in fragment.words]
    if not asked.turns_on or asked.turns_on not in stems:
        return None, False
    place = stems.index(asked.turns_on)
    denied, abnormal = fragment.negates(place, place + 1), words[place].startswith("abnormal")
    answer = "yes" if (denied + abnormal - asked.parity) % 2 == 0 else "no"
    said = _content(sentence)
    others = {stem for stem in _content(words) if not stem.endswith("ly")} - asked.words
    if asked.turns_on == "normal" and (denied or abnormal) and not others:
        return answer, False
    # "It is enlarged" is of what was asked about, "the liver is enlarged" of the liver.
    pronoun = not {"it", "they", "this", "these"}.isdisjoint(words)
    if not denied:
        spoken = bool(VERBS & {*words}) or not {"present", "seen", "visible"}.isdisjoint(words)
        of_it = asked.words <= said or (pronoun and not asked.exists and not others)
        return (answer if spoken and of_it else None), False
    # Denying a pericardial effusion says nothing of a pleural one, denying a thing on the right nothing of the left.
    before = place
    while before and (words[before - 1] not in _EMPTY or words[before - 1].endswith("ly")):
        before -= 1
    kinds = {stem for stem in stems[before:place] if not stem.endswith("ly")}
    if asked.turns_on == "normal" or not kinds <= asked.words or (asked.words & _SIDES and others & _SIDES):
        return None, False
    of_it = asked.exists or asked.subject <= said or pronoun
    return (answer if of_it else None), bool(others)


def _content(words: list[str]) -> set[str]:
    return {_stem(word) for word in words if word not in _EMPTY}


def _stem(word: str) -> str:
    """A word without what its number and form add to it; "abnormal" is "normal" too, for the caller to tell apart."""
    if word.startswith("abnormal") or word in ("unremarkable", "normally"):
        return "normal"
    for ending in ("ments", "ment", "ions", "ion", "ing", "ed", "es", "s"):
        if word.endswith(ending) and not word.endswith("ss") and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            break
    return word.removesuffix("e") if len(word) > 4 else word
