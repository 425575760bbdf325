"""AMiF that answers questions: joint states, gated knowledge fusion, decoder (sections 3.4.1 and 3.4.2)."""

import copy
from collections.abc import Mapping
from inspect import signature
from typing import Any, Self

import torch
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig, GenerationMixin
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from .answer_ranking_amif import AmifRankingOutput, AnswerScorer, candidate_tokens, rank_exhaustively
from .answer_search_amif import rank_by_search
from .configuration_amif import AmifConfig
from .encoder_loading_amif import (
    check_fields,
    check_image_size,
    copy_weights,
    load_encoders,
    load_weights,
    matching_decoder_config,
)
from .encoders_amif import build_decoder, cache_option
from .input_checks_amif import check_candidates, check_count, check_finite, check_labels, own_candidates
from .knowledge_amif import AmifWithKnowledge
from .knowledge_fusion_amif import AmifKnowledgeFusion
from .model_outputs_amif import AmifVisualQuestionAnsweringOutput, Kept, answer_loss
from .modeling_amif import AmifModel, AmifPreTrainedModel
from .pipeline_amif import TASK, AmifVqaPipeline

RANKING_METHODS = {"exhaustive": rank_exhaustively, "search": rank_by_search}

SCORES = ("sum", "mean")


class AmifForVisualQuestionAnswering(AmifWithKnowledge, GenerationMixin):
    """AMiF for Med-VQA: joint states, gated knowledge fusion and an autoregressive answer decoder (section 3.4).

    Example:
        >>> model = AmifForVisualQuestionAnswering.from_encoders("facebook/dinov2-small", "bert-base-uncased")
        >>> inputs = processor(images=image, text="is the heart enlarged?")
        >>> ranking = model.rank_answers(**inputs, answers=processor.encode_candidates(["yes", "no"]))
    """

    # A causal language model of transformers; no class that all of them share declares `generate`.
    decoder: Any

    def __init__(self, config: AmifConfig) -> None:
        super().__init__(config)
        self.model = AmifModel(config)
        self.knowledge_fusion = None
        if config.knowledge_fusion != "none":
            self.knowledge_fusion = AmifKnowledgeFusion(config, self.model.get_input_embeddings().embedding_dim)
        knowledge_ids = torch.zeros(config.knowledge_size, dtype=torch.long) if config.knowledge_size else None
        self.register_buffer("knowledge_ids", knowledge_ids)
        decoder_size = config.decoder_config.hidden_size
        same_width = decoder_size == config.hidden_size
        self.decoder_projection = nn.Identity() if same_width else nn.Linear(config.hidden_size, decoder_size)
        self.decoder = build_decoder(config)
        # Written here because `register_for_auto_class` holds one Auto class, and this model answers to two.
        config.auto_map = {
            "AutoConfig": "configuration_amif.AmifConfig",
            "AutoModel": "vqa_amif.AmifForVisualQuestionAnswering",
            "AutoModelForVisualQuestionAnswering": "vqa_amif.AmifForVisualQuestionAnswering",
        }
        # Imported although nothing here runs it: saving copies the code that this file imports beside the weights.
        pipeline = f"pipeline_amif.{AmifVqaPipeline.__name__}"
        config.custom_pipelines = {TASK: {"impl": pipeline, "pt": ["AutoModelForVisualQuestionAnswering"]}}
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AmifForVisualQuestionAnswering) and module.knowledge_ids is not None:
            # A buffer that a checkpoint lacks would otherwise come up as uninitialised memory.
            init.zeros_(module.knowledge_ids)
        fusion = self.knowledge_fusion
        if fusion is not None and self.config.knowledge_zero_init:
            # Asked of each layer: transformers passes over modules that hold no weights of their own.
            for last in (fusion.cross_attention.output, fusion.feed_forward.contract):
                if module is last:
                    init.zeros_(last.weight)
                    init.zeros_(last.bias)

    @classmethod
    def from_encoders(
        cls,
        vision: str,
        text: str,
        decoder: str | None = None,
        image_size: int | None = None,
        vision_layers: int | None = None,
        text_layers: int | None = None,
        decoder_layers: int | None = None,
        **config: Any,
    ) -> Self:
        """Build a model from pretrained encoders, in float32; projections, co-attention and fusion are new.

        Args:
            vision: Name or path of an image encoder. A CLIP checkpoint gives its vision tower, open_clip:NAME_OR_FOLDER
                that of an open_clip model.
            text: Name or path of a BERT-like text encoder, or open_clip:NAME_OR_FOLDER.
            decoder: Name or path of the decoder's weights; None takes the text encoder's. Cross-attention is new.
            image_size: Pixels on a side. Position embeddings are resized to it; None keeps the encoder's size.
            vision_layers: Keep only so many of the image encoder's layers, the first; None keeps all.
            text_layers: Likewise of the text encoder.
            decoder_layers: Likewise of the decoder.
            **config: Further fields of `AmifConfig`.

        Raises:
            ValueError: If the decoder's vocabulary is not the text encoder's, a model has fewer layers than it shall
                keep, or the patches do not divide `image_size`.
        """
        check_fields(config, cls.config_class)
        vision_model, text_model, configs = load_encoders(vision, text, image_size, vision_layers, text_layers)
        decoder_source = text_model if decoder is None else load_weights(decoder, "decoder")
        decoder_config = matching_decoder_config(decoder_source.config, text_model.config, decoder_layers)
        fields: dict[str, Any] = {**configs, "decoder_config": decoder_config, **config}
        model = cls(AmifConfig(**fields))
        copy_weights(vision_model, model.model.vision_model)
        copy_weights(text_model, model.model.text_model)
        copy_weights(decoder_source, model.decoder.base_model)
        return model

    @classmethod
    def from_pretraining(
        cls,
        path: str,
        decoder: str | None = None,
        image_size: int | None = None,
        decoder_layers: int | None = None,
        new_co_attention: bool = False,
        **config: Any,
    ) -> Self:
        """Build a model on a pre-training checkpoint, in float32: its encoders, projections and co-attention, if any.

        Cross-attention, knowledge fusion and answer head are new; what belongs to the objective alone stays behind.

        Args:
            path: Name or path of a pre-training checkpoint, of whichever objective.
            decoder: Name or path of the decoder's weights; None takes the pre-trained text encoder's, with as few
                layers as that has.
            image_size: Pixels on a side. Position embeddings are resized to it; None keeps the checkpoint's size.
            decoder_layers: Keep only so many of the decoder's layers, the first; None keeps all.
            new_co_attention: Leave the checkpoint's co-attention behind, so that objectives that train one and those
                that do not can be compared.
            **config: Further fields of `AmifConfig`.

        Raises:
            ValueError: If the checkpoint was not pre-trained, the decoder's vocabulary is not the text encoder's, the
                decoder has fewer layers than `decoder_layers`, or the patches do not divide `image_size`.
        """
        check_fields(config, cls.config_class)
        pretrained = load_weights(path, "pre-training checkpoint")
        if isinstance(pretrained, cls) or not isinstance(pretrained, AmifPreTrainedModel):
            raise ValueError(f"{path!r} holds {type(pretrained).__name__}, which is no pre-training checkpoint.")
        text_model = pretrained.model.text_model
        decoder_source = text_model if decoder is None else load_weights(decoder, "decoder")
        fields = signature(AmifConfig.__init__).parameters
        configs = {name: value for name, value in pretrained.config.to_dict().items() if name in fields}
        if image_size is not None and image_size != configs["vision_config"]["image_size"]:
            check_image_size(image_size, configs["vision_config"].get("patch_size"))
            configs["vision_config"]["image_size"] = image_size
        configs["decoder_config"] = matching_decoder_config(decoder_source.config, text_model.config, decoder_layers)
        model = cls(AmifConfig(**(configs | config)))
        # What its pairs were and held out: its card names the data, and fine-tuning refuses what was not held out.
        for name in ("trained_on", "validation_by"):
            if hasattr(pretrained.config, name):
                setattr(model.config, name, getattr(pretrained.config, name))
        if new_co_attention:
            pretrained.model.co_attention = None
        copy_weights(pretrained.model, model.model)
        copy_weights(decoder_source, model.decoder.base_model)
        return model

    def get_output_embeddings(self) -> nn.Module:
        """The decoder's output layer."""
        return self.decoder.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the decoder's output layer."""
        self.decoder.set_output_embeddings(new_embeddings)

    def resize_token_embeddings(self, *arguments: Any, **options: Any) -> nn.Embedding:
        """As of transformers; text encoder and decoder share a tokenizer, and both get the new tokens."""
        self.decoder.resize_token_embeddings(*arguments, **options)
        self.config.decoder_config.vocab_size = self.decoder.config.vocab_size
        return super().resize_token_embeddings(*arguments, **options)

    def encode(
        self, *inputs: torch.Tensor | None, output_attentions: bool = False, **named_inputs: Any
    ) -> AmifVisualQuestionAnsweringOutput:
        """Everything up to the decoder; inputs as in `AmifModel.forward`, by place or by name.

        Returns:
            An output with `joint_states` (B, t + p, decoder width) and `attention_mask`, and the attention maps and the
            gate where asked for.
        """
        joint = self.model(*inputs, output_attentions=output_attentions, return_dict=True, **named_inputs)
        states, extras = joint.last_hidden_state, {}
        knowledge = self.knowledge_states()
        if knowledge is not None and self.knowledge_fusion is not None:
            states, gate, weights = self.knowledge_fusion(states, knowledge, output_attentions)
            extras = {"gate": gate, "knowledge_attentions": weights} if output_attentions else {}
        extras |= {name: value for name, value in joint.items() if name != "last_hidden_state"}
        return AmifVisualQuestionAnsweringOutput(joint_states=self.decoder_projection(states), **extras)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_index: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        image_states: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        decoder_inputs_embeds: torch.Tensor | None = None,
    ) -> AmifVisualQuestionAnsweringOutput:
        """Answer logits for questions about images, and the loss where labels are given.

        All but `labels` and what the decoder reads are as in `AmifModel.forward`.

        Args:
            pixel_values: (U, channels, height, width) float.
            input_ids: (B, t) int64.
            attention_mask: (B, t).
            image_index: (B,) int64, or (B, V) where questions have several views.
            labels: (B, T) int64, "[CLS] a1 .. an [SEP]" and padding (the pad token or -100). [CLS] starts and is never
                predicted, padding is not counted.
            image_states: States of `AmifModel.encode_images`, in place of `pixel_values`.
            output_attentions: Return attention maps and the gate; needs the eager attention implementation.
            output_hidden_states: As the next three.
            inputs_embeds: (B, t, text width).
            token_type_ids: (B, t) int64.
            interpolate_pos_encoding: Read images of any size.
            decoder_input_ids: (B, T) int64, what the decoder reads where there are no labels: [CLS] first.
            decoder_attention_mask: (B, T), 1 where one of these is valid.
            decoder_inputs_embeds: (B, T, decoder width), in place of `decoder_input_ids`.

        Raises:
            TypeError: If what should be a tensor is none.
            ValueError: If one has another shape, dtype, device or value than said, answers are longer than the
                decoder's positions, or the model is trained and there is nothing that the decoder shall say.
        """
        kept = self._kept(output_attentions, output_hidden_states)
        texts = {"inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids}
        images = {"image_index": image_index, "image_states": image_states}
        options = {**texts, **images, "interpolate_pos_encoding": interpolate_pos_encoding, **kept}
        encoded = self.encode(pixel_values, input_ids, attention_mask, **options)
        given = {"input_ids": decoder_input_ids, "inputs_embeds": decoder_inputs_embeds}
        return self._decode(encoded, labels, {**given, "attention_mask": decoder_attention_mask}, kept)

    def _decode(
        self,
        encoded: AmifVisualQuestionAnsweringOutput,
        labels: torch.Tensor | None,
        given: dict[str, torch.Tensor | None],
        kept: Kept,
    ) -> AmifVisualQuestionAnsweringOutput:
        """Have the decoder read labels, or what is `given` for it, or [CLS] alone."""
        num_texts = encoded.joint_states.shape[0]
        if labels is not None:
            check_labels(labels, num_texts, self.decoder, self.config)
        if given["input_ids"] is None and given["inputs_embeds"] is None:
            if labels is None and self.training:
                raise ValueError(
                    "There is nothing to train on: give labels, or decoder_input_ids. The stock Trainer takes the "
                    "labels away where label_smoothing_factor or a loss function is set; use AmifVqaTrainer."
                )
            given["input_ids"] = self._decoder_inputs(labels, encoded.joint_states)
        elif labels is not None:
            raise ValueError("Give labels, which the decoder reads too, or decoder inputs, one of them.")
        decoded = self.decoder(
            **given,
            encoder_hidden_states=encoded.joint_states,
            encoder_attention_mask=encoded.attention_mask,
            use_cache=False,
            return_dict=True,
            **kept,
        )
        return AmifVisualQuestionAnsweringOutput(
            loss=None if labels is None else answer_loss(decoded.logits, labels, self.config.pad_token_id),
            logits=decoded.logits,
            decoder_hidden_states=decoded.hidden_states,
            decoder_attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            **encoded,
        )

    def _decoder_inputs(self, labels: torch.Tensor | None, states: torch.Tensor) -> torch.Tensor:
        if labels is None:
            return torch.full((states.shape[0], 1), self.config.decoder_start_token_id, device=states.device)
        return labels.masked_fill(labels == -100, self.config.pad_token_id)

    @torch.no_grad()
    def generate(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_index: torch.Tensor | None = None,
        image_states: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        generation_config: GenerationConfig | None = None,
        **generation_options: Any,
    ) -> Any:
        """Generate answers freely; inputs as in `forward`, options as in transformers' `generate` (beams, ...).

        Options come before `generation_config`, which comes before the model's own of that name.

        Returns:
            (B, length) int64 tokens that begin with [CLS]; up to 32 new ones unless `max_new_tokens` or `max_length` is
            set somewhere. With `return_dict_in_generate=True` an output of transformers that holds them.

        Raises:
            TypeError: If what should be a tensor is none.
            ValueError: If an input is none that `forward` takes, transformers refuses an option, or the weights hold
                NaN or infinity.
        """
        texts = {"inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids}
        options = {**texts, "interpolate_pos_encoding": interpolate_pos_encoding}
        encoded = self.encode(pixel_values, input_ids, attention_mask, image_index, image_states, **options)
        start = self._decoder_inputs(None, encoded.joint_states)
        states = {"encoder_hidden_states": encoded.joint_states, "encoder_attention_mask": encoded.attention_mask}
        # Beams of NaN are tokens like others: the first step alone shows them.
        check_finite(self.decoder(input_ids=start, use_cache=False, **states).logits, "logits", self)
        caches = (DynamicCache(config=self.decoder.config) for _ in range(2))
        # BERT's own `generate` makes a cache without a place for the cross-attention.
        states |= cache_option(self.decoder, EncoderDecoderCache(*caches))
        try:
            config = copy.deepcopy(self.generation_config if generation_config is None else generation_config)
            states |= config.update(**generation_options)
            if generation_options.get("max_length") is not None and "max_new_tokens" not in generation_options:
                config.max_new_tokens = None  # a checkpoint's own, which transformers would put before it
            if config.max_new_tokens is None and config.max_length is None:
                config.max_new_tokens = 32
            config.update(
                bos_token_id=self.config.decoder_start_token_id,
                eos_token_id=self.config.eos_token_id,
                pad_token_id=self.config.pad_token_id,
                defaults_only=True,
            )
            return self.decoder.generate(input_ids=start, generation_config=config, **states)
        except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ValueError(f"generate does not take {generation_options}: {error}") from error

    @torch.no_grad()
    def rank_answers(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_index: torch.Tensor | None = None,
        image_states: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        *,
        answers: Mapping[str, torch.Tensor],
        answer_mask: torch.Tensor | None = None,
        top_k: int = 1,
        method: str = "search",
        score: str = "sum",
    ) -> AmifRankingOutput:
        """Rank candidate answers by their log-likelihood; inputs as in `forward`.

        Args:
            pixel_values: (U, channels, height, width) float.
            input_ids: (B, t) int64.
            attention_mask: (B, t).
            image_index: (B,) int64, or (B, V) where questions have several views.
            image_states: (U, tokens, image_states_size), in place of `pixel_values`.
            inputs_embeds: (B, t, text width), in place of `input_ids`.
            token_type_ids: (B, t) int64.
            interpolate_pos_encoding: Read images of any size.
            answers: `processor.encode_candidates(list_of_strings)`: `input_ids` and `attention_mask`, (N, T).
            answer_mask: (B, N) bool, True where a candidate is one of the question's own, as those of
                `processor.encode_choices`; None means that all are every question's.
            top_k: How many candidates to return; at most all N of them.
            method: "exhaustive" scores every candidate, "search" finds the same result with less work.
            score: "sum" of the tokens' log-likelihoods, or their "mean".

        Returns:
            `indices` into the candidates and `scores` (nats), both (B, min(top_k, N)), best first; ties keep the
            candidates' order. With `answer_mask` N is the most that a question has; -1 fills up those with fewer.

        Raises:
            TypeError: If what should be a tensor or a mapping is none.
            ValueError: If `method`, `score` or `top_k` is not one of the above; there are no candidates, one does not
                begin with [CLS] and end with [SEP], or is longer than the decoder's positions; an input is none that
                `forward` takes; or scores are not finite, because weights hold NaN or infinity.
        """
        if method not in tuple(RANKING_METHODS) or score not in SCORES:
            raise ValueError(f"method={method!r}, score={score!r}: choose from {tuple(RANKING_METHODS)} and {SCORES}.")
        check_count("top_k", top_k)
        candidates = candidate_tokens(check_candidates(answers, self.decoder, self.config))
        texts = {"inputs_embeds": inputs_embeds, "token_type_ids": token_type_ids}
        options = {**texts, "interpolate_pos_encoding": interpolate_pos_encoding}
        encoded = self.encode(pixel_values, input_ids, attention_mask, image_index, image_states, **options)
        check_finite(encoded.joint_states, "joint states", self)
        own = own_candidates(answer_mask, len(encoded.joint_states), len(candidates))
        start = self.config.decoder_start_token_id
        scorer = AnswerScorer(self.decoder, encoded.joint_states, encoded.attention_mask, start)
        if self.decoder.config._attn_implementation not in ("eager", "sdpa"):
            method = "exhaustive"  # the search reads trees of tokens, whose masks other implementations do not take
        return RANKING_METHODS[method](scorer, candidates, min(top_k, len(candidates)), score, own)


# Saving a checkpoint copies this file and its siblings beside the weights.
AmifForVisualQuestionAnswering.register_for_auto_class("AutoModel")
