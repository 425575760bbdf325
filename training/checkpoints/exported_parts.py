"""The parts of a model that answers, as `torch.export` programs and ONNX files of any batch and length.

Image encoder, joint encoder and decoder step exchange tensors alone, so that they run without this package. What the
decoder reads of an image and a question are keys and values, which the joint encoder computes once; each sequence of a
decoder step names its question, so that all candidates share them.
"""

import warnings
from copy import copy
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.export import Dim
from transformers import DynamicCache, EncoderDecoderCache

from ...modeling_amif.encoders_amif import cache_option
from ...modeling_amif.modeling_amif import AmifModel
from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering

# Axes of any size, of everything that the parts take.
AXES = {
    "pixel_values": {0: "images"},
    "image_states": {0: "images"},
    "input_ids": {0: "questions", 1: "words"},
    "attention_mask": {0: "questions", 1: "words"},
    "image_index": {0: "questions"},
    "answer_ids": {0: "sequences", 1: "tokens"},
    "question_index": {0: "sequences"},
    "joint_mask": {0: "questions", 1: "states"},
    "joint_keys": {1: "questions", 3: "states"},
    "joint_values": {1: "questions", 3: "states"},
    "past_keys": {1: "sequences", 3: "past"},
    "past_values": {1: "sequences", 3: "past"},
}

# Of a model that learned from questions about several images; -1 stands where a question has fewer than others.
AXES_OF_VIEWS = {"image_index": {0: "questions", 1: "views"}}

# Between ONNX Runtime and PyTorch, relative to values above 1: more than rounding makes of float32.
TOLERANCE = 1e-3


class ImageEncoder(nn.Module):
    """The vision encoder: each image once, however many questions there are about it."""

    outputs = ("image_states",)

    def __init__(self, model: AmifForVisualQuestionAnswering) -> None:
        super().__init__()
        self.model = _without(model.model, "text_model", "text_projection", "image_projection", "co_attention")

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor]:
        """States (U, tokens, image_states_size) of images (U, channels, height, width)."""
        return (self.model.encode_images(pixel_values),)


