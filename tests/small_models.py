"""Small random models and inputs that the tests share."""

from pathlib import Path

import torch
from transformers import BertConfig, BertTokenizer, ViTConfig, ViTImageProcessor

from amif import AmifConfig, AmifForVisualQuestionAnswering, AmifProcessor

VOCABULARY = 120
WORDS = ["is", "there", "a", "mass", "in", "the", "left", "lung", "yes", "no", "right", "?"]
CANDIDATES = ["yes", "no", "left lung", "right lung", "mass in the left lung"]
WIDTH = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}


def small_config(**changes: object) -> AmifConfig:
    bert = BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **WIDTH)
    defaults = {
        "vision_config": ViTConfig(image_size=32, patch_size=8, **WIDTH),
        "text_config": bert,
        "decoder_config": BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **WIDTH),
        "num_co_attention_layers": 2,
        "num_attention_heads": 4,
    }
    return AmifConfig(**(defaults | changes))


def small_model(knowledge: int = 7, seed: int = 0, **changes: object) -> AmifForVisualQuestionAnswering:
    """A model in evaluation mode, its weights spread wide enough that differences show."""
    torch.manual_seed(seed)
    model = AmifForVisualQuestionAnswering(small_config(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    if knowledge and model.knowledge_fusion is not None:
        model.set_knowledge(torch.randint(3, 100, (knowledge,)))
    return model


def small_inputs(questions: int = 4, images: int = 2, length: int = 6, seed: int = 1) -> dict[str, torch.Tensor]:
    """Questions of different lengths, padded, about fewer images."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.arange(questions) % (length - 2) + 3
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    ids = torch.randint(3, 100, mask.shape, generator=generator) * mask
    return {
        "pixel_values": torch.randn(images, 3, 32, 32, generator=generator),
        "input_ids": ids,
        "attention_mask": mask,
        "image_index": torch.arange(questions) % images,
    }


def padded(answers: list[list[int]], fill: int = 0) -> dict[str, torch.Tensor]:
    """Answers as `encode_answers` gives them: [CLS] a1 .. an [SEP] and padding."""
    rows = [[101, *answer, 102] for answer in answers]
    longest = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [fill] * (longest - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
    }


def small_processor() -> AmifProcessor:
    """A processor whose tokens the small model knows, special ones included."""
    vocabulary = ["[PAD]", *WORDS, *(f"[unused{place}]" for place in range(VOCABULARY - 1 - len(WORDS)))]
    vocabulary[100:103] = ["[UNK]", "[CLS]", "[SEP]"]
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(vocabulary)})
    return AmifProcessor(ViTImageProcessor(size={"height": 32, "width": 32}), tokenizer, CANDIDATES)


def save_small_checkpoint(folder: Path, **changes: object) -> Path:
    """A whole checkpoint that answers: model, code, processor and answers."""
    small_processor().save_pretrained(folder)
    small_model(**changes).save_pretrained(folder)
    return folder
