"""Which of several answers a model finds likeliest after a prompt with images."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers.utils import logging

logger = logging.get_logger(__name__)


class CandidateRanker:
    """Finds the likeliest of several answers to B prompts with images.

    A candidate's score is the sum of the log-probabilities (nats) of its tokens behind the prompt and, where `ends` are
    given, of the end: so "left" does not win over "left lung" for being shorter, and all texts together have
    probability 1.

    Images and prompt are read once, and candidates go on from their keys and values. Not every model can: the first
    candidate is also read with its whole prompt, and where the two scores differ all are, which is logged.

    Args:
        model: A decoder over text and images, in evaluation mode.
        ends: Tokens at any of which the model stops; none leaves the end out of the score.

    Raises:
        ValueError: If the model is an encoder-decoder.
    """

    def __init__(self, model: Any, ends: Sequence[int]) -> None:
        if model.config.is_encoder_decoder:
            raise ValueError(
                f"{type(model).__name__} is an encoder-decoder, whose answers do not go on from the prompt: it can "
                "answer under --protocol generate alone."
            )
        self.model, self.ends = model, list(ends)
        names = inspect.signature(model.forward).parameters
        # Under the name that this release of transformers, or code beside the weights, has for it.
        self._cache_name = "cache" if "cache" in names else "past_key_values"
        self._keeps_last, self._takes_positions = "logits_to_keep" in names, "position_ids" in names
        self._goes_on: bool | None = None

    @torch.no_grad()
    def best(
        self,
        inputs: Mapping[str, torch.Tensor],
        candidates: Sequence[Sequence[int]],
        allowed: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The likeliest candidate of each prompt.

        Args:
            inputs: Of the model, for B prompts padded on the left.
            candidates: C lists of tokens, one at least.
            allowed: (B, C) bool, which candidates a prompt may have; None allows all.

        Returns:
            Places among the candidates (B,) int64, and scores (B,) float32 in nats.
        """
        logits, cache = self._read(inputs, 1, use_cache=True)
        firsts = torch.tensor([tokens[0] for tokens in candidates], device=logits.device)
        heads = logits[:, -1].log_softmax(-1)[:, firsts]
        if allowed is not None:
            heads = heads.masked_fill(~allowed.to(heads.device), -torch.inf)
        places, best = heads.new_zeros(len(heads), dtype=torch.long), heads.new_full((len(heads),), -torch.inf)
        for place in heads.amax(0).argsort(descending=True).tolist():
            # Further tokens only lower a score, so what begins below the best one needs no reading.
            if (heads[:, place] > best).any():
                scores = heads[:, place] + self._rest(inputs, cache, candidates[place])
                places = torch.where(scores > best, place, places)
                best = torch.maximum(scores, best)
        return places, best

    def _rest(self, inputs: Mapping[str, torch.Tensor], cache: Any, tokens: Sequence[int]) -> torch.Tensor | float:
        """Log-probability (B,) of all but the first token, and of the end."""
        read = list(tokens if self.ends else tokens[:-1])
        if not read:
            return 0.0
        if self._goes_on is None and cache is not None:
            whole, gone_on = self._sum(inputs, None, tokens, read), self._sum(inputs, cache, tokens, read)
            # Rounding of half precision is about 1 % of a logit.
            tolerance = max(1e-3, 64 * torch.finfo(self.model.dtype).eps)
            self._goes_on = torch.allclose(whole, gone_on, rtol=0, atol=tolerance)
            if not self._goes_on:
                logger.warning(
                    f"{type(self.model).__name__} does not go on from the keys and values of a prompt (scores differ "
                    f"by {float((whole - gone_on).abs().max()):.3g}): each candidate is read with its prompt, slowly."
                )
        return self._sum(inputs, cache if self._goes_on else None, tokens, read)

    def _sum(
        self, inputs: Mapping[str, torch.Tensor], cache: Any, tokens: Sequence[int], read: list[int]
    ) -> torch.Tensor:
        ids = inputs["input_ids"]
        fed = torch.tensor([read], device=ids.device).expand(len(ids), -1)
        appended = {"input_ids": fed, "attention_mask": torch.ones_like(fed)}
        if cache is None:
            # Beside ids and mask, what kind each token is of: 0 is text, and 1 PaliGemma's answer, which its prompt,
            # read in both directions, must not see.
            kind = int(self.model.config.model_type == "paligemma")
            of_tokens = {name: value for name, value in inputs.items() if value.shape == ids.shape}
            longer = {
                name: torch.cat([value, appended.get(name, torch.full_like(fed, kind)).to(value.dtype)], dim=1)
                for name, value in of_tokens.items()
            }
            logits, _ = self._read({**inputs, **longer}, len(read))
        else:
            mask = torch.cat([inputs["attention_mask"], appended["attention_mask"]], dim=1)
            going_on = {"input_ids": fed, "attention_mask": mask}
            logits, _ = self._read(going_on, len(read), use_cache=True, **{self._cache_name: copy.deepcopy(cache)})
        log_probabilities = logits.log_softmax(-1)
        following = torch.tensor(tokens[1:], device=ids.device).expand(len(ids), -1)[..., None]
        inner = log_probabilities[:, : len(tokens) - 1].gather(-1, following).sum((1, 2))
        return inner + log_probabilities[:, -1, self.ends].logsumexp(-1) if self.ends else inner

    def _read(self, inputs: Mapping[str, Any], last: int, **options: Any) -> tuple[torch.Tensor, Any]:
        """Logits (B, last, vocabulary) float32 behind the last tokens, and the keys and values of all."""
        ids = inputs["input_ids"]
        if self._takes_positions:
            # As `generate` has them: of several axes in some models, and those of padding do not count.
            others = {name: value for name, value in inputs.items() if name != "input_ids"}
            positions = self.model._prepare_position_ids_for_generation(ids, others | options)
            options["position_ids"] = positions[..., -ids.shape[1] :]
        if self._keeps_last:
            options["logits_to_keep"] = last  # those of a whole prompt would fill the memory
        output = self.model(**inputs, **options)
        return output.logits[:, -last:].float(), getattr(output, self._cache_name, None)
