"""What models are given, checked before anything is computed: wrong tensors end in words of ours, or in a wrong answer.

Kind, shape and device cost nothing and are always checked. Values are read where that does not make a GPU wait in a
training step: tensors of the CPU, and any tensor where there are no gradients.
"""

from collections.abc import Mapping
from inspect import signature
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from .configuration_amif import MAX_VIEWS

# Encoders that read images of their configuration's size and no other.
ONE_SIZE_ENCODERS = ("vit", "clip_vision_model", "siglip_vision_model", "deit", "beit")

IDS, FLAGS, PIXELS = "ids", "flags", "pixels"


def check_images(pixel_values: Any, vision_model: PreTrainedModel, other_sizes: bool = False) -> None:
    """Refuse what is not (U, channels, height, width) floats of the size and channels that an image encoder reads.

    With `other_sizes` any size will do that the encoder can take.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If its shape, dtype or device is another.
    """
    _check_tensor("pixel_values", pixel_values, PIXELS, "(images, channels, height, width)", vision_model)
    config = vision_model.config
    channels, size = getattr(config, "num_channels", None), getattr(config, "image_size", None)
    if isinstance(channels, int) and pixel_values.shape[1] != channels:
        raise ValueError(f"pixel_values has {pixel_values.shape[1]} channels, and the image encoder reads {channels}.")
    wanted = (size, size) if isinstance(size, int) else size
    interpolated = other_sizes and takes_other_sizes(vision_model)
    one_size = config.model_type in ONE_SIZE_ENCODERS and not interpolated
    if one_size and wanted is not None and tuple(pixel_values.shape[2:]) != tuple(wanted):
        raise ValueError(
            f"pixel_values are {pixel_values.shape[2]} x {pixel_values.shape[3]} pixels, and the image encoder reads "
            f"{wanted[0]} x {wanted[1]}: process the images with the checkpoint's own processor, or pass "
            "interpolate_pos_encoding=True where the model takes it."
        )


def takes_other_sizes(vision_model: PreTrainedModel) -> bool:
    """Whether an image encoder resizes its position embeddings when it is told to."""
    return "interpolate_pos_encoding" in signature(vision_model.forward).parameters


def check_texts(
    input_ids: Any,
    attention_mask: Any,
    text_model: PreTrainedModel,
    inputs_embeds: Any = None,
    token_type_ids: Any = None,
) -> None:
    """Refuse what are not (B, t) tokens of a text encoder and a mask of theirs: ones, and zeros only at the end.

    `inputs_embeds` (B, t, width) may stand for the tokens, and `token_type_ids` (B, t) beside them.

    Raises:
        TypeError: If one is no tensor.
        ValueError: If a shape, dtype or device is another, a token is none of the vocabulary's, the mask has other
            values or begins with padding, or a text is longer than the encoder's positions.
    """
    if input_ids is not None and inputs_embeds is not None:
        raise ValueError("Give the texts as input_ids or as inputs_embeds, one of them.")
    name = "input_ids" if inputs_embeds is None else "inputs_embeds"
    texts = cast(torch.Tensor, input_ids if inputs_embeds is None else inputs_embeds)
    if inputs_embeds is None:
        _check_tensor("input_ids", input_ids, IDS, "(texts, tokens)", text_model)
        if may_be_read(texts):
            _check_vocabulary("input_ids", texts, _word_embeddings(text_model).num_embeddings)
    else:
        _check_tensor("inputs_embeds", inputs_embeds, PIXELS, "(texts, tokens, width)", text_model)
        width = _word_embeddings(text_model).embedding_dim
        if inputs_embeds.shape[2] != width:
            raise ValueError(f"inputs_embeds are {inputs_embeds.shape[2]} wide, and the word embeddings {width}.")
    limit = position_limit(text_model)
    if limit is not None and texts.shape[1] > limit:
        raise ValueError(
            f"{name} has {texts.shape[1]} tokens a text, and the text encoder reads {limit}: cut them off."
        )
    for other, tensor, kind in (("attention_mask", attention_mask, FLAGS), ("token_type_ids", token_type_ids, IDS)):
        if tensor is None:
            continue
        _check_tensor(other, tensor, kind, "(texts, tokens)", text_model)
        if tensor.shape != texts.shape[:2]:
            raise ValueError(
                f"{other} is {tuple(tensor.shape)} and {name} {tuple(texts.shape)}: give both as the processor does."
            )
    if attention_mask is not None and may_be_read(attention_mask):
        check_padding("attention_mask", attention_mask)
    types = getattr(text_model.config, "type_vocab_size", None)
    if types and token_type_ids is not None and may_be_read(token_type_ids):
        _check_vocabulary("token_type_ids", token_type_ids, types)


