"""Zero-shot classification: an image has the label whose prompts it is most similar to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..modeling_amif.embedding_amif import AmifEmbeddingModel
from ..processing_amif import AmifProcessor


def read_prompts(path: str | Path) -> dict[str, list[str]]:
    """Prompts by label, from a JSON file: a label's are a text or a list of texts.

    Raises:
        ValueError: where the file is no such object, or a label has no prompt.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold an object such as {{"mass": ["there is a mass"]}}.')
    prompts = {label: [texts] if isinstance(texts, str) else texts for label, texts in content.items()}
    for label, texts in prompts.items():
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(f"{path}: the prompts of {label!r} must be a text, or a list of texts.")
    return prompts


@torch.no_grad()
def label_embeddings(
    model: AmifEmbeddingModel, processor: AmifProcessor, prompts: Mapping[str, Sequence[str]]
) -> torch.Tensor:
    """(labels, d) unit vectors on the CPU, in the order of `prompts`: of each label the mean of its prompts' ones."""
    model.eval()
    embeds = []
    for texts in prompts.values():
        tokens = processor.encode_reports(list(texts)).to(model.device)
        vectors = model.embed_texts(tokens["input_ids"], tokens["attention_mask"])
        embeds.append(torch.nn.functional.normalize(vectors.mean(dim=0), dim=-1).cpu())
    return torch.stack(embeds)


__all__ = ["label_embeddings", "read_prompts"]
