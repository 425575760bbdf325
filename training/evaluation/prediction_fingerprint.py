"""What predictions follow from, as one hash."""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import torch
from datasets import Dataset, Image

from ...processing_amif import AmifProcessor
from ..data.zipped_images import image_file_state


def prediction_fingerprint(model: torch.nn.Module, processor: AmifProcessor, dataset: Dataset, **settings: Any) -> str:
    """sha256 of all that predictions follow from.

    Args:
        model: its weights and buffers count, whatever their path.
        processor: its settings and vocabulary count.
        dataset: rows of the schema; questions and images count, answers do not.
        **settings: what else changes an answer, such as candidates, or its last digit, such as the batch size.
    """
    digest = hashlib.sha256()
    # Not its state_dict, which FSDP spreads over the processes again.
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    for part in (*_processor_parts(processor), *_dataset_parts(dataset)):
        digest.update(part)
    versions = {package: version(package) for package in ("amif", "torch", "transformers")}
    digest.update(json.dumps([settings, versions], sort_keys=True).encode())
    return digest.hexdigest()


def _processor_parts(processor: AmifProcessor) -> Iterator[bytes]:
    yield processor.image_processor.to_json_string().encode()
    yield json.dumps(processor.tokenizer.get_vocab(), sort_keys=True).encode()
    yield f"{processor.max_question_length} {processor.lowercase}".encode()


def _dataset_parts(dataset: Dataset) -> Iterator[bytes]:
    columns = dataset.select_columns(["question_id", "image_id", "question", "image"])
    for row in columns.cast_column("image", Image(decode=False)):
        image = row.pop("image")
        yield json.dumps(row).encode()
        if image["bytes"]:
            yield image["bytes"]
        else:
            yield image_file_state(image["path"]).encode()