def check_padding(name: str, mask: torch.Tensor) -> None:
    """Refuse a mask (B, t) whose rows are not ones and then zeros, one 1 at least: [CLS] is read at the first place.

    Raises:
        ValueError: If a row is not so.
    """
    valid = mask.to(torch.float32)
    wrong = (valid != 0) & (valid != 1) | (valid[:, :1] != 1)
    wrong[:, 1:] |= valid[:, 1:] > valid[:, :-1]
    if wrong.any():
        row = int(wrong.any(dim=1).nonzero()[0])
        raise ValueError(
            f"Row {row} of {name} is not ones and then zeros: pad on the right (padding_side='right'), and mark what "
            "is valid with 1, padding with 0."
        )


def check_image_index(image_index: Any, num_images: int, num_texts: int, model: PreTrainedModel) -> None:
    """Refuse what is not (B,) or (B, V) rows of U images; without an index there must be an image for each text.

    Of several views the first is there, and those that are not, -1, stand behind those that are.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If its shape, dtype or device is another, there are more views than `MAX_VIEWS`, or a row is none of
            the images'.
    """
    if image_index is None:
        if num_images != num_texts:
            raise ValueError(f"{num_images} images and {num_texts} texts: give image_index, the image of each text.")
        return
    several = isinstance(image_index, torch.Tensor) and image_index.dim() == 2
    _check_tensor("image_index", image_index, IDS, "(texts, views)" if several else "(texts,)", model)
    if image_index.shape[0] != num_texts:
        raise ValueError(f"image_index has {image_index.shape[0]} entries for {num_texts} texts: give one for each.")
    if several and image_index.shape[1] > MAX_VIEWS:
        raise ValueError(f"image_index names {image_index.shape[1]} images a text: give {MAX_VIEWS} at most.")
    if not may_be_read(image_index):
        return
    views = image_index if several else image_index.unsqueeze(1)
    absent = views == -1
    misplaced = absent[:, 0] | (absent[:, :-1] & ~absent[:, 1:]).any(dim=1)
    if several and misplaced.any():
        raise ValueError(
            f"Row {int(misplaced.nonzero()[0])} of image_index is not images and then -1: give a text's own images "
            "first, one at least."
        )
    if ((views < 0) & ~(absent & several) | (views >= num_images)).any():
        raise ValueError(
            f"image_index holds {image_index.min().item()} to {image_index.max().item()}, and there are {num_images} "
            f"images: give places from 0 to {num_images - 1}."
        )


def check_hard_negatives(hard_negatives: Any, num_reports: int, model: PreTrainedModel) -> None:
    """Refuse what are not (B, 3) or (B, 1) places in a batch of B reports, -1 where there is none.

    Raises:
        TypeError: If they are no tensor.
        ValueError: If their shape, dtype or device is another, or a place is none of the batch's.
    """
    _check_tensor("hard_negatives", hard_negatives, IDS, "(reports, kinds)", model)
    if hard_negatives.shape not in ((num_reports, 1), (num_reports, 3)):
        raise ValueError(f"hard_negatives is {tuple(hard_negatives.shape)}: give ({num_reports}, 3), or (.., 1).")
    if may_be_read(hard_negatives) and ((hard_negatives < -1) | (hard_negatives >= num_reports)).any():
        raise ValueError(f"hard_negatives holds places that are neither -1 nor 0 to {num_reports - 1}, the batch's.")


def check_image_states(image_states: Any, width: int, model: PreTrainedModel) -> None:
    """Refuse what are not states (U, tokens, image_states_size) of `encode_images`.

    Raises:
        TypeError: If they are no tensor.
        ValueError: If their shape, dtype or device is another.
    """
    _check_tensor("image_states", image_states, PIXELS, "(images, tokens, width)", model)
    if image_states.shape[2] != width:
        raise ValueError(
            f"image_states are {image_states.shape[2]} wide, and the image encoder's {width}: give what encode_images "
            "returns, before any projection."
        )


