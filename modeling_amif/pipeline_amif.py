"""Answers in three lines: the pipeline of the task "medical-vqa"."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat, zip_longest
from typing import Any, NotRequired, TypedDict

import torch
from transformers import BatchFeature, Pipeline, PreTrainedModel
from transformers.utils import logging
from transformers.utils.generic import ModelOutput

from .input_checks_amif import check_count, check_finite

logger = logging.get_logger(__name__)

TASK = "medical-vqa"
QUESTIONS_PER_BATCH = 16
PARAMETERS = ("top_k", "candidates", "choices", "generate", "generate_kwargs", "max_new_tokens", "abstain")

Answers = list[dict[str, str | float | None]]


class AmifVqaRow(TypedDict):
    """An image, or a list of up to four, a question about it, and the answers to choose from if they are its own."""

    image: Any
    question: str
    candidates: NotRequired[Sequence[str] | None]
    choices: NotRequired[Sequence[str] | None]


class AmifVqaPipeline(Pipeline):
    """Answers questions about images, by ranking candidate answers or by generating freely.

    The parameters may be given to `pipeline(...)`, for all calls, or to a call.

    Args:
        top_k: How many answers to return for a question, best first; at most all candidates.
        candidates: Answers to choose from, scored in their normalised form and returned as written; None means the
            processor's own. A row's own "candidates" come before these.
        choices: Another name of these, which data sets have; rows too may use either.
        generate: Generate freely instead, by beam search of `top_k` beams; there are no candidates then.
        generate_kwargs: Further options of transformers' `generate`.
        max_new_tokens: The one of these that is asked for most: how many tokens are generated at most.
        abstain: Where the best score is below the checkpoint's `abstention_threshold`, return the one answer None. The
            threshold was chosen for the candidates that the checkpoint brings.
        batch_size: Questions answered at a time, 16 by default; each image among them is encoded once.

    Raises:
        ValueError: If the checkpoint has not learned to answer.

    Example:
        >>> answer = pipeline("medical-vqa", model="amif-vqa")
        >>> answer(image="image.png", question="is there a mass?", top_k=2)
        [{"answer": "no", "score": -0.2}, {"answer": "yes", "score": -1.7}]
        >>> answer({"image": ["before.png", "after.png"], "question": "did it grow?"})
    """

    # An AmifProcessor and a model that answers. Neither can be imported: processors stand in a folder of their own, and
    # the model's file imports this one.
    processor: Any
    model: Any

    _load_processor = True
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, model: PreTrainedModel, **parameters: Any) -> None:
        architectures = model.config.architectures or [type(model).__name__]
        if "AmifForVisualQuestionAnswering" not in architectures:
            raise ValueError(
                f"{model.config.name_or_path} holds {', '.join(architectures)}, whose answers would be chance: "
                "fine-tune it on questions first."
            )
        super().__init__(model=model, **parameters)

    def __call__(
        self,
        image: Any = None,
        question: str | Sequence[str] | None = None,
        batch_size: int | None = None,
        **parameters: Any,
    ) -> Answers | list[Answers] | Iterator[Answers]:
        """Answer questions about images.

        Args:
            image: An image as the processor accepts it, or several as a list, a data set of images, such as
                transformers' `KeyDataset`, or a generator. Without `question`: a row with the keys "image", "question"
                and, where it has its own, "candidates" or "choices", or several rows in the same ways. What else rows
                hold is not read, and named once; parameters are refused there. Of a question about several images,
                four at most, a list stands for the image: `[[before, after]]` beside one question, `[before, after]` in
                a row.
            question: A question, or several in the same ways. Equally many pair up, a single image goes with every
                question and a single question with every image.
            batch_size: Questions answered at a time.
            **parameters: Those of the class.

        Returns:
            For one question `top_k` of `{"answer", "score"}`, best first; a score is the answer's log-likelihood
            (nats). For a list a list of such, for a data set or a generator an iterator over them.

        Raises:
            TypeError: If a parameter is unknown, or of another type.
            ValueError: If image or question is missing, lists do not pair up, there are no candidates or they meet
                `generate`, weights hold NaN or infinity, or `abstain` is asked for and the checkpoint has no threshold.
        """
        size = batch_size if batch_size is not None else self._batch_size or QUESTIONS_PER_BATCH
        check_count("batch_size", size)
        self._sanitize_parameters(**parameters)
        if question is not None and (_is_stream(image) or _is_stream(question)):
            return self._answers(_stream_pairs(image, question), size, parameters)
        if question is not None:
            answers = list(self._answers(_paired(image, question), size, parameters))
            return answers if isinstance(image, list | tuple) or not isinstance(question, str) else answers[0]
        if isinstance(image, Mapping):
            return next(self._answers([image], size, parameters))
        if not isinstance(image, list | tuple) and not _is_stream(image):
            raise ValueError('nothing to answer: pass image= and question=, or rows with "image" and "question"')
        if isinstance(image, list | tuple) and not image:
            raise ValueError("The list of rows is empty: give at least one.")
        answers = self._answers(_items(image), size, parameters)
        return list(answers) if isinstance(image, list | tuple) else answers

    def _answers(self, rows: Iterable[Any], size: int, parameters: Mapping[str, Any]) -> Iterator[Answers]:
        """Answers of one row after another. A batch is one input of the base class, so that it can share images."""
        batches: Any = super().__call__(_batches(rows, size), batch_size=1, **parameters)
        return chain.from_iterable(batches)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict, dict, dict]:
        unknown = parameters.keys() - set(PARAMETERS)
        if unknown:
            raise TypeError(
                f"The pipeline has no parameter {', '.join(sorted(unknown))}: it has image, question, batch_size, "
                f"{', '.join(PARAMETERS)}."
            )
        check_count("top_k", parameters.get("top_k", 1))
        for switch in ("generate", "abstain"):
            if not isinstance(parameters.get(switch, False), bool):
                raise TypeError(f"{switch}={parameters[switch]!r}: give True or False.")
        options = parameters.get("generate_kwargs")
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"generate_kwargs is a {type(options).__name__}: give a dictionary of generate's options.")
        if "choices" in parameters:
            if parameters.get("candidates") is not None:
                raise TypeError("candidates and choices are two names of one thing: give one of them.")
            parameters["candidates"] = parameters.pop("choices")
        if "max_new_tokens" in parameters:
            if options and "max_new_tokens" in options:
                raise TypeError("max_new_tokens is given twice: leave it out of generate_kwargs.")
            check_count("max_new_tokens", parameters["max_new_tokens"])
            parameters["generate_kwargs"] = {**(options or {}), "max_new_tokens": parameters.pop("max_new_tokens")}
        post = {"abstain": parameters.pop("abstain")} if "abstain" in parameters else {}
        return {}, parameters, post

    def preprocess(self, rows: Sequence[AmifVqaRow]) -> BatchFeature:
        """Tensors of a batch, one row of `pixel_values` for each of its images, and each question's own candidates."""
        inputs = self.processor(images=[row["image"] for row in rows], text=[row["question"] for row in rows])
        inputs["candidates"] = [
            row.get("choices") if row.get("candidates") is None else row.get("candidates") for row in rows
        ]
        return inputs

    def _forward(
        self,
        inputs: Mapping[str, Any],
        top_k: int = 1,
        candidates: Sequence[str] | None = None,
        generate: bool = False,
        generate_kwargs: Mapping[str, Any] | None = None,
    ) -> ModelOutput:
        inputs = {**inputs, "pixel_values": inputs["pixel_values"].to(self.model.dtype)}
        own = inputs.pop("candidates")
        if generate:
            if candidates is not None or any(given is not None for given in own):
                raise ValueError("generate=True writes answers freely and reads no candidates: leave out one of them.")
            return self._generate(inputs, top_k, generate_kwargs or {})
        if generate_kwargs:
            raise ValueError(
                f"{', '.join(generate_kwargs)}: read with generate=True alone; pass that, or leave it out."
            )
        return self._rank(inputs, [candidates if given is None else given for given in own], top_k)

    def _rank(self, inputs: dict[str, torch.Tensor], given: list[Sequence[str] | None], top_k: int) -> ModelOutput:
        """Rank each question's candidates in one call; each image is encoded once."""
        states = self.model.model.encode_images(inputs.pop("pixel_values"))
        lists = [self.processor.answers if own is None else own for own in given]
        if any(own is None or len(own) == 0 for own in lists):
            raise ValueError("there are no candidates: pass candidates=, set processor.answers, or pass generate=True")
        if all(own is lists[0] for own in lists):
            texts, encoded, mask = lists[0], self.processor.encode_candidates(lists[0]), None
        else:
            texts, encoded, mask = self.processor.encode_choices(lists)
        ranking = self.model.rank_answers(**inputs, image_states=states, answers=encoded, answer_mask=mask, top_k=top_k)
        found = [
            [(texts[index], score) for index, score in zip(*row, strict=True) if index >= 0]
            for row in zip(ranking.indices.tolist(), ranking.scores.tolist(), strict=True)
        ]
        return ModelOutput(
            answers=[[text for text, _ in row] for row in found], scores=[[score for _, score in row] for row in found]
        )

    def _generate(self, inputs: dict[str, torch.Tensor], top_k: int, options: Mapping[str, Any]) -> ModelOutput:
        """Generate, and score what came as candidates are scored."""
        states = {"image_states": self.model.model.encode_images(inputs.pop("pixel_values"))}
        # Length must not count: a score is a sum over tokens.
        options = {"num_beams": top_k, "num_return_sequences": top_k, **options}
        if options["num_beams"] > 1:
            options.setdefault("length_penalty", 0.0)
        tokens = self.model.generate(**inputs, **states, **options)
        repeats = len(tokens) // len(inputs["input_ids"])
        repeated = {name: tensor.repeat_interleave(repeats, dim=0) for name, tensor in inputs.items()}
        log_probs = self.model(**repeated, **states, labels=tokens).logits[:, :-1].float().log_softmax(dim=-1)
        said = tokens[:, 1:]
        counted = said != self.model.config.pad_token_id
        scores = (log_probs.gather(2, said.unsqueeze(2)).squeeze(2) * counted).sum(dim=1).unflatten(0, (-1, repeats))
        check_finite(scores, "scores", self.model)
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        answers = [[texts[row * repeats + place] for place in places] for row, places in enumerate(order.tolist())]
        return ModelOutput(answers=answers, scores=scores.tolist())

    def postprocess(self, outputs: ModelOutput, abstain: bool = False) -> list[Answers]:
        """Answers and scores of each row of a batch."""
        threshold = self.processor.abstention_threshold if abstain else -float("inf")
        if threshold is None:
            raise ValueError(
                "abstain=True, but this checkpoint has no threshold: set processor.abstention_threshold, chosen on "
                "validation, or leave abstain off"
            )
        return [
            [{"answer": answer, "score": score} for answer, score in zip(answers, scores, strict=True)]
            if scores[0] >= threshold
            else [{"answer": None, "score": scores[0]}]
            for answers, scores in zip(outputs["answers"], outputs["scores"], strict=True)
        ]

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Save model, processor and code; the base class would leave the processor's answers behind."""
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


