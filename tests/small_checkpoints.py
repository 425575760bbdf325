"""Small random checkpoints in the forms that people start from: CLIP, BERT, and open_clip as BiomedCLIP has it."""

import json
from collections.abc import Iterable
from pathlib import Path

import open_clip
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
)

from amif.training.processors import small_processor

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="[SEP]", bos_token="[CLS]", model_max_length=16, **names
    )


def save_small_clip(folder: Path, texts: Iterable[str], vision_layers: int = 1) -> Path:
    """A whole CLIP: both towers, processor and tokenizer."""
    tokenizer = word_tokenizer(texts)
    text = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1}
    vision = TOWER | {"image_size": 32, "patch_size": 8, "num_hidden_layers": vision_layers}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPProcessor(CLIPImageProcessor(size=size, crop_size=size), tokenizer).save_pretrained(folder)
    return folder


def save_small_bert(folder: Path, texts: Iterable[str], layers: int = 1) -> Path:
    """A BERT and a tokenizer that knows the texts."""
    tokenizer = small_processor(texts, 32).tokenizer
    sizes = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "num_hidden_layers": layers}
    BertModel(BertConfig(**sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_small_open_clip(folder: Path, texts: Iterable[str]) -> Path:
    """BiomedCLIP's layout: a timm image tower, a BERT from transformers with an MLP, its tokenizer's files beside."""
    tokenizer = small_processor(texts, 32).tokenizer
    bert = folder / "bert"
    BertConfig(vocab_size=len(tokenizer), **TOWER).save_pretrained(bert)
    text = {
        "hf_model_name": str(bert),
        "hf_tokenizer_name": str(bert),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 16,
    }
    vision = {
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_proj": "linear",
        "image_size": 224,
    }
    vision["timm_pool"] = ""
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    normalization = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": normalization}))
    tokenizer.save_pretrained(folder)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder
