"""Answers in three lines: the pipeline of the task "medical-vqa"."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypedDict

import torch
from transformers import BatchFeature, Pipeline, PreTrainedModel
from transformers.utils.generic import ModelOutput

TASK = "medical-vqa"
QUESTIONS_PER_BATCH = 16

Answers = list[dict[str, str | float | None]]


class AmifVqaRow(TypedDict):
    """An image and a question about it."""

    image: Any
    question: str


class AmifVqaPipeline(Pipeline):
    """Answers questions about images, by ranking candidate answers or by generating freely.

    The parameters may be given to `pipeline(...)`, for all calls, or to a call.

    Args:
        top_k: How many answers to return for a question, best first; at most all candidates.
        candidates: Answers to choose from, scored in their normalised form and returned as written; None means the
            processor's own.
        generate: Generate freely instead, by beam search of `top_k` beams.
        generate_kwargs: Further options of transformers' `generate`, such as `max_new_tokens`.
        abstain: Where the best score is below the checkpoint's `abstention_threshold`, return the one answer None. The
            threshold was chosen for the candidates that the checkpoint brings.
        batch_size: Questions answered at a time, 16 by default; each image among them is encoded once.

    Raises:
        ValueError: If the checkpoint has not learned to answer.

    Example:
        >>> answer = pipeline("medical-vqa", model="amif-vqa")
        >>> answer(image="image.png", question="is there a mass?", top_k=2)
        [{"answer": "no", "score": -0.2}, {"answer": "yes", "score": -1.7}]
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
            image: An image as the processor accepts it, or a list of them. Without `question`: a row with the keys
                "image" and "question", or rows as a list, a data set or a generator.
            question: A question, or a list. Lists of equal length pair up, a single image goes with every question and
                a single question with every image.
            batch_size: Questions answered at a time.
            **parameters: Those of the class.

        Returns:
            For one question `top_k` of `{"answer", "score"}`, best first; a score is the answer's log-likelihood
            (nats). For a list a list of such, for a data set or a generator an iterator over them.

        Raises:
            ValueError: If image or question is missing, lists do not pair up, there are no candidates, or `abstain`
                is asked for and the checkpoint has no threshold.
        """
        size = batch_size or self._batch_size or QUESTIONS_PER_BATCH
        if question is not None:
            answers = list(self._answers(_paired(image, question), size, parameters))
            return answers if isinstance(image, list | tuple) or not isinstance(question, str) else answers[0]
        if isinstance(image, Mapping):
            return next(self._answers([image], size, parameters))
        if not isinstance(image, Iterable):
            raise ValueError('nothing to answer: pass image= and question=, or rows with "image" and "question"')
        answers = self._answers(image, size, parameters)
        return list(answers) if isinstance(image, list | tuple) else answers

    def _answers(self, rows: Iterable[Any], size: int, parameters: Mapping[str, Any]) -> Iterator[Answers]:
        """Answers of one row after another. A batch is one input of the base class, so that it can share images."""
        batches: Any = super().__call__(_batches(rows, size), batch_size=1, **parameters)
        return chain.from_iterable(batches)

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict, dict, dict]:
        post = {"abstain": parameters.pop("abstain")} if "abstain" in parameters else {}
        unknown = parameters.keys() - {"top_k", "candidates", "generate", "generate_kwargs"}
        if unknown:
            raise TypeError(f"the pipeline has no parameter {', '.join(sorted(unknown))}")
        return {}, parameters, post

    def preprocess(self, rows: Sequence[AmifVqaRow]) -> BatchFeature:
        """Tensors of a batch, one row of `pixel_values` for each of its images."""
        return self.processor(images=[row["image"] for row in rows], text=[row["question"] for row in rows])

    def _forward(
        self,
        inputs: Mapping[str, torch.Tensor],
        top_k: int = 1,
        candidates: Sequence[str] | None = None,
        generate: bool = False,
        generate_kwargs: Mapping[str, Any] | None = None,
    ) -> ModelOutput:
        inputs = {**inputs, "pixel_values": inputs["pixel_values"].to(self.model.dtype)}
        if generate:
            return self._generate(inputs, top_k, generate_kwargs or {})
        candidates = self.processor.answers if candidates is None else candidates
        if not candidates:
            raise ValueError("there are no candidates: pass candidates=, set processor.answers, or pass generate=True")
        ranking = self.model.rank_answers(**inputs, answers=self.processor.encode_candidates(candidates), top_k=top_k)
        answers = [[candidates[index] for index in row] for row in ranking.indices.tolist()]
        return ModelOutput(answers=answers, scores=ranking.scores)

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
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        answers = [[texts[row * repeats + place] for place in places] for row, places in enumerate(order.tolist())]
        return ModelOutput(answers=answers, scores=scores)

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
            for answers, scores in zip(outputs["answers"], outputs["scores"].tolist(), strict=True)
        ]

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Save model, processor and code; the base class would leave the processor's answers behind."""
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)


def _paired(image: Any, question: str | Sequence[str]) -> list[AmifVqaRow]:
    images = list(image) if isinstance(image, list | tuple) else [image]
    questions = [question] if isinstance(question, str) else list(question)
    if not images or not questions:
        raise ValueError(f"{len(images)} images and {len(questions)} questions: give at least one of each")
    if len(images) != len(questions) and 1 not in (len(images), len(questions)):
        raise ValueError(f"{len(images)} images and {len(questions)} questions do not pair up")
    size = max(len(images), len(questions))
    pairs = zip(images * (size // len(images)), questions * (size // len(questions)), strict=True)
    return [{"image": image, "question": question} for image, question in pairs]


def _batches(rows: Iterable[Any], size: int) -> Iterator[list[AmifVqaRow]]:
    numbered = enumerate(rows)
    while batch := list(islice(numbered, size)):
        for place, row in batch:
            if not isinstance(row, Mapping) or row.get("image") is None or row.get("question") is None:
                raise ValueError(f'row {place} needs "image" and "question"; it is a {type(row).__name__} without')
        yield [row for _, row in batch]
