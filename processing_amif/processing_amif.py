"""From images, questions and answers to the tensors of AMiF, and back."""

import reprlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple, Self, cast

import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ImagesKwargs, ProcessingKwargs, ProcessorMixin, TextKwargs
from transformers.tokenization_utils_base import BatchEncoding
from transformers.utils import logging

from .answer_normalization_amif import normalize_answer, plain_characters
from .images_amif import AmifImage, to_rgb, unique_images, view_index, views_of
from .report_normalization_amif import normalize_report

logger = logging.get_logger(__name__)

# What a call may be told beside images and text; options of videos and sound would be of no use.
_CALL_OPTIONS = frozenset({*TextKwargs.__annotations__, *ImagesKwargs.__annotations__, "text_kwargs", "images_kwargs"})

# Tokens of a report, [CLS] and [SEP] included.
MAX_REPORT_LENGTH = 120


class AmifChoices(NamedTuple):
    """The own candidates of B questions, as `rank_answers` takes them: N different `texts`, encoded, and whose each is.

    Args:
        texts: The different texts of all questions, as given.
        answers: `input_ids` and `attention_mask` (N, T) of their normal forms.
        answer_mask: (B, N) bool, True where a text is one of the question's own.
    """

    texts: list[str]
    answers: BatchEncoding
    answer_mask: torch.Tensor


