"""Encoder states of a data set's images, computed once where the vision encoder does not change."""

from collections.abc import Callable
from typing import Any

import PIL.Image
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from ...processing_amif import AmifProcessor
from ..data.same_images import originals
from ..data.views import cells_of, first_shown
from ..data.vqa_collator import AmifVqaCollator
from ..data.vqa_rows import VqaItem, VqaRows


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

    Images that are one file under several ids are one, but where augmentation draws for each.

    Args:
        model: The model; only its vision encoder runs, in evaluation mode.
        processor: Prepares the images.
        dataset: Rows of the schema.
        batch_size: Images a step.
        progress: Whether to show a progress bar.
        augmentation: Changes each image first, with its draw of `epoch`; see `AmifVqaCollator`.
        epoch: Of the draws.

    Returns:
        By the images' ids (`view_ids`), states (tokens, image_states_size) in shared memory, pooled as the
        configuration says.
    """
    rows = VqaRows(dataset)
    rows.set_epoch(epoch)
    first, collator = first_shown(dataset), AmifVqaCollator(processor, augmentation)

    def collate(shown: list[tuple[str, tuple[int, int]]]) -> dict[str, torch.Tensor]:
        """A batch of images, each as if its row had no other; of an item, the id, row and place in the row."""
        items = rows.__getitems__([row for _, (row, _) in shown])
        alone: list[VqaItem] = [
            {**item, "image": cells_of(item["image"])[place], "image_id": image_id}
            for item, (image_id, (_, place)) in zip(items, shown, strict=True)
        ]
        return collator(alone)

    # A generator of its own: a resumed run, which encodes once more, must leave the global one where it was.
    # A list has places, which is all that the loader wants of a data set.
    same = originals(dataset) if augmentation is None else {}
    shown: Any = [item for item in first.items() if item[0] not in same]
    loader = DataLoader(shown, batch_size=batch_size, collate_fn=collate, generator=torch.Generator())
    was_training = model.training
    model.eval()
    encoded = []
    for batch in tqdm(loader, desc="Encoding images", disable=not progress):
        encoded.extend(model.model.encode_images(batch["pixel_values"].to(model.device)).cpu())
    model.train(was_training)
    states = dict(zip([image_id for image_id, _ in shown], torch.stack(encoded).share_memory_(), strict=True))
    return states | {image_id: states[original] for image_id, original in same.items()}
