"""Small random image-text-to-text models of two architectures, with a tokenizer of words, as folders of checkpoints."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

SPECIAL = ["<pad>", "<end>", "<image>", "<|image_pad|>", "<|video_pad|>", "<start>", "<stop>"]
KINDS = ("llava", "qwen2_vl")
SENTENCES = [
    "USER: ASSISTANT: is there a mass in the left lung? yes no",
    "what organ is shown? Answer with a word: axial",
    "A B C D E A B C D E A B C D E",
]
WIDTH = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2}
BOUNDS = {"max_position_embeddings": 256, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
# Each as the kind of model has it: with a blank before the answer, and without.
TEMPLATES = {
    "llava": "{% for m in messages %}{{ m.role.upper() + ':' }}{% for part in m.content %}"
    "{{ '<image>' if part.type == 'image' else ' ' + part.text }}{% endfor %}{{ ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    "qwen2_vl": "{% for m in messages %}{{ '<start>' + m.role.upper() + '\n' }}{% for part in m.content %}"
    "{{ '<|image_pad|>' if part.type == 'image' else part.text }}{% endfor %}{{ '<end>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start>ASSISTANT\n' }}{% endif %}",
}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs of a few sentences: most answers are several tokens, and the blank before one is a part of it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", extra_special_tokens=SPECIAL[2:]
    )


def save_chat_model(folder: Path, kind: str, template: bool = True) -> Path:
    """A whole checkpoint, "llava" or "qwen2_vl", with or without a chat template."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    processor, model = {"llava": _llava, "qwen2_vl": _qwen2_vl}[kind](tokenizer)
    processor.chat_template = TEMPLATES[kind] if template else None
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["<end>", "<stop>"])
    with torch.no_grad():
        for parameter in model.parameters():  # wide enough that differences show
            parameter.add_(torch.randn_like(parameter) * 0.2)
    processor.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _llava(tokenizer: PreTrainedTokenizerFast) -> tuple[LlavaProcessor, PreTrainedModel]:
    vision = CLIPVisionConfig(image_size=28, patch_size=14, projection_dim=16, **WIDTH)
    text = LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, **BOUNDS, **WIDTH)
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids("<image>")
    )
    size = {"height": 28, "width": 28}
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=size),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return processor, LlavaForConditionalGeneration(config)


def _qwen2_vl(tokenizer: PreTrainedTokenizerFast) -> tuple[Qwen2VLProcessor, PreTrainedModel]:
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}
    text = {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "rope_parameters": rope, **BOUNDS, **WIDTH}
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 14}
    config = Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
    )
    images, videos = Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56), Qwen2VLVideoProcessor()
    return Qwen2VLProcessor(images, tokenizer, videos), Qwen2VLForConditionalGeneration(config)
