"""What pre-training has learned of studies whose truth is known, as phantom's: hard negatives, where findings are."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from ...modeling_amif.aga_amif import AgaPreTrainingOutput, fixed_threshold
from ...processing_amif import AmifProcessor
from ..data.phantom.questions import FINDING_NAMES
from ..data.pretraining_rows import PretrainingRows
from ..evaluation.localization import (
    mean_rank_correlation,
    overlap_of_visible,
    patches_in_box,
    phrase_positions,
    transport_localization,
)
from ..losses import gather_groups, transport_cost, transport_plan
from ..reports.word_maps import Model, WordMaps, phrase_map, word_maps
from .aga_trainer import AgaPreTrainer
from .amif_trainer import AmifPreTrainer
from .base_trainer import BasePreTrainer
from .embeddings import embed_pairs

Study = Mapping[str, Any]

VISIBLE = ("modality", "plane", "organ", "finding", "side", "size")


def has_known_truth(studies: Dataset) -> bool:
    """Whether the rows tell what can be seen in a study, and in what box."""
    return {*VISIBLE, "box"} <= set(studies.column_names)


def known_truth_metrics(trainer: BasePreTrainer, studies: Dataset) -> dict[str, float]:
    """What the known truth says of a trainer's model: `rank_correlations` of every one, `matching_and_transport` of
    AMiF's stage `local`, `group_localization` of AGA; nothing where the rows tell no truth.
    """
    if not has_known_truth(studies):
        return {}
    metrics = rank_correlations(trainer, studies)
    if isinstance(trainer, AgaPreTrainer):
        return metrics | group_localization(trainer, studies)
    if isinstance(trainer, AmifPreTrainer) and trainer.args.stage == "local":
        return metrics | matching_and_transport(trainer, studies)
    return metrics


def rank_correlations(trainer: BasePreTrainer, studies: Dataset) -> dict[str, float]:
    """Whether other reports are the closer, the more of what is seen they share: `mean_rank_correlation` with the
    Jaccard overlap of `VISIBLE`, `rank_correlation_text_text` of reports' cosine similarities and
    `rank_correlation_image_text` of the first views' with reports.
    """
    size = trainer.args.per_device_eval_batch_size
    images, texts = embed_pairs(trainer.model, trainer.processing_class, studies, size)
    overlap = overlap_of_visible(list(zip(*(studies[name] for name in VISIBLE), strict=True)))
    return {
        "rank_correlation_text_text": mean_rank_correlation((texts @ texts.T).numpy(), overlap),
        "rank_correlation_image_text": mean_rank_correlation((images @ texts.T).numpy(), overlap),
    }


@torch.no_grad()
def matching_and_transport(trainer: AmifPreTrainer, studies: Dataset) -> dict[str, float]:
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
    visible = list(zip(*(studies[name] for name in VISIBLE), strict=True))
    verdicts, found = [], []
    for batch in _batches(trainer, studies):
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
        masks = output.image_token_mask, output.text_token_mask
        cost = transport_cost(output.fused_image_states, output.fused_text_states, *masks)
        plans = transport_plan(cost, *masks, solver=trainer.args.transport_solver)
        plans = [plan[patches] for plan, patches in zip(plans, masks[0], strict=True)]
        for plan, words, inside in _findings(plans, batch, studies, trainer.processing_class):
            found.append(transport_localization(plan, words, inside))
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


def _batches(trainer: BasePreTrainer, studies: Dataset) -> DataLoader:
    """Batches of the studies as evaluation meets them; the model is put into evaluation mode."""
    trainer.model.eval()
    size = trainer.args.per_device_eval_batch_size
    return DataLoader(PretrainingRows(studies), batch_size=size, collate_fn=trainer.evaluation_collator)


def _findings(
    plans: Sequence[torch.Tensor], batch: Mapping[str, torch.Tensor], studies: Dataset, processor: AmifProcessor
) -> Iterator[tuple[np.ndarray, list[int], np.ndarray]]:
    """Plan, places of the finding's words and patches of its box, of every study whose report, as far as it is read,
    names a finding. Plans (patches, tokens) are one for each study of the batch.
    """
    for place, row in enumerate(batch["row"].tolist()):
        study = studies[row]
        if study["finding"] is None:
            continue
        phrase = processor.encode_reports([study["finding"]])["input_ids"][0, 1:-1]
        words = phrase_positions(batch["input_ids"][place].tolist(), phrase.tolist())
        if words:
            plan = plans[place].cpu().numpy()
            yield plan, words, patches_in_box(study["box"][0], study["images"][0].size, math.isqrt(len(plan)))


@torch.no_grad()
def group_localization(trainer: AgaPreTrainer, studies: Dataset) -> dict[str, float]:
    """Whether the patches that the words of a finding gather are those of its box.

    Args:
        trainer: its model is read, and its choice of similarity and sparsity.
        studies: rows with the columns of `VISIBLE` and `box`, in pixels, for each image.

    Returns:
        Means over the studies with a finding: `group_mass`, the share of the words' weights in the patches of the first
        view's box; `group_hit`, how often the patch of most weight is one of them; `group_chance`, those patches' share
        of all; `group_hit_of_others`, how often the top patch of another study would have hit, which says what is known
        of where findings lie as such; `group_mass_fixed` and `group_hit_fixed`, the same with the thresholds that
        untrained gates have. NaN where no study has a finding; nothing where words gather by softmax.
    """
    if trainer.args.grouping != "threshold":
        return {}
    found, found_fixed, tops, boxes = [], [], [], []
    for batch in _batches(trainer, studies):
        inputs = trainer._prepare_inputs(batch)
        output = trainer.model(**{name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")})
        patches = torch.ones(output.image_tokens.shape[:2], dtype=torch.bool, device=output.image_tokens.device)
        untrained = fixed_threshold(patches).expand_as(output.text_thresholds)
        findings, findings_fixed = (
            list(_findings(_word_weights(trainer, output, thresholds), batch, studies, trainer.processing_class))
            for thresholds in (output.text_thresholds, untrained)
        )
        found += [transport_localization(*finding) for finding in findings]
        found_fixed += [transport_localization(*finding) for finding in findings_fixed]
        tops += [plan[:, words].sum(axis=1).argmax() for plan, words, _ in findings]
        boxes += [inside for _, _, inside in findings]
    metrics = {f"group_{name}": _mean([study[name] for study in found]) for name in ("mass", "hit", "chance")}
    metrics["group_hit_of_others"] = _hits_of_others(tops, boxes)
    return metrics | {f"group_{name}_fixed": _mean([study[name] for study in found_fixed]) for name in ("mass", "hit")}


def _word_weights(trainer: AgaPreTrainer, output: AgaPreTrainingOutput, thresholds: torch.Tensor) -> torch.Tensor:
    """Weights (B, P, L) with which the tokens of reports gather patches."""
    args, tokens, patches = trainer.args, output.text_tokens, output.image_tokens
    return gather_groups(tokens, patches, thresholds, None, args.similarity, args.sparsity)[1].transpose(1, 2)


def _hits_of_others(tops: Sequence[int], boxes: Sequence[np.ndarray]) -> float:
    """How often the top patch of one study lies in the box of another, over all pairs of two studies."""
    hits = np.array([box[list(tops)] for box in boxes], dtype=float).reshape(len(boxes), len(tops))
    return _mean(hits[~np.eye(len(boxes), dtype=bool)])


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


def finding_question(study: Study) -> str:
    """The question that names a phantom study's finding, for a model that answers."""
    return f"is there {FINDING_NAMES[study['finding']]}?"


