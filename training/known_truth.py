"""What stage two has learned of studies whose truth is known, as phantom's: hard negatives, and where findings are."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from ..modeling_amif.pretraining_amif import AmifPreTrainingOutput
from .data.pretraining_collator import AmifPreTrainingCollator
from .data.pretraining_rows import PretrainingRows
from .evaluation.localization import patches_in_box, phrase_positions, transport_localization
from .losses import transport_cost, transport_plan
from .pretraining_trainer import AmifPreTrainer

VISIBLE = ("modality", "plane", "organ", "finding", "side", "size")


def has_known_truth(studies: Dataset) -> bool:
    """Whether the rows tell what can be seen in a study, and in what box."""
    return {*VISIBLE, "box"} <= set(studies.column_names)


@torch.no_grad()
def known_truth_metrics(trainer: AmifPreTrainer, studies: Dataset) -> dict[str, float]:
    """Accuracy on hard image-text negatives, and localization of the words that name a finding.

    A report of a study in which the same things are seen is no negative, whatever its wording: nothing in the picture
    tells it from the study's own. Such false negatives are counted, and the accuracy is given without them as well.

    Args:
        trainer: of stage `local`; it draws the negatives, one a study, the same in every call, from its teacher's
            labels or without a teacher from all studies alike.
        studies: rows with the columns of `VISIBLE` and `box`, in pixels, for each image; with the trainer's teacher's
            embeddings, if it has them in columns.

    Returns:
        `matching_accuracy`: share of pairs told rightly, a positive and a hard negative for each study;
        `false_negatives`: share of the hard negatives; `matching_accuracy_without_false`: of the studies whose negative
        is none of them. Over the studies with a finding: `localization_mass`, the share of the finding's words'
        transport mass in the patches of the first view's box, `localization_chance`, those patches' share of all, and
        `localization_hit`, how often the patch of most mass is one of them; means. `localization_ratio`: mass / chance.
        NaN where no study has a finding.
    """
    trainer.model.eval()
    collator = trainer.evaluation_collator
    size = trainer.args.per_device_eval_batch_size
    batches = DataLoader(PretrainingRows(studies), batch_size=size, collate_fn=collator)
    visible = list(zip(*(studies[name] for name in VISIBLE), strict=True))
    verdicts, found = [], []
    for batch in batches:
        inputs = trainer._prepare_inputs(batch)
        negatives = trainer.draw_hard_negatives(inputs)
        output = trainer.model(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            hard_negatives=negatives,
        )
        seen = [visible[row] for row in batch["row"].tolist()]
        verdicts += _verdicts(output.matching_logits[0], negatives[:, 0].tolist(), seen)
        found += _localizations(output, batch, studies, collator, trainer.args.transport_solver)
    return _matching_metrics(verdicts) | _localization_metrics(found)


def _verdicts(logits: torch.Tensor, negatives: list[int], seen: list[tuple]) -> list[tuple[bool, bool, bool]]:
    """Of each study that has a negative: is the positive pair told rightly, is the negative, and is it a false one."""
    says_negative = logits.argmax(dim=1).bool()
    positive_right, negative_right = (~says_negative[: len(seen)]).tolist(), says_negative[len(seen) :].tolist()
    return [
        (positive_right[i], negative_right[i], seen[i] == seen[other])
        for i, other in enumerate(negatives)
        if other >= 0
    ]


def _localizations(
    output: AmifPreTrainingOutput,
    batch: Mapping[str, torch.Tensor],
    studies: Dataset,
    collator: AmifPreTrainingCollator,
    solver: str,
) -> list[dict[str, float]]:
    """`transport_localization` of every study of the batch whose report, as far as it is read, names a finding."""
    masks = output.image_token_mask, output.text_token_mask
    cost = transport_cost(output.fused_image_states, output.fused_text_states, *masks)
    plans = transport_plan(cost, *masks, solver=solver).cpu().numpy()
    patches = masks[0].cpu().numpy()
    found = []
    for place, row in enumerate(batch["row"].tolist()):
        study = studies[row]
        if study["finding"] is None:
            continue
        phrase = collator.processor.encode_reports([study["finding"]])["input_ids"][0, 1:-1]
        words = phrase_positions(batch["input_ids"][place].tolist(), phrase.tolist())
        if words:
            plan = plans[place][patches[place]]
            inside = patches_in_box(study["box"][0], study["images"][0].size, math.isqrt(len(plan)))
            found.append(transport_localization(plan, words, inside))
    return found


def _matching_metrics(verdicts: list[tuple[bool, bool, bool]]) -> dict[str, float]:
    positive, negative, false = np.array(verdicts, dtype=bool).reshape(-1, 3).T
    right = (positive.astype(float) + negative) / 2
    return {
        "matching_accuracy": _mean(right),
        "matching_accuracy_without_false": _mean(right[~false]),
        "false_negatives": _mean(false),
    }


def _localization_metrics(found: list[dict[str, float]]) -> dict[str, float]:
    means = {f"localization_{name}": _mean([study[name] for study in found]) for name in ("mass", "chance", "hit")}
    return means | {"localization_ratio": means["localization_mass"] / means["localization_chance"]}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


__all__ = ["has_known_truth", "known_truth_metrics"]