def check_labels(labels: Any, num_texts: int, decoder: PreTrainedModel, config: PreTrainedConfig) -> None:
    """Refuse what are not (B, T) tokens of the decoder that begin with [CLS]; -100 is padding.

    Raises:
        TypeError: If they are no tensor.
        ValueError: If shape, dtype or device is another, there are more tokens than the decoder's positions, a token is
            none of the vocabulary's, or an answer does not begin with [CLS].
    """
    _check_tensor("labels", labels, IDS, "(texts, tokens)", decoder)
    if labels.shape[0] != num_texts:
        raise ValueError(f"labels hold {labels.shape[0]} answers, and there are {num_texts} texts: give one for each.")
    limit = position_limit(decoder)
    if limit is not None and labels.shape[1] > limit:
        raise ValueError(
            f"labels hold {labels.shape[1]} tokens an answer, and the decoder has {limit} positions: leave the longer "
            "answers out."
        )
    if may_be_read(labels):
        tokens = labels.masked_fill(labels == -100, config.pad_token_id)
        _check_vocabulary("labels", tokens, _word_embeddings(decoder).num_embeddings)
        _check_starts("Answer", labels, config.decoder_start_token_id)


def check_ids(ids: Any, vocabulary_size: int) -> torch.Tensor:
    """(M,) int64 of whole numbers, a list or a tensor of any shape.

    Raises:
        TypeError: If they are not whole numbers.
        ValueError: If there are none, or one is none of the vocabulary's.
    """
    if not isinstance(ids, torch.Tensor):
        if not isinstance(ids, list | tuple) or not all(type(number) is int for number in ids):
            raise TypeError(f"The ids are {_kind(ids)}: give a tensor or a list of whole numbers.")
        ids = torch.tensor(ids, dtype=torch.long)
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"The ids are {ids.dtype}: give int64.")
    if not ids.numel():
        raise ValueError("The knowledge vocabulary is empty; to use none, do not set it.")
    if not ids.is_meta:
        _check_vocabulary("The knowledge vocabulary", ids, vocabulary_size)
    return ids.long().flatten()


def check_candidates(answers: Any, decoder: PreTrainedModel, config: PreTrainedConfig) -> dict[str, torch.Tensor]:
    """Encoded candidates (N, T) as tensors of the CPU: rows "[CLS] a1 .. an [SEP]", then padding.

    Raises:
        TypeError: If they are no mapping of tensors.
        ValueError: If there are none, a shape or dtype is another, a token is none of the vocabulary's, a candidate
            does not begin with [CLS] or end with [SEP], or has more tokens than the decoder's positions.
    """
    if not isinstance(answers, Mapping) or not {"input_ids", "attention_mask"} <= answers.keys():
        raise TypeError(
            f"answers is {_kind(answers)}: give processor.encode_candidates(list_of_strings), with input_ids and "
            "attention_mask."
        )
    for name, kind in (("input_ids", IDS), ("attention_mask", FLAGS)):
        _check_tensor(f"answers[{name!r}]", answers[name], kind, "(candidates, tokens), one candidate at least", None)
    ids, mask = answers["input_ids"].cpu(), answers["attention_mask"].cpu()
    if ids.shape != mask.shape:
        raise ValueError(f"answers holds input_ids {tuple(ids.shape)} and attention_mask {tuple(mask.shape)}.")
    check_padding("answers['attention_mask']", mask)
    mask = mask.bool()
    _check_vocabulary("answers", ids, _word_embeddings(decoder).num_embeddings)
    _check_starts("Candidate", ids, config.decoder_start_token_id)
    lengths = mask.sum(dim=1)
    last = ids.gather(1, lengths.unsqueeze(1) - 1).squeeze(1)
    unclosed = (last != config.eos_token_id) | (lengths < 2)
    if unclosed.any():
        raise ValueError(
            f"Candidate {int(unclosed.nonzero()[0])} does not end with token {config.eos_token_id} ([SEP]): give "
            "processor.encode_candidates(list_of_strings)."
        )
    limit = position_limit(decoder)
    if limit is not None and (lengths > limit).any():
        place = int((lengths > limit).nonzero()[0])
        raise ValueError(
            f"Candidate {place} has {int(lengths[place])} tokens, and the decoder has {limit} positions: leave it out."
        )
    return {"input_ids": ids, "attention_mask": mask}