def _paired(image: Any, question: str | Sequence[str]) -> list[AmifVqaRow]:
    images = list(image) if isinstance(image, list | tuple) else [image]
    if not isinstance(question, Iterable) or isinstance(question, bytes | Mapping):
        raise TypeError(f"question is a {type(question).__name__}: give a text or a list of texts.")
    questions = [question] if isinstance(question, str) else list(question)
    if not images or not questions:
        raise ValueError(f"{len(images)} images and {len(questions)} questions: give at least one of each")
    if len(images) != len(questions) and 1 not in (len(images), len(questions)):
        raise ValueError(f"{len(images)} images and {len(questions)} questions do not pair up")
    size = max(len(images), len(questions))
    pairs = zip(images * (size // len(images)), questions * (size // len(questions)), strict=True)
    return [{"image": image, "question": question} for image, question in pairs]


def _is_stream(value: Any) -> bool:
    """Whether it gives one item after another and is no list: a data set, a column of one, or a generator."""
    # Arrays and tensors are images.
    one_or_list = isinstance(value, str | bytes | Mapping | list | tuple) or hasattr(value, "__array__")
    return not one_or_list and (hasattr(value, "__iter__") or hasattr(value, "__getitem__"))


def _items(values: Any) -> Iterable[Any]:
    """Of a list, a stream, or a data set of torch, which has places and no iterator."""
    return values if isinstance(values, Iterable) else (values[place] for place in range(len(values)))


def _stream_pairs(image: Any, question: Any) -> Iterator[AmifVqaRow]:
    images, questions = (
        _items(given) if isinstance(given, list | tuple) or _is_stream(given) else repeat(given)
        for given in (image, question)
    )
    # Where both are streams and one ends before the other, the row without its half is named.
    pair_up = zip if isinstance(images, repeat) or isinstance(questions, repeat) else zip_longest
    return ({"image": image, "question": question} for image, question in pair_up(images, questions))


def _batches(rows: Iterable[Any], size: int) -> Iterator[list[AmifVqaRow]]:
    numbered = enumerate(rows)
    while batch := list(islice(numbered, size)):
        for place, row in batch:
            if not isinstance(row, Mapping) or row.get("image") is None or row.get("question") is None:
                raise ValueError(f'row {place} needs "image" and "question"; it is a {type(row).__name__} without')
            misplaced = sorted(row.keys() & (set(PARAMETERS) - {"candidates", "choices"} | {"batch_size"}))
            if row.get("candidates") is not None and row.get("choices") is not None:
                raise ValueError(f"row {place} has candidates and choices, two names of one thing: give one of them.")
            if misplaced:
                raise ValueError(f"row {place} holds {', '.join(misplaced)}: give parameters to the call, for all rows")
            unread = sorted(map(str, row.keys() - AmifVqaRow.__annotations__.keys()))
            if unread:
                logger.warning_once(f"Of the rows {', '.join(unread)} are not read.")
        yield [row for _, row in batch]