class AmifProcessor(ProcessorMixin):
    """An image processor, a tokenizer and the list of candidate answers that belong to one checkpoint.

    Args:
        image_processor: Any Hugging Face image processor that gives `pixel_values` (U, 3, H, W).
        tokenizer: Any Hugging Face tokenizer that writes a text as [CLS] ... [SEP] and can pad.
        answers: Candidate answers, saved and loaded with the processor.
        max_question_length: Tokens of a question, [CLS] and [SEP] included; longer questions lose their end.
        lowercase: Whether questions are lower-cased before they are tokenized.
        abstention_threshold: Log-likelihood (nats) below which no answer is given by who asks for abstention; chosen
            on validation, for these answers and this model.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the tokenizer lacks [CLS], [SEP] or [PAD], the length leaves no room for a word, `answers` is
            not a list of strings, or the threshold is no number.
    """

    _auto_class = "AutoProcessor"

    def __init__(
        self,
        image_processor: Any,
        tokenizer: Any,
        answers: Sequence[str] | None = None,
        max_question_length: int = 40,
        lowercase: bool = True,
        abstention_threshold: float | None = None,
    ) -> None:
        for name, part in (("image_processor", image_processor), ("tokenizer", tokenizer)):
            if not callable(part):
                raise TypeError(f"{name} is a {type(part).__name__}: give one of transformers")
        super().__init__(image_processor, tokenizer)
        _check_special_tokens(tokenizer)
        _check_length("max_question_length", max_question_length)
        if not isinstance(lowercase, bool):
            raise TypeError(f"lowercase is {lowercase!r}: give True or False")
        if abstention_threshold is not None and (
            isinstance(abstention_threshold, bool)
            or not isinstance(abstention_threshold, int | float)
            or not isfinite(abstention_threshold)
        ):
            raise ValueError(f"abstention_threshold is {abstention_threshold!r}: give a log-likelihood, or None")
        self.answers = None if answers is None else _checked_texts(answers, "answer")
        self.max_question_length = max_question_length
        self.lowercase = lowercase
        self.abstention_threshold = abstention_threshold
        # Transformers would add it on saving, and what is saved equals what is in memory.
        self.auto_map = {self._auto_class: "processing_amif.AmifProcessor"}

    @classmethod
    def from_pretrained(cls, *arguments: Any, trust_remote_code: bool = False, **options: Any) -> Self:
        """As of transformers; code of a tokenizer beside it runs only where asked for, and nobody is prompted."""
        return super().from_pretrained(*arguments, trust_remote_code=bool(trust_remote_code), **options)

    @property
    def model_input_names(self) -> list[str]:
        """Keys of what the processor returns for images and text together."""
        return ["pixel_values", "image_index", "input_ids", "attention_mask"]

    def __call__(
        self,
        images: AmifImage | Sequence[AmifImage | Sequence[AmifImage]] | None = None,
        text: str | Sequence[str] | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Prepare images, questions or pairs of both.

        Lists of equal length pair up; a single image goes with every question, a single question with every image. The
        same object or path is encoded once a call however often it is given. Questions are read in `plain_characters`.

        Args:
            images: One image or a list, each as `to_rgb` accepts it. Of a question about several images, four at most,
                the entry is a list of them: `[[frontal, lateral]]` is one entry of two views, `[frontal, lateral]` two
                of one.
            text: One question or a list.
            **options: `return_tensors`: "pt" by default, or "np"; None leaves lists. Beside it the options of
                the tokenizer and the image processor, as transformers' `ProcessingKwargs` has them: flat, such as
                `padding`, `truncation` and `max_length`, or in dictionaries `text_kwargs`, `images_kwargs` and
                `common_kwargs`. By default questions are padded to the longest and cut at `max_question_length`; what
                a tokenizer has saved of these does not count, since encoders bring lengths of their pre-training.

        Returns:
            For images `pixel_values` (U, 3, H, W) float32 and `image_index` (B,) int64, the row of `pixel_values` of
            each pair, or (B, V) where one has V views, those of each and -1 behind them where they are fewer; for text
            `input_ids` and `attention_mask` (B, L) int64.

        Raises:
            TypeError: If there is no such option.
            ValueError: If there are neither images nor text, lengths do not pair up, a question is no text or has more
                than four images, an image cannot be read, or an option would pad on the left or make several rows of a
                question.
        """
        options = {**options.pop("common_kwargs", {}), **options}
        return_tensors = options.pop("return_tensors", "pt")
        of_images, of_text = self._sort_options(options)
        if images is None and text is None:
            raise ValueError("nothing to process: pass images=, text= or both")
        if return_tensors not in ("pt", "np", None):
            raise ValueError(f'return_tensors is {return_tensors!r}: give "pt", "np" or None')
        shown: list[Any] = [] if images is None else list(images) if isinstance(images, list | tuple) else [images]
        if images is not None and not shown:
            raise ValueError("images is an empty list: pass at least one")
        questions = [] if text is None else _checked_texts([text] if isinstance(text, str) else text, "question")
        if shown and questions:
            shown, questions = _paired(shown, questions)
        encoded = {}
        if shown:
            views = [views_of(entry) for entry in shown]
            unique, places = unique_images(list(chain.from_iterable(views)))
            readable = [to_rgb(image) for image in unique]
            pixels = self.image_processor(images=readable, **of_images, return_tensors=return_tensors)
            encoded = {"pixel_values": pixels["pixel_values"], "image_index": view_index([*map(len, views)], places)}
        if questions:
            words = [question.lower() if self.lowercase else question for question in map(plain_characters, questions)]
            room = {"truncation": True, "max_length": self.max_question_length}
            of_text = of_text if of_text.get("truncation") is False else room | of_text
            encoded |= _tokenize(self.tokenizer, words, return_tensors, **of_text)
        return BatchFeature(encoded, tensor_type=return_tensors)

    def _sort_options(self, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The options of a call that are the image processor's, and those that are the tokenizer's."""
        own = getattr(getattr(self.image_processor, "valid_kwargs", None), "__annotations__", {})
        if unknown := sorted(options.keys() - _CALL_OPTIONS - own.keys()):
            raise TypeError(
                f"the processor has no option {', '.join(unknown)}: it takes those of the tokenizer's call and of "
                f"{type(self.image_processor).__name__}"
            )
        # Wants the type, and is annotated as if it wanted one of it.
        merged = self._merge_kwargs(cast(Any, ProcessingKwargs), **options)
        of_images, of_text = merged["images_kwargs"], merged["text_kwargs"]
        if "return_tensors" in (*of_images, *of_text):
            raise TypeError("return_tensors is given for a part: give it to the call, for images and text alike")
        if of_text.get("padding_side", "right") != "right":
            raise ValueError("padding_side must be right: the model reads [CLS] at position 0")
        if of_text.get("return_overflowing_tokens"):
            raise ValueError("return_overflowing_tokens makes several rows of a question: leave it out")
        return of_images, of_text

    def encode_answers(self, answers: Sequence[str] | None = None) -> BatchEncoding:
        """Tokenize answers, as labels of the decoder or as candidates to rank.

        Args:
            answers: N strings, taken as they are: neither normalised nor lower-cased, order and duplicates kept.
                Models are trained on normalised answers: `encode_candidates` brings others to that form. None means the
                processor's own `answers`.

        Returns:
            `input_ids` (N, T) int64, each row [CLS] a1 .. an [SEP] and padding; `attention_mask` (N, T) int64.

        Raises:
            ValueError: If there are no answers, or one is not a string or is empty.
        """
        return _tokenize(self.tokenizer, self._given_or_own(answers), "pt", truncation=False)

    def encode_candidates(self, answers: Sequence[str] | None = None) -> BatchEncoding:
        """Tokenize answers to be ranked, each normalised first, as those that models learn are.

        A comma that the normaliser would have taken out makes an answer far less likely than all others. Different
        candidates that the tokenizer writes alike, as it does words that it does not know, tie, and the first of them
        wins: a warning names them. The last few lists are remembered: a data set is ranked batch by batch over the same
        candidates.

        Args:
            answers: N strings in any wording, order and duplicates kept. None means the processor's own `answers`.

        Returns:
            As `encode_answers`.

        Raises:
            ValueError: If there are no answers, or one is not a string or holds no word or number.
        """
        candidates = tuple(self._given_or_own(answers))
        encoded = _encode_candidates(self.tokenizer, len(self.tokenizer), self.tokenizer.pad_token_id, candidates)
        # Copies, so that a caller who changes them changes no later call's.
        return BatchEncoding({name: tensor.clone() for name, tensor in encoded.items()})

    def encode_choices(self, choices: Sequence[Sequence[str]]) -> AmifChoices:
        """Tokenize the own candidates of several questions, normalised as by `encode_candidates`, to be ranked at once.

        Args:
            choices: B lists of strings in any wording.

        Returns:
            What `rank_answers` takes as `answers` and `answer_mask`, and the texts that its indices stand for.

        Raises:
            ValueError: If a question has no choices, or one is not a string or holds no word or number.
        """
        lists = [_checked_texts(own, "choice") for own in choices]
        texts = list(dict.fromkeys(chain.from_iterable(lists)))
        words = [normalize_answer(text) for text in texts]
        encoded = _tokenize(self.tokenizer, words, "pt", truncation=False)
        forms = {
            text: (tuple(ids), word)
            for text, word, ids in zip(texts, words, encoded["input_ids"].tolist(), strict=True)
        }
        for own in dict.fromkeys(map(tuple, lists)):
            _warn_of_alike(self.tokenizer, [(text, *forms[text]) for text in own])
        places = {text: place for place, text in enumerate(texts)}
        answer_mask = torch.zeros(len(lists), len(texts), dtype=torch.bool)
        for row, own in enumerate(lists):
            answer_mask[row, [places[text] for text in own]] = True
        return AmifChoices(texts, encoded, answer_mask)

    def _given_or_own(self, answers: Sequence[str] | None) -> list[str]:
        answers = self.answers if answers is None else answers
        if answers is None:
            raise ValueError("this processor holds no answers: pass answers=, or set processor.answers")
        return _checked_texts(answers, "answer")

    def encode_reports(self, reports: Sequence[str], max_length: int = MAX_REPORT_LENGTH) -> BatchEncoding:
        """Tokenize reports or captions as pre-training reads them: normalised by `normalize_report`.

        Args:
            reports: N strings.
            max_length: Tokens of a report, [CLS] and [SEP] included; longer reports lose their end.

        Returns:
            `input_ids` and `attention_mask` (N, L) int64.

        Raises:
            ValueError: If there are no reports, or one is not a string or holds no word.
        """
        _check_length("max_length", max_length)
        words = [normalize_report(report) for report in _checked_texts(reports, "report")]
        return _tokenize(self.tokenizer, _checked_texts(words, "report"), "pt", truncation=True, max_length=max_length)

    def normalize_answer(self, text: str | int | float) -> str:
        """Bring an answer to the form in which answers are compared; see the function `normalize_answer`."""
        return normalize_answer(text)


def _tokenize(tokenizer: Any, texts: list[str], return_tensors: str | None, **options: Any) -> BatchEncoding:
    # The model reads [CLS] at position 0, so padding must stand on the right whatever the tokenizer's own side.
    right = {"padding": True, "padding_side": "right"}
    returned = {"return_token_type_ids": False, "return_attention_mask": True, "return_tensors": return_tensors}
    return tokenizer(texts, **{**right, **returned, **options})


@lru_cache(maxsize=4)
def _encode_candidates(tokenizer: Any, size: int, pad_token_id: int, answers: tuple[str, ...]) -> BatchEncoding:
    """Normalised and tokenized answers; `size` and `pad_token_id` tell apart what a tokenizer was and has become."""
    words = [normalize_answer(answer) for answer in answers]
    encoded = _tokenize(tokenizer, words, "pt", truncation=False)
    _warn_of_alike(tokenizer, list(zip(answers, map(tuple, encoded["input_ids"].tolist()), words, strict=True)))
    return encoded


def _warn_of_alike(tokenizer: Any, candidates: Sequence[tuple[str, tuple[int, ...], str]]) -> None:
    """Name candidates, each with its tokens and normal form, that a tokenizer writes alike or knows no word of."""
    written = defaultdict(dict)
    for answer, tokens, word in candidates:
        written[tokens][word] = answer
    alike = ["=".join(map(repr, group.values())) for group in written.values() if len(group) > 1]
    if alike:
        more = f" and {len(alike) - 5} more" if len(alike) > 5 else ""
        logger.warning(
            f"The tokenizer writes different candidates alike, so that the first of them wins: {', '.join(alike[:5])}"
            f"{more}. Give candidates in words that it knows."
        )
    only_unknown = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
    unknown = [
        repr(answer)
        for tokens, group in written.items()
        if only_unknown.issuperset(tokens)
        for answer in group.values()
    ]
    if unknown:
        logger.warning(f"Of {len(unknown)} candidates the tokenizer knows no word: {', '.join(unknown[:5])}.")


def _check_length(name: str, length: Any) -> None:
    if not isinstance(length, int) or isinstance(length, bool) or length < 3:
        raise ValueError(f"{name} is {length!r}: [CLS], a word and [SEP] need at least 3")


def _check_special_tokens(tokenizer: Any) -> None:
    missing = [name for name in ("cls_token", "sep_token", "pad_token") if getattr(tokenizer, f"{name}_id") is None]
    if missing:
        raise ValueError(
            f"the tokenizer has no {', '.join(missing)}: use one of a BERT-like model, "
            "or add them with tokenizer.add_special_tokens and a post-processor that writes [CLS] ... [SEP]"
        )
    if tokenizer("")["input_ids"] != [tokenizer.cls_token_id, tokenizer.sep_token_id]:
        raise ValueError(
            "the tokenizer does not write a text as [CLS] ... [SEP]: use one of a BERT-like model, "
            "or give it such a post-processor"
        )


def _checked_texts(texts: Sequence[str], kind: str) -> list[str]:
    if isinstance(texts, str):
        raise ValueError(
            f"{kind}s must be a list of strings, not the single string {reprlib.repr(texts)}: put it in a list"
        )
    if not isinstance(texts, Iterable) or isinstance(texts, bytes | Mapping):
        raise TypeError(f"{kind}s are a {type(texts).__name__}: give a list of strings")
    texts = list(texts)
    if not texts:
        raise ValueError(f"the list of {kind}s is empty: pass at least one {kind}")
    for position, text in enumerate(texts):
        if not isinstance(text, str) or not plain_characters(text).strip():
            raise ValueError(
                f"{kind} {position} is {reprlib.repr(text)}: every {kind} must be a string that is not empty"
            )
    return texts


def _paired(images: list[AmifImage], questions: list[str]) -> tuple[list[AmifImage], list[str]]:
    if len(images) != len(questions) and 1 not in (len(images), len(questions)):
        raise ValueError(
            f"{len(images)} images and {len(questions)} questions do not pair up: "
            "pass as many of one as of the other, or a single image or question"
        )
    size = max(len(images), len(questions))
    return images * (size // len(images)), questions * (size // len(questions))
