"""Pre-training with MPMA, multi-task paired masking with alignment: the trainer and its arguments.

The parts are named in its abstract; ratios, weights and temperatures are our reading, after published relatives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ...modeling_amif.dual_encoder_amif import word_mask
from ...modeling_amif.mpma_amif import MpmaPreTrainingOutput
from ..losses import hide_patches, hide_words, image_reconstruction_loss, local_alignment, report_reconstruction_loss
from ..losses.global_alignment import global_loss
from ..losses.token_contrast import NEGATIVES
from .base_trainer import BasePreTrainer, BasePreTrainingArguments

# MGCA's temperature of local attention.
LOCAL_TEMPERATURE = 0.1


@dataclass
class MpmaPreTrainingArguments(BasePreTrainingArguments):
    """Training arguments of MPMA; what is not said here is as for AMiF, so that the two can be compared.

    The loss is `image_weight` x reconstruction of hidden patches + `report_weight` x that of hidden words +
    `global_weight` x InfoNCE + `local_weight` x alignment of tokens and patches within a pair.
    """

    image_mask_ratio: float = field(default=0.75, metadata={"help": "Share of the patches that are hidden."})
    report_mask_ratio: float = field(default=0.5, metadata={"help": "Share of the report hidden, in whole words."})
    masking: str = field(
        default="paired", metadata={"help": "paired: both at the same time; alternating: images, then reports."}
    )
    image_weight: float = field(default=1.0, metadata={"help": "Weight of the reconstruction of images."})
    report_weight: float = field(default=1.0, metadata={"help": "Weight of the reconstruction of reports."})
    global_weight: float = field(default=1.0, metadata={"help": "Weight of InfoNCE on whole images and reports."})
    local_weight: float = field(default=1.0, metadata={"help": "Weight of the alignment of tokens and patches."})
    negatives: str = field(default="in_pair", metadata={"help": "Of the latter: in_pair or batch."})
    aligned_view: str = field(
        default="masked", metadata={"help": "masked: what is left; full: whole images and reports, in a second pass."}
    )

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "masking": ("paired", "alternating"),
        "aligned_view": ("masked", "full"),
        "negatives": NEGATIVES,
    }

    def __post_init__(self) -> None:
        if not (0 <= self.image_mask_ratio < 1 and 0 <= self.report_mask_ratio < 1):
            raise ValueError("Mask ratios are from 0 to below 1; 0.75 hides three quarters.")
        super().__post_init__()

    @property
    def loss_weights(self) -> tuple[str, ...]:
        """Names of the fields that weight the losses."""
        return ("image_weight", "report_weight", "global_weight", "local_weight")


class MpmaPreTrainer(BasePreTrainer):
    """Trains `MpmaForPreTraining` on image-report pairs, one view a study.

    Whole images and reports are contrasted over the global batch of all processes, tokens and patches within each pair.
    Retrieval is measured with nothing hidden. Evaluation also tries each report with another study's image.

    The arguments are those of `BasePreTrainer`.
    """

    collator_options: Mapping[str, Any] = {"views": 1, "word_pieces": True}

    args: MpmaPreTrainingArguments
    arguments_class = MpmaPreTrainingArguments

    def training_loss(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, MpmaPreTrainingOutput]:
        """The weighted sum of the four losses; each is kept under its name for the log.

        A batch without `hidden_patches` and `hidden_tokens` gets them here.
        """
        if "hidden_patches" not in inputs:
            inputs = inputs | self._hide(inputs)
        read = ("pixel_values", "input_ids", "attention_mask", "hidden_patches", "hidden_tokens")
        batch = {name: inputs[name] for name in read}
        output = model(**batch, align_full=self.args.aligned_view == "full")
        terms = self._contrast(output)
        weights = {"image_reconstruction": self.args.image_weight, "report_reconstruction": self.args.report_weight}
        weights["local_alignment"] = self.args.local_weight
        terms |= self._local_terms(output, batch)
        self._keep(terms)
        if not self.model.training:
            self._try_other_images(model, batch)
        loss = self.args.global_weight * global_loss(terms)
        return loss + sum(weight * terms[name] for name, weight in weights.items()), output

    def _hide(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Which patches and which words of a batch are hidden; in alternation, one kind a step."""
        image_ratio, report_ratio = self.args.image_mask_ratio, self.args.report_mask_ratio
        if self.args.masking == "alternating" and self.model.training:
            image_ratio, report_ratio = (0.0, report_ratio) if self.state.global_step % 2 else (image_ratio, 0.0)
        device = inputs["input_ids"].device
        generator = self._evaluation_generator(device)
        patches = self.accelerator.unwrap_model(self.model).num_patches
        words = word_mask(inputs["attention_mask"])
        return {
            "hidden_patches": hide_patches(len(words), patches, image_ratio, generator, device),
            "hidden_tokens": hide_words(words, inputs["continued"], report_ratio, generator),
        }

    def _local_terms(self, output: MpmaPreTrainingOutput, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        hidden_tokens = batch["hidden_tokens"]
        if self._reports_health():
            self._keep({"report_accuracy": _accuracy(output.token_logits, batch["input_ids"], hidden_tokens)})
        return {
            "image_reconstruction": image_reconstruction_loss(
                output.patch_predictions, batch["pixel_values"], batch["hidden_patches"]
            ),
            "report_reconstruction": report_reconstruction_loss(output.token_logits, batch["input_ids"], hidden_tokens),
            "local_alignment": local_alignment(
                output.image_tokens, output.text_tokens, output.text_token_mask, LOCAL_TEMPERATURE, self.args.negatives
            ),
        }

    def _try_other_images(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> None:
        """The reconstruction of each report beside the next study's image: how much worse says that vision helps."""
        shuffled = batch | {name: batch[name].roll(1, dims=0) for name in ("pixel_values", "hidden_patches")}
        logits = model(**shuffled).token_logits
        ids, hidden = batch["input_ids"], batch["hidden_tokens"]
        self._keep(
            {
                "report_reconstruction_of_other_image": report_reconstruction_loss(logits, ids, hidden),
                "report_accuracy_of_other_image": _accuracy(logits, ids, hidden),
            }
        )

    def _embeddings(
        self, inputs: dict[str, torch.Tensor], output: MpmaPreTrainingOutput
    ) -> tuple[torch.Tensor, torch.Tensor]:
        model = self.accelerator.unwrap_model(self.model)
        return model.embed_images(inputs["pixel_values"]), model.embed_texts(
            inputs["input_ids"], inputs["attention_mask"]
        )


def _accuracy(logits: torch.Tensor, input_ids: torch.Tensor, hidden_tokens: torch.Tensor) -> torch.Tensor:
    """Share of the hidden tokens that are predicted rightly; NaN where none is hidden."""
    return (logits.argmax(dim=-1) == input_ids[hidden_tokens]).float().mean()
