"""Folders of open_clip models at random weights, in the layout that the Hub gives them."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "mass", "in", "the", "left", "lung", "no", "acute", "finding"]
TIMM = {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "", "image_size": 224}
OWN = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 16}
CLIP_TEXT = {"context_length": 16, "vocab_size": 40, "width": 32, "heads": 2, "layers": 1}
# Sharp enough that a wrong epsilon, activation or number of heads would show.
SPREAD = 2.0


def save_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def save_open_clip(
    folder: Path, vision: dict[str, object], text: dict[str, object], safe: bool = True, **fields: object
) -> torch.nn.Module:
    """A folder as the Hub gives it, and the model whose random weights lie in it."""
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text} | fields
    preprocessing = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3]}
    said = json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing})
    (folder / "open_clip_config.json").write_text(said)
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(SPREAD).add_(0.05 * torch.randn_like(parameter))
    if safe:
        save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    else:
        torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return model


def save_biomedclip(
    folder: Path, bert: BertConfig, vision: dict[str, object] = TIMM, safe: bool = True
) -> torch.nn.Module:
    """BiomedCLIP's layout: timm's ViT, a BERT of the Hub, here of the folder `bert`, and the tokenizer beside them."""
    bert.save_pretrained(folder / "bert")
    text = {"hf_model_name": str(folder / "bert"), "hf_tokenizer_name": str(folder / "bert"), "context_length": 16}
    text |= {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"}
    save_tokenizer(folder)
    return save_open_clip(folder, vision, text, safe)
