"""Encoder states of a data set's images, computed once where the vision encoder does not change."""

from collections.abc import Callable

import PIL.Image
import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from ...processing_amif import AmifProcessor
from ..data.vqa_collator import AmifVqaCollator
from ..data.vqa_rows import VqaRows


@torch.no_grad()
def encode_unique_images(
    model: AmifForVisualQuestionAnswering,
    processor: AmifProcessor,
    dataset: Dataset,
    batch_size: int,
    progress: bool = True,
    augmentation: Callable[..., PIL.Image.Image] | None = None,
    epoch: int = 0,
) -> dict[str, torch.Tensor]:
    """Encode each image of a data set once, in the model's own number format (call under autocast for another).

    Args:
        model: The model; only its vision encoder runs, in evaluation mode.
        processor: Prepares the images.
        dataset: Rows of the schema.
        batch_size: Images a step.
        progress: Whether to show a progress bar.
        augmentation: Changes each image first, with its draw of `epoch`; see `AmifVqaCollator`.
        epoch: Of the draws.

    Returns:
        By `image_id`, states (tokens, vision width) in shared memory, pooled as the configuration says.
    """
    rows = VqaRows(dataset)
    rows.set_epoch(epoch)
    first_rows = {image_id: row for row, image_id in reversed(list(enumerate(rows.image_ids)))}
    first = Subset(rows, list(first_rows.values()))
    # A generator of its own: a resumed run, which encodes once more, must leave the global one where it was.
    collator = AmifVqaCollator(processor, augmentation)
    loader = DataLoader(first, batch_size=batch_size, collate_fn=collator, generator=torch.Generator())
    was_training = model.training
    model.eval()
    encoded = []
    for batch in tqdm(loader, desc="Encoding images", disable=not progress):
        encoded.extend(model.model.encode_images(batch["pixel_values"].to(model.device)).cpu())
    model.train(was_training)
    return dict(zip(first_rows, torch.stack(encoded).share_memory_(), strict=True))
