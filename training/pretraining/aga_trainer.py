"""Pre-training with AGA, adaptive grouped alignment: the trainer and its arguments.

The parts are named in its abstract; weights, temperatures and switches are our reading, see `losses.group_alignment`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ...modeling_amif.aga_amif import AgaPreTrainingOutput
from ..distributed import gather_rows
from ..losses import (
    contrast_accuracy,
    cosine_similarities,
    cross_group_alignment,
    gather_groups,
    group_alignment,
    info_nce,
    pooled_groups,
    read_across,
)
from ..losses.global_alignment import global_loss
from ..losses.group_alignment import SIMILARITIES, SPARSITIES, mask_of_patches
from ..losses.token_contrast import NEGATIVES
from .base_trainer import BasePreTrainer, BasePreTrainingArguments

# MGCA's temperature of local attention.
ATTENTION_TEMPERATURE = 0.1


@dataclass
class AgaPreTrainingArguments(BasePreTrainingArguments):
    """Training arguments of AGA; what is not said here is as for AMiF, so that the two can be compared.

    The loss is `global_weight` x InfoNCE + `group_weight` x instance-aware group alignment + `cross_group_weight` x
    bidirectional cross-modal grouped alignment. The local two have no negatives from other pairs.
    """

    global_weight: float = field(default=1.0, metadata={"help": "Weight of InfoNCE on whole images and reports."})
    group_weight: float = field(default=1.0, metadata={"help": "Weight of instance-aware group alignment."})
    cross_group_weight: float | None = field(
        default=None, metadata={"help": "Weight of the alignment of groups; None: 1, and 0 with one direction alone."}
    )
    directions: str = field(
        default="both", metadata={"help": "Who gathers: text (tokens gather patches), image (the reverse) or both."}
    )
    grouping: str = field(
        default="threshold", metadata={"help": "threshold: sparse min-max; softmax: of cosines over 0.1, no gates."}
    )
    similarity: str = field(default="inner", metadata={"help": "Of tokens and patches: inner (SPARC's) or cosine."})
    sparsity: str = field(default="ste", metadata={"help": "The cut at a threshold: ste, soft, shrink or hard."})
    negatives: str = field(default="in_pair", metadata={"help": "Of group alignment: in_pair or, ablated, batch."})
    cross_groups: str = field(
        default="attention", metadata={"help": "attention within the pair, or pooled: group means across the batch."}
    )

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "directions": ("both", "text", "image"),
        "grouping": ("threshold", "softmax"),
        "similarity": SIMILARITIES,
        "sparsity": SPARSITIES,
        "negatives": NEGATIVES,
        "cross_groups": ("attention", "pooled"),
    }

    def __post_init__(self) -> None:
        if self.cross_group_weight is None:
            self.cross_group_weight = 1.0 if self.directions == "both" else 0.0
        if self.cross_group_weight and self.directions != "both":
            raise ValueError(
                f"directions={self.directions!r} leaves no groups of the other modality to align with: set "
                "cross_group_weight to 0."
            )
        super().__post_init__()

    @property
    def loss_weights(self) -> tuple[str, ...]:
        """Names of the fields that weight the losses."""
        return ("global_weight", "group_weight", "cross_group_weight")


class AgaPreTrainer(BasePreTrainer):
    """Trains `AgaForPreTraining` on image-report pairs, one view a study.

    Whole images and reports are contrasted over the global batch of all processes, tokens and patches within each pair.

    The arguments are those of `BasePreTrainer`.
    """

    collator_options: Mapping[str, Any] = {"views": 1}

    args: AgaPreTrainingArguments
    arguments_class = AgaPreTrainingArguments

    def training_loss(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, AgaPreTrainingOutput]:
        """The weighted sum of the three losses; each is kept under its name for the log."""
        output = model(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
        )
        terms = self._contrast(output)
        loss = self.args.global_weight * global_loss(terms)
        cross_group_weight = self.args.cross_group_weight or 0.0
        if self.args.group_weight or cross_group_weight:
            local = self._local_terms(output)
            loss = loss + self.args.group_weight * local["group_alignment"]
            if cross_group_weight:
                loss = loss + cross_group_weight * local["cross_group_alignment"]
            terms |= local
        self._keep(terms)
        return loss, output

    def _local_terms(self, output: AgaPreTrainingOutput) -> dict[str, torch.Tensor]:
        text, image, words = output.text_tokens, output.image_tokens, output.text_token_mask
        image_groups = text_groups = None
        if self.args.directions != "image":
            image_groups = self._gather("text", text, image, output.text_thresholds, words, None)
        if self.args.directions != "text":
            patches = mask_of_patches(words, image)
            text_groups = self._gather("image", image, text, output.image_thresholds, patches, words)
        temperature, negatives = output.temperatures[1], self.args.negatives
        alignment = group_alignment(text, image, image_groups, text_groups, temperature, words, negatives)
        terms = {"group_alignment": alignment}
        if self.args.cross_group_weight and image_groups is not None and text_groups is not None:
            align = self._align_means if self.args.cross_groups == "pooled" else cross_group_alignment
            terms["cross_group_alignment"] = align(image_groups, text_groups, temperature, words)
        return terms

    def _gather(
        self,
        name: str,
        items: torch.Tensor,
        others: torch.Tensor,
        thresholds: torch.Tensor,
        mask: torch.Tensor,
        other_mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """What each token or patch (B, n, e) gathers of the other modality (B, m, e): groups (B, n, e).

        Kept for the log: mean threshold and group size, and how often an item's own group is the nearest of its pair's,
        all over what `mask` (B, n) calls valid.
        """
        if self.args.grouping == "softmax":
            return read_across(items, others, ATTENTION_TEMPERATURE, other_mask)
        groups, weights = gather_groups(items, others, thresholds, other_mask, self.args.similarity, self.args.sparsity)
        if self._reports_health():
            sizes = (weights > 0).sum(dim=-1).float()
            figures = {"threshold": thresholds[mask].mean(), "group_size": sizes[mask].mean()}
            figures["group_accuracy"] = contrast_accuracy(items, groups, mask)
            self._keep({f"{figure}_{name}": value for figure, value in figures.items()})
        return groups

    def _align_means(
        self, image_groups: torch.Tensor, text_groups: torch.Tensor, temperature: torch.Tensor, words: torch.Tensor
    ) -> torch.Tensor:
        """The ablation with external negatives: InfoNCE of each pair's mean groups over the global batch."""
        image, text = pooled_groups(image_groups, words), pooled_groups(text_groups)
        i2t, t2i = info_nce(cosine_similarities(gather_rows(image), gather_rows(text)), temperature)
        return (i2t + t2i) / 2