class JointEncoder(nn.Module):
    """Text encoder, co-attention and knowledge fusion, up to the keys and values that the decoder reads."""

    outputs = ("joint_mask", "joint_keys", "joint_values")

    def __init__(self, model: AmifForVisualQuestionAnswering) -> None:
        super().__init__()
        self.model = _without(model.model, "vision_model")
        self.fusion, self.projection = model.knowledge_fusion, model.decoder_projection
        attentions = [layer.crossattention.self for layer in _reading_layers(model.decoder).values()]
        self.keys = nn.ModuleList(attention.key for attention in attentions)
        self.values = nn.ModuleList(attention.value for attention in attentions)
        self.head_size = attentions[0].attention_head_size
        # A constant here: the vocabulary depends on neither image nor question.
        self.register_buffer("knowledge", model.knowledge_states())

    def forward(
        self,
        image_states: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        image_index: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read questions (B, t) about images.

        Returns:
            The joint mask (B, s), and keys and values (layers that read them, B, heads, s, head width).
        """
        joint = self.model(None, input_ids, attention_mask, image_index, image_states)
        states = joint.last_hidden_state
        if self.fusion is not None and self.knowledge is not None:
            states, _, _ = self.fusion(states, self.knowledge)
        states = self.projection(states)
        keys, values = (
            torch.stack([part(states).unflatten(-1, (-1, self.head_size)).transpose(1, 2) for part in parts])
            for parts in (self.keys, self.values)
        )
        return joint.attention_mask, keys, values


class DecoderStep(nn.Module):
    """The decoder over further tokens of each sequence."""

    outputs = ("logits", "keys", "values")

    def __init__(self, model: AmifForVisualQuestionAnswering) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.reading_layers = list(_reading_layers(model.decoder))

    def forward(
        self,
        answer_ids: torch.Tensor,
        question_index: torch.Tensor,
        joint_mask: torch.Tensor,
        joint_keys: torch.Tensor,
        joint_values: torch.Tensor,
        past_keys: torch.Tensor,
        past_values: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read n tokens behind m that were read before, m being 0 at first.

        Args:
            answer_ids: (N, n), from [CLS] on; padding at the end changes nothing before it.
            question_index: (N,), the row of the next three that each sequence reads.
            joint_mask: (B, s).
            joint_keys: (layers that read them, B, heads, s, head width).
            joint_values: Likewise.
            past_keys: (layers, N, heads, m, head width).
            past_values: Likewise.

        Returns:
            Logits (N, n, vocabulary) of the token after each, and keys and values (layers, N, heads, m + n, head
            width).
        """
        past, joint = (DynamicCache(config=self.decoder.config) for _ in range(2))
        for layer in range(past_keys.shape[0]):
            past.update(past_keys[layer], past_values[layer], layer)
        for place, layer in enumerate(self.reading_layers):
            joint.update(joint_keys[place, question_index], joint_values[place, question_index], layer)
        mask = joint_mask[question_index]
        logits = self.decoder(
            input_ids=answer_ids,
            encoder_hidden_states=mask.unsqueeze(-1),  # for its length alone: keys and values are there
            encoder_attention_mask=mask,
            use_cache=True,
            **cache_option(self.decoder, EncoderDecoderCache(past, joint)),
        ).logits
        keys, values = (torch.stack([getattr(layer, kind) for layer in past.layers]) for kind in ("keys", "values"))
        return logits, keys, values


@torch.no_grad()
def export_parts(model: AmifForVisualQuestionAnswering, folder: str | Path) -> list[Path]:
    """Write `image_encoder`, `joint_encoder` and `decoder_step`, each as .pt2 and as .onnx, and compare the latter.

    Args:
        model: On the CPU, in float32; it is set to evaluation.
        folder: Where to; it is made.

    Returns:
        The files that are opened. Beside each .onnx lies .onnx.data with its weights.

    Raises:
        ImportError: If onnx, onnxscript or onnxruntime is missing.
        ValueError: If what ONNX Runtime computes differs from what PyTorch does.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (what torch.onnx writes with)
    except ImportError as error:
        raise ImportError(f"{error}: install what exporting needs by pip install 'amif[export]'.") from error
    model.eval()
    parts = {"image_encoder": ImageEncoder(model), "joint_encoder": JointEncoder(model)}
    parts["decoder_step"] = DecoderStep(model)
    axes = AXES | AXES_OF_VIEWS if model.config.view_embedding else AXES
    traced, checked = _first_inputs(model, TRACED), _first_inputs(model, CHECKED)
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = []
    for name, part in parts.items():
        names = list(signature(part.forward).parameters)
        shapes = {key: dict.fromkeys(axes[key], Dim.DYNAMIC) for key in names}
        inputs = {key: traced[key] for key in names}
        program = torch.export.export(part, (), inputs, dynamic_shapes=shapes, strict=False)
        program_file, onnx_file = Path(folder) / f"{name}.pt2", Path(folder) / f"{name}.onnx"
        torch.export.save(program, program_file)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "# The axis name")  # two inputs have axes of one name because they agree
            torch.onnx.export(
                program,
                f=onnx_file,
                dynamo=True,
                input_names=names,
                output_names=list(part.outputs),
                dynamic_shapes={key: axes[key] for key in names},
                verbose=False,
            )
        files += [program_file, onnx_file]
        traced |= zip(part.outputs, part(**inputs), strict=True)
        inputs = {key: checked[key] for key in names}
        checked |= zip(part.outputs, part(**inputs), strict=True)
        session = onnxruntime.InferenceSession(onnx_file)
        found = session.run(list(part.outputs), {key: value.numpy() for key, value in inputs.items()})
        for output, values in zip(part.outputs, found, strict=True):
            _check_equal(onnx_file, output, torch.from_numpy(values), checked[output])
    return files


class _Sizes(NamedTuple):
    images: int
    questions: int
    words: int
    sequences: int
    tokens: int
    past: int
    views: int


# What is traced has no sizes of 0 or 1, which tracing takes for fixed; what is checked has them, and other ones.
TRACED = _Sizes(images=2, questions=3, words=5, sequences=7, tokens=4, past=6, views=2)
CHECKED = _Sizes(images=1, questions=1, words=6, sequences=2, tokens=3, past=0, views=1)


def _first_inputs(model: AmifForVisualQuestionAnswering, sizes: _Sizes) -> dict[str, torch.Tensor]:
    """What no part computes of what the parts take; the last question is padded."""
    vision, decoder = model.config.vision_config, model.config.decoder_config
    height, width = (vision.image_size,) * 2 if isinstance(vision.image_size, int) else vision.image_size
    generator = torch.Generator().manual_seed(0)
    heads = decoder.num_attention_heads
    past_shape = (decoder.num_hidden_layers, sizes.sequences, heads, sizes.past, decoder.hidden_size // heads)
    mask = torch.ones(sizes.questions, sizes.words, dtype=torch.long)
    mask[-1, -1] = 0

    def tokens(*shape: int) -> torch.Tensor:
        return torch.randint(decoder.vocab_size, shape, generator=generator)

    image_index = torch.arange(sizes.questions) % sizes.images
    if model.config.view_embedding:
        image_index = (image_index.unsqueeze(1) + torch.arange(sizes.views)) % sizes.images
        image_index[0, 1:] = -1
    return {
        "pixel_values": torch.randn(sizes.images, vision.num_channels, height, width, generator=generator),
        "input_ids": tokens(sizes.questions, sizes.words),
        "attention_mask": mask,
        "image_index": image_index,
        "answer_ids": tokens(sizes.sequences, sizes.tokens),
        "question_index": torch.arange(sizes.sequences) % sizes.questions,
        "past_keys": torch.randn(past_shape, generator=generator),
        "past_values": torch.randn(past_shape, generator=generator),
    }


def _check_equal(file: Path, output: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    difference = ((found - expected).abs() / expected.abs().clamp(min=1)).max().item()
    if found.shape != expected.shape or not difference <= TOLERANCE:
        raise ValueError(
            f"{file} gives another {output} than the model does, by {difference:.2g}: do not use it. Other versions of "
            "torch and onnxruntime may export this model rightly."
        )


def _without(model: AmifModel, *parts: str) -> AmifModel:
    """The model on the same weights, but for those of parts that are not called: a program would carry them along."""
    rest = copy(model)
    rest._modules = rest._modules | dict.fromkeys(parts)
    return rest


def _reading_layers(decoder: Any) -> dict[int, Any]:
    """The layers of a BERT-like decoder with cross-attention, by their places."""
    return {i: layer for i, layer in enumerate(decoder.base_model.encoder.layer) if hasattr(layer, "crossattention")}
