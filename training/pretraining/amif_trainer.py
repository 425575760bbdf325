"""Pre-training with AMiF's alignment of images and reports: the trainer and its arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import torch
from transformers import PreTrainedModel

from ...modeling_amif.pretraining_amif import MATCHING_KINDS, AmifForPreTraining, AmifPreTrainingOutput
from ..distributed import gather_rows
from ..losses import (
    matching_accuracy,
    matching_labels,
    matching_loss,
    mean_token_cosine,
    one_hot_labels,
    plan_entropy,
    retrieval_recall,
    sample_hard_negatives,
    soft_label_alignment,
    soft_labels,
    transport_contrast,
    transport_cost,
    transport_plan,
)
from ..losses.global_alignment import TEMPERATURE_OF, TERMS_OF_INTRA, batch_similarities, global_loss
from ..losses.transport_contrast import CONTRASTS
from .base_trainer import BasePreTrainer, BasePreTrainingArguments
from .teacher import Teacher


@dataclass
class AmifPreTrainingArguments(BasePreTrainingArguments):
    """Training arguments of AMiF, with the paper's weights.

    Stage "global" minimises L_global (equation 8), stage "local" L_local + L_HN (equations 9 and 13).
    """

    stage: str = field(default="global", metadata={"help": "global: alignment of whole studies; local: of tokens."})
    soft_labels: bool = field(
        default=True, metadata={"help": "Labels from the teacher; off, or without a teacher, they are one-hot."}
    )
    soft_label_form: str = field(
        default="paper_renormalised", metadata={"help": "paper_renormalised, paper_raw or in_softmax."}
    )
    soft_label_temperature: float = field(default=0.07, metadata={"help": "Temperature of the teacher's similarities."})
    flexibility_weight: float = field(default=0.01, metadata={"help": "lambda of equation 5."})
    intra: str = field(default="full", metadata={"help": "Alignment within a modality: full, text or none."})
    global_weight: float | None = field(
        default=None, metadata={"help": "Weight of L_global; None: 1 in stage global, 0 in stage local."}
    )
    local_weight: float = field(default=1.0, metadata={"help": "Weight of L_local in stage local."})
    local_contrast: str = field(
        default="none",
        metadata={
            "help": "L_local against the transport cost with the hard negative's report: margin or softplus; none is "
            "the paper's equation 9, which makes all image tokens alike."
        },
    )
    local_margin: float = field(
        default=0.5, metadata={"help": "How far local_contrast wants the own cost below the other, of 0 to 2."}
    )
    detach_image_tokens: bool = field(
        default=False, metadata={"help": "L_local moves the report's tokens alone, not the image's."}
    )
    hard_negative_weight: float = field(default=1.0, metadata={"help": "Weight of L_HN in stage local."})
    hard_negative_warmup: float = field(
        default=0.0,
        metadata={
            "help": "Share of the steps over which hard negatives go from any other study, all alike, to draws from "
            "the soft labels; 0 draws from these at once, as the paper does."
        },
    )
    matching_kinds: str = field(
        default="all",
        metadata={"help": "Pairs that are matched: all, or image_text alone, as the authors' code has it."},
    )
    transport_solver: str = field(default="auto", metadata={"help": "auto, emd, ipot or sinkhorn."})

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "stage": ("global", "local"),
        "intra": tuple(TERMS_OF_INTRA),
        "matching_kinds": ("all", "image_text"),
        "local_contrast": CONTRASTS,
    }

    def __post_init__(self) -> None:
        if self.global_weight is None:
            self.global_weight = 1.0 if self.stage == "global" else 0.0
        if self.freeze_encoders is None:
            self.freeze_encoders = self.stage == "local"
        if not self.minimises_global:
            self.freeze_temperatures = True  # nothing else reads them
        if not 0 <= self.hard_negative_warmup <= 1:
            raise ValueError(f"--hard_negative_warmup {self.hard_negative_warmup}: give a share of the steps, 0 to 1.")
        super().__post_init__()

    @property
    def loss_weights(self) -> tuple[str, ...]:
        """Names of the fields that weight the stage's losses."""
        return ("global_weight", *(("local_weight", "hard_negative_weight") if self.stage == "local" else ()))

    @property
    def minimises_global(self) -> bool:
        """Whether L_global is a part of the loss."""
        return self.stage == "global" or self.global_weight != 0