def own_candidates(mask: Any, num_texts: int, num_candidates: int) -> list[list[int]] | None:
    """The places of each text's own candidates, from (B, N) bool with one True a row at least; None without a mask.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If its shape or dtype is another, or a question has no candidate.
    """
    if mask is None:
        return None
    _check_tensor("answer_mask", mask, FLAGS, "(texts, candidates)", None)
    if mask.shape != (num_texts, num_candidates) or mask.dtype != torch.bool:
        raise ValueError(
            f"answer_mask is {tuple(mask.shape)} {mask.dtype}, and there are {num_texts} texts and {num_candidates} "
            "candidates: give a bool for each text and candidate, as processor.encode_choices does."
        )
    if not mask.any(dim=1).all():
        row = int((~mask.any(dim=1)).nonzero()[0])
        raise ValueError(f"Row {row} of answer_mask leaves its question no candidate: give it one at least.")
    return [row.nonzero().flatten().tolist() for row in mask.cpu()]


def position_limit(model: nn.Module) -> int | None:
    """How many tokens a BERT-like model has positions for; None where it has no table of them."""
    embeddings = getattr(getattr(model, "base_model", model), "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    if not isinstance(table, nn.Embedding):
        return None
    # RoBERTa counts positions from behind its padding token.
    return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is not a whole number of at least `least`.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r}: give a whole number of at least {least}.")


def check_finite(values: torch.Tensor, what: str, model: nn.Module) -> None:
    """Refuse NaN and infinity among what a model computed without gradients, and say where they come from.

    Raises:
        ValueError: If there are any.
    """
    if values.is_meta or torch.isfinite(values).all():
        return
    for name, weight in model.state_dict(keep_vars=True).items():
        # Those of quantised layers are no tensors, and those that are offloaded are elsewhere.
        readable = isinstance(weight, torch.Tensor) and not weight.is_meta and weight.is_floating_point()
        if readable and not torch.isfinite(weight).all():
            raise ValueError(
                f"The {what} are not finite, because the model's weights hold NaN or infinity, {name} first: take an "
                "earlier checkpoint, or train again with a lower learning rate."
            )
    raise ValueError(
        f"The {what} are not finite although all weights are: look for NaN in pixel_values, and load the model in "
        f"float32 if {values.dtype} is too narrow for it."
    )


def may_be_read(tensor: torch.Tensor) -> bool:
    """Whether reading a tensor's values makes no GPU wait in a training step, and they are there at all."""
    if tensor.is_meta or torch.compiler.is_compiling():
        return False
    return tensor.device.type == "cpu" or not torch.is_grad_enabled()


def _check_tensor(name: str, tensor: Any, kind: str, shape: str, model: PreTrainedModel | None) -> None:
    """Refuse another type, number of axes, dtype or device than a model's, and emptiness; `shape` names the axes."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} is {_kind(tensor)}: give a tensor {shape}, as the processor returns it.")
    axes = len([axis for axis in shape.split(")")[0].split(",") if axis.strip()])
    if tensor.dim() != axes or not tensor.numel():
        raise ValueError(f"{name} has the shape {tuple(tensor.shape)}: give {shape}.")
    floats = tensor.is_floating_point()
    if (kind == PIXELS and not floats) or (kind == IDS and tensor.dtype not in (torch.int64, torch.int32)):
        raise ValueError(f"{name} is {tensor.dtype}: give {'floats' if kind == PIXELS else 'int64'}.")
    if kind == FLAGS and tensor.is_complex():
        raise ValueError(f"{name} is {tensor.dtype}: give int64, 1 where a token is valid.")
    if model is None or tensor.device == model.device or model.device.type == "meta":
        return
    # A model that accelerate spreads over devices has hooks, which move what they are given.
    if not any(hasattr(module, "_hf_hook") for module in model.modules()):
        raise ValueError(f"{name} is on {tensor.device}, and the model on {model.device}: move one of them.")


def _check_vocabulary(name: str, ids: torch.Tensor, size: int) -> None:
    if ((ids < 0) | (ids >= size)).any():
        raise ValueError(
            f"{name} holds tokens {ids.min().item()} to {ids.max().item()}, and the model knows 0 to {size - 1}: take "
            "the tokenizer that belongs to the checkpoint."
        )


def _check_starts(what: str, ids: torch.Tensor, start_token_id: int) -> None:
    wrong = ids[:, 0] != start_token_id
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"{what} {row} begins with token {int(ids[row, 0])}, not with {start_token_id} ([CLS]): encode answers "
            "with the checkpoint's processor."
        )


def _word_embeddings(model: PreTrainedModel) -> nn.Embedding:
    # transformers annotates any module; those of BERT-like models are tables.
    return cast(nn.Embedding, model.get_input_embeddings())


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
