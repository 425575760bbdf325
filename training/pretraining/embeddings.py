"""Embeddings of a whole split by a model for pre-training, and states of its image encoder."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ...modeling_amif.dual_encoder_amif import AmifDualEncoder
from ...modeling_amif.encoders_amif import has_class_token
from ...processing_amif import AmifProcessor
from ..data.pretraining_collator import AmifPreTrainingCollator, report_length
from ..data.pretraining_rows import PretrainingRows
from ..data.readers.table_files import read_json_content
from ..data.schema import as_text


@torch.no_grad()
def embed_pairs(
    model: AmifDualEncoder, processor: AmifProcessor, pairs: Dataset, batch_size: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors (n, d) of the first views and (n, d) of the reports, float32 on the CPU."""
    images, texts = [], []
    for batch in _batches(model, processor, pairs, batch_size):
        images.append(model.embed_images(batch["pixel_values"]).cpu())
        texts.append(model.embed_texts(batch["input_ids"], batch["attention_mask"]).cpu())
    return torch.cat(images), torch.cat(texts)


@torch.no_grad()
def image_features(
    model: AmifDualEncoder, processor: AmifProcessor, pairs: Dataset, batch_size: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors (n, d) of the first views, and what the image encoder says of them, float32 on the CPU.

    The latter, (n, 2 x image_states_size), is the class token beside the mean of the patches, as DINOv2 is probed; of
    an encoder without a class token, (n, image_states_size), the mean alone. No report is read, and none need be there.
    """
    pairs = pairs.remove_columns("text").add_column("text", ["unread"] * len(pairs))
    embeds, features = [], []
    for batch in _batches(model, processor, pairs, batch_size):
        embeds.append(model.embed_images(batch["pixel_values"]).cpu())
        states = model.model.encode_images(batch["pixel_values"]).float()
        extra = int(has_class_token(states.shape[1]))
        parts = [*states[:, :extra].unbind(dim=1), states[:, extra:].mean(dim=1)]
        features.append(torch.cat(parts, dim=-1).cpu())
    return torch.cat(embeds), torch.cat(features)


def _batches(
    model: AmifDualEncoder, processor: AmifProcessor, pairs: Dataset, batch_size: int
) -> Iterator[dict[str, torch.Tensor]]:
    model.eval()
    collator = AmifPreTrainingCollator(processor, max_report_length=report_length(model), views=1)
    batches = DataLoader(PretrainingRows(pairs), batch_size=batch_size, collate_fn=collator)
    for batch in tqdm(batches, desc="embedding", disable=None):
        yield {name: value.to(model.device) for name, value in batch.items()}


def read_prompts(path: str | Path) -> dict[str, list[str]]:
    """Prompts by label, from a JSON file: a label's are a text or a list of texts.

    Raises:
        ValueError: If the file is not there or is no such object, a label comes twice, or one has no prompt.
    """
    try:
        content = read_json_content(Path(path))
    except OSError as error:
        raise ValueError(f"the file of prompts {path} cannot be read: {error.strerror}.") from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold an object such as {{"mass": ["there is a mass"]}}.')
    prompts = {label: [texts] if isinstance(texts, str) else texts for label, texts in content.items()}
    for label, texts in prompts.items():
        if not (isinstance(texts, list) and texts and all(isinstance(text, str) and as_text(text) for text in texts)):
            raise ValueError(f"{path}: the prompts of {label!r} must be a text, or a list of texts.")
    return prompts


@torch.no_grad()
def label_embeddings(
    model: AmifDualEncoder, processor: AmifProcessor, prompts: Mapping[str, Sequence[str]]
) -> torch.Tensor:
    """(labels, d) unit vectors on the CPU, in the order of `prompts`: of each label the mean of its prompts' ones."""
    model.eval()
    embeds = []
    for texts in prompts.values():
        tokens = processor.encode_reports(list(texts)).to(model.device)
        vectors = model.embed_texts(tokens["input_ids"], tokens["attention_mask"])
        embeds.append(torch.nn.functional.normalize(vectors.mean(dim=0), dim=-1).cpu())
    return torch.stack(embeds)