def finding_localization(
    model: Model, processor: AmifProcessor, studies: Sequence[Study], text: Callable[[Study], str]
) -> dict[str, dict[str, float]]:
    """How well the words that name a finding find its box on the first view.

    Args:
        model: in evaluation mode, with eager attention.
        processor: the model's.
        studies: rows with `images`, `finding` and `box`, as phantom's for pre-training; those without a finding, or
            whose text does not name it, are left out.
        text: what the model reads of a study: its report, or a question such as `finding_question`.

    Returns:
        Of "transport" and "attention" the means over studies of `mass`, the share inside the box, and `hit`, how often
        the heaviest patch lies inside (the pointing game); for both `chance`, the box's share of the patches, and `n`.

    Raises:
        ValueError: where no study's text names its finding.
    """
    found = []
    for study in studies:
        if study["finding"] is None:
            continue
        image = study["images"][0]
        maps = word_maps(model, processor, image, text(study))
        if f" {study['finding']} " in f" {' '.join(maps.words)} ":
            found.append(_one(maps, study["finding"], study["box"][0], image.size))
    if not found:
        raise ValueError(f"None of {len(studies)} studies has a text that names its finding.")
    return {kind: {name: fmean(one[kind][name] for one in found) for name in found[0][kind]} for kind in found[0]} | {
        "n": len(found)
    }


def _one(maps: WordMaps, finding: str, box: Sequence[float], size: tuple[int, int]) -> dict[str, dict[str, float]]:
    measured = {}
    for kind in ("transport", "attention"):
        values = phrase_map(maps.words, getattr(maps, kind), finding).ravel()
        inside = patches_in_box(box, size, round(len(values) ** 0.5))
        measured[kind] = {
            "mass": float(values[inside].sum()),
            "hit": float(inside[values.argmax()]),
            "chance": float(np.mean(inside)),
        }
    return measured