class AmifPreTrainer(BasePreTrainer):
    """Trains `AmifForPreTraining` on image-report pairs.

    Similarities are taken over the global batch of all processes, hard negatives from each process's own.

    Args:
        model: The model to train; None where `model_init` makes it.
        args: The arguments; None takes their defaults.
        teacher: Embeds every batch anew, as it is augmented. None takes the rows' columns `teacher_image_embeds` and
            `teacher_text_embeds`, if there are such.
        **kwargs: As for `BasePreTrainer`.

    Raises:
        ValueError: If the teacher is on an accelerator and `dataloader_num_workers` is not 0.
    """

    model: AmifForPreTraining
    args: AmifPreTrainingArguments
    arguments_class = AmifPreTrainingArguments

    def __init__(
        self,
        model: AmifForPreTraining | None = None,
        args: AmifPreTrainingArguments | None = None,
        *,
        teacher: Teacher | None = None,
        **kwargs: Any,
    ) -> None:
        if teacher is not None and teacher.device.type != "cpu" and args is not None and args.dataloader_num_workers:
            raise ValueError(
                "An online teacher on an accelerator embeds batches as they are collated, which data-loader workers "
                "cannot: give --dataloader_num_workers 0, or --teacher_mode cached."
            )
        self.collator_options = {"teacher": teacher}
        super().__init__(model=model, args=args, **kwargs)

    def prepare_model(self, model: PreTrainedModel) -> None:
        """Train the parts that the stage and the arguments say."""
        super().prepare_model(model)
        model = cast(AmifForPreTraining, model)
        # What a stage leaves out must not wait for gradients: with several processes torch refuses the next step then.
        for unused in (model.model.co_attention, model.matching_head):
            unused.requires_grad_(self.args.stage == "local")

    def training_loss(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, AmifPreTrainingOutput]:
        """The weighted sum of the stage's losses; each is kept under its name for the log.

        A batch without `hard_negatives` gets them here, drawn from the teacher's labels before the model runs.

        Raises:
            ValueError: If the batch's `hard_negatives` has fewer columns than there are kinds of pairs to match.
        """
        teacher = self.teacher_similarities(inputs)
        hard_negatives = self._hard_negatives(inputs, teacher) if self.args.stage == "local" else None
        output = model(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            hard_negatives=hard_negatives,
        )
        loss, terms = output.image_embeds.new_zeros(()), {}
        if self.args.minimises_global:
            terms |= self._global_terms(output, teacher)
            loss = loss + (self.args.global_weight or 0.0) * global_loss(terms)
        if hard_negatives is not None:
            terms |= self._local_terms(output, hard_negatives)
            if (seen := inputs.get("visible_group")) is not None:
                false = seen[hard_negatives] == seen.unsqueeze(1)
                self._keep({"false_negatives": false[hard_negatives >= 0].float().mean()})
            matching = sum(terms[f"matching_{kind}"] for kind in self._matching_kinds)
            local = terms.get("transport_contrast", terms["transport"])
            loss = loss + self.args.local_weight * local + self.args.hard_negative_weight * matching
        self._keep(terms)
        return loss, output

    @torch.no_grad()
    def teacher_similarities(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """Those of `batch_similarities` among the studies of all processes; None where the labels are one-hot."""
        if not self.args.soft_labels or not {"teacher_image_embeds", "teacher_text_embeds"} <= inputs.keys():
            return None
        texts = inputs["teacher_text_embeds"]
        images = inputs["teacher_image_embeds"].unflatten(0, (-1, len(texts)))
        return _global_similarities(images, texts)

    def _labels(self, similarity: torch.Tensor) -> torch.Tensor:
        return soft_labels(
            similarity, self.args.soft_label_temperature, self.args.flexibility_weight, self.args.soft_label_form
        )

    @property
    def _matching_kinds(self) -> tuple[str, ...]:
        return MATCHING_KINDS if self.args.matching_kinds == "all" else MATCHING_KINDS[:1]

    def _hard_negatives(self, inputs: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor] | None) -> torch.Tensor:
        negatives, num_kinds = inputs.get("hard_negatives"), len(self._matching_kinds)
        if negatives is None:
            return self.draw_hard_negatives(inputs, teacher)
        if negatives.shape[1] < num_kinds:
            raise ValueError(
                f"hard_negatives has {negatives.shape[1]} columns, and --matching_kinds {self.args.matching_kinds} "
                f"matches {num_kinds} kinds of pairs: give a column for each kind, or --matching_kinds image_text."
            )
        return negatives[:, :num_kinds]

    @torch.no_grad()
    def draw_hard_negatives(
        self, inputs: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor] | None
    ) -> torch.Tensor:
        """Hard negatives of the studies of this process's batch, among themselves (equation 11).

        Over the first `hard_negative_warmup` of the steps they are drawn from a mixture of all others alike and the
        labels, whose share grows from 0 to 1; in evaluation from the labels. Studies of one report, or of reports that
        are the same as far as the model reads them, are no negatives of each other. A softmax over a part of a batch
        is the softmax over the whole, rescaled: drawing among local studies needs no other process.

        Args:
            inputs: The batch, with `text_group` and `input_ids`.
            teacher: Of `teacher_similarities`; None makes all negatives alike.

        Returns:
            (B, K) places in this process's batch, one for each of K kinds, -1 where nothing can be drawn.
        """
        same = inputs["text_group"].unsqueeze(1) == inputs["text_group"]
        same |= (inputs["input_ids"].unsqueeze(1) == inputs["input_ids"]).all(dim=-1)
        weights = torch.ones(3, *same.shape, device=same.device)
        if teacher is not None:
            first = self.args.process_index * len(same)
            own = slice(first, first + len(same))
            labels = torch.stack([self._labels(teacher[name][0, own, own]) for name in ("i2t", "i2i", "t2t")])
            steps = self.args.hard_negative_warmup * self.state.max_steps
            share = min(1.0, self.state.global_step / steps) if steps and self.model.training else 1.0
            weights, alike = labels, weights
            if share < 1:
                weights = share * _distribution(labels, same) + (1 - share) * _distribution(alike, same)
        generator = self._evaluation_generator(same.device)
        weights = weights[: len(self._matching_kinds)]
        return torch.stack([sample_hard_negatives(weight, same, generator) for weight in weights], dim=1)

    def _global_terms(
        self, output: AmifPreTrainingOutput, teacher: dict[str, torch.Tensor] | None
    ) -> dict[str, torch.Tensor]:
        """KL of each alignment (equations 6 and 7), averaged over its stack of matrices."""
        similarities = _global_similarities(output.image_embeds, output.text_embeds)
        terms = {}
        for name in TERMS_OF_INTRA[self.args.intra]:
            logits = similarities[name] / output.temperatures[TEMPERATURE_OF[name]]
            targets = map(self._labels, teacher[name]) if teacher else map(one_hot_labels, logits)
            alignments = [
                soft_label_alignment(matrix.log_softmax(dim=-1), target)
                for matrix, target in zip(logits, targets, strict=True)
            ]
            terms[name] = torch.stack(alignments).mean()
        if self._reports_health():
            self._keep({"recall_i2t": retrieval_recall(similarities["i2t"][0])})
            self._keep({f"temperature_{i + 1}": value for i, value in enumerate(output.temperatures)})
        return terms

    def _local_terms(self, output: AmifPreTrainingOutput, hard_negatives: torch.Tensor) -> dict[str, torch.Tensor]:
        """L_local (equation 9) and the matching loss of each kind (equation 13)."""
        image, text, matching_logits = output.fused_image_states, output.fused_text_states, output.matching_logits
        negative_image, negative_text = output.negative_image_states, output.negative_text_states
        if image is None or text is None or matching_logits is None or negative_image is None or negative_text is None:
            raise ValueError("The model gave no fused states: call it with hard_negatives.")
        masks = output.image_token_mask, output.text_token_mask
        own, plan = self._transport(image, text, *masks)
        terms = {"transport": own.mean()}
        if self.args.local_contrast != "none":
            other, _ = self._transport(negative_image, negative_text, masks[0], output.negative_text_mask)
            losses = transport_contrast(own, other, self.args.local_contrast, self.args.local_margin)
            # A study without a hard negative has no other cost to lie below.
            terms["transport_contrast"] = losses.masked_fill(hard_negatives[:, 0] < 0, 0).mean()
            self._keep({"transport_of_negatives": other.mean()})
        labels = [matching_labels(negatives) for negatives in hard_negatives.unbind(dim=1)]
        matches = list(zip(self._matching_kinds, matching_logits, labels, strict=True))
        terms |= {f"matching_{kind}": matching_loss(logits, label) for kind, logits, label in matches}
        if self._reports_health():
            for kind, logits, label in matches:
                # A report's positive is the report itself: whoever tests for equality has 1 there.
                name = "equality_accuracy" if kind == "text_text" else "matching_accuracy"
                self._keep({f"{name}_{kind}": matching_accuracy(logits, label)})
            self._keep({"plan_entropy": plan_entropy(plan), "skipped_negatives": (hard_negatives < 0).float().mean()})
            self._keep({"token_cosine_image": mean_token_cosine(image, masks[0])})
            self._keep({"token_cosine_text": mean_token_cosine(text, masks[1])})
        return terms

    def _transport(
        self,
        image: torch.Tensor,
        text: torch.Tensor,
        image_mask: torch.Tensor | None,
        text_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Costs (B,) of the cheapest plans between the tokens of B pairs, and the plans (B, p, t)."""
        image = image.detach() if self.args.detach_image_tokens else image
        cost = transport_cost(image, text, image_mask, text_mask)
        plan = transport_plan(cost, image_mask, text_mask, solver=self.args.transport_solver)
        return (plan * cost).sum(dim=(1, 2)), plan


def _distribution(weights: torch.Tensor, forbidden: torch.Tensor) -> torch.Tensor:
    """Rows of weights as distributions over what is not forbidden; zeros where all is."""
    allowed = weights.masked_fill(forbidden, 0)
    return allowed / allowed.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(allowed.dtype).tiny)


def _global_similarities(images: torch.Tensor, texts: torch.Tensor) -> dict[str, torch.Tensor]:
    """`batch_similarities` of the studies of all processes, from each process's (V, B, d) and (B, d)."""
    return batch_similarities(torch.stack([gather_rows(view) for view in images]), gather_rows(texts))
