"""What pre-training has learned of studies with a ground truth, as phantom's: hard negatives, where findings are."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from torch.utils.data import DataLoader

from ...modeling_amif.aga_amif import fixed_threshold
from ...processing_amif import AmifProcessor
from ..data.mixtures import SET_COLUMN
from ..data.phantom import FINDING_NAMES, VISIBLE
from ..data.pretraining_rows import PretrainingRows
from ..evaluation.localization import (
    Localization,
    localization,
    mean_localization,
    mean_rank_correlation,
    overlap_of_visible,
    patches_in_box,
    phrase_positions,
)
from ..losses import gather_groups, transport_cost, transport_plan
from ..reports.word_maps import Model, phrase_map, word_maps
from .aga_trainer import AgaPreTrainer
from .amif_trainer import AmifPreTrainer
from .base_trainer import BasePreTrainer
from .embeddings import embed_pairs
from .mpma_trainer import MpmaPreTrainer

Study = Mapping[str, Any]


def has_ground_truth(studies: Dataset) -> bool:
    """Whether the rows tell what can be seen in a study, and in what box; of several sets together they do not."""
    return {*VISIBLE, "box"} <= set(studies.column_names) and SET_COLUMN not in studies.column_names


def ground_truth_metrics(trainer: BasePreTrainer, studies: Dataset) -> dict[str, float]:
    """What the ground truth says of a trainer's model: `rank_correlations` of every one, `matching_and_transport` of
    AMiF's stage `local`, `group_localization` of AGA, `words_by_kind` of MPMA; nothing where the rows tell no truth.
    """
    if not has_ground_truth(studies):
        return {}
    metrics = rank_correlations(trainer, studies)
    if isinstance(trainer, AgaPreTrainer):
        return metrics | group_localization(trainer, studies)
    if isinstance(trainer, MpmaPreTrainer):
        return metrics | words_by_kind(trainer, studies)
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

    A report of a study in which the same things are seen is no negative, whatever its wording: nothing in the image
    tells it from the study's own. Such false negatives are counted, and the accuracy is given without them as well.

    Args:
        trainer: Of stage `local`; it draws the negatives, one a study, the same in every call, from its teacher's
            labels or without a teacher from all studies alike.
        studies: Rows with the columns of `VISIBLE` and `box`, in pixels, for each image; with the trainer's teacher's
            embeddings, if it has them in columns.

    Returns:
        `matching_accuracy`: share of pairs told rightly, a positive and a hard negative for each study;
        `false_negatives`: share of the hard negatives; `matching_accuracy_without_false`: of the studies whose negative
        is none of them. Of the transport mass of a finding's words, over the studies with one: `localization_mass`,
        `localization_chance` and `localization_hit`, see `Localization`; `localization_ratio`: mass / chance. NaN where
        no study has a finding.
    """
    visible = list(zip(*(studies[name] for name in VISIBLE), strict=True))
    verdicts, found = [], []
    for batch in _batches(trainer, studies):
        inputs = trainer._prepare_inputs(batch)
        negatives = trainer.draw_hard_negatives(inputs, trainer.teacher_similarities(inputs))
        output = trainer.model(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            hard_negatives=negatives,
        )
        seen = [visible[row] for row in batch["row"].tolist()]
        says_negative = output.matching_logits[0].argmax(dim=1).bool()
        right = (~says_negative[: len(seen)]).tolist(), says_negative[len(seen) :].tolist()
        for positive_right, negative_right, own, other in zip(*right, seen, negatives[:, 0].tolist(), strict=True):
            if other >= 0:
                verdicts.append((positive_right, negative_right, own == seen[other]))
        masks = output.image_token_mask, output.text_token_mask
        cost = transport_cost(output.fused_image_states, output.fused_text_states, *masks)
        plans = transport_plan(cost, *masks, solver=trainer.args.transport_solver)
        of_patches = [plan[patches] for plan, patches in zip(plans, masks[0], strict=True)]
        findings = _findings(of_patches, batch, studies, trainer.processing_class)
        found += [localization(weights, inside) for weights, inside in findings]
    means = mean_localization(found)
    positive, negative, false = np.array(verdicts, dtype=bool).reshape(-1, 3).T
    right = (positive.astype(float) + negative) / 2
    return {
        "matching_accuracy": _mean(right),
        "matching_accuracy_without_false": _mean(right[~false]),
        "false_negatives": _mean(false),
        "localization_mass": means.mass,
        "localization_chance": means.chance,
        "localization_hit": means.hit,
        "localization_ratio": means.mass / means.chance,
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _batches(trainer: BasePreTrainer, studies: Dataset) -> DataLoader:
    """Batches of the studies as evaluation meets them; the model is put into evaluation mode."""
    trainer.model.eval()
    size = trainer.args.per_device_eval_batch_size
    return DataLoader(PretrainingRows(studies), batch_size=size, collate_fn=trainer.evaluation_collator)


def _findings(
    plans: Sequence[torch.Tensor], batch: Mapping[str, torch.Tensor], studies: Dataset, processor: AmifProcessor
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(P,) weights that the finding's words bring to the patches and (P,) bool of those in its box, study by study.

    Of every study whose report, as far as it is read, names a finding. Plans (patches, tokens) are one for each study
    of the batch.
    """
    for place, row in enumerate(batch["row"].tolist()):
        study = studies[row]
        if study["finding"] is None:
            continue
        phrase = processor.encode_reports([study["finding"]])["input_ids"][0, 1:-1]
        words = phrase_positions(batch["input_ids"][place].tolist(), phrase.tolist())
        if words:
            weights = plans[place].cpu().numpy()[:, words].sum(axis=1)
            yield weights, patches_in_box(study["box"][0], study["images"][0].size, math.isqrt(len(weights)))


@torch.no_grad()
def group_localization(trainer: AgaPreTrainer, studies: Dataset) -> dict[str, float]:
    """Whether the patches that the words of a finding gather are those of its box.

    Args:
        trainer: Its model is read, and its choice of similarity and sparsity.
        studies: Rows with the columns of `VISIBLE` and `box`, in pixels, for each image.

    Returns:
        Of the words' weights, over the studies with a finding: `group_mass`, `group_hit` and `group_chance`, see
        `Localization`; `group_hit_of_others`, how often the top patch of another study would have hit, which says what
        is known of where findings lie as such; `group_mass_fixed` and `group_hit_fixed`, the same with the thresholds
        that untrained gates have. NaN where no study has a finding; nothing where words gather by softmax.
    """
    args = trainer.args
    if args.grouping != "threshold":
        return {}
    findings, findings_fixed = [], []
    for batch in _batches(trainer, studies):
        inputs = trainer._prepare_inputs(batch)
        output = trainer.model(**{name: inputs[name] for name in ("pixel_values", "input_ids", "attention_mask")})
        tokens, patches = output.text_tokens, output.image_tokens
        every_patch = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        untrained = fixed_threshold(every_patch).expand_as(output.text_thresholds)
        for kept, thresholds in ((findings, output.text_thresholds), (findings_fixed, untrained)):
            _, weights = gather_groups(tokens, patches, thresholds, None, args.similarity, args.sparsity)
            kept += _findings(list(weights.transpose(1, 2)), batch, studies, trainer.processing_class)
    means, means_fixed = (
        mean_localization([localization(weights, inside) for weights, inside in kept])
        for kept in (findings, findings_fixed)
    )
    # (studies, studies): does the top patch of the second lie in the box of the first?
    tops = [weights.argmax() for weights, _ in findings]
    hits = np.array([inside[tops] for _, inside in findings], dtype=float).reshape(len(tops), len(tops))
    return {
        "group_mass": means.mass,
        "group_hit": means.hit,
        "group_chance": means.chance,
        "group_hit_of_others": _mean(hits[~np.eye(len(tops), dtype=bool)]),
        "group_mass_fixed": means_fixed.mass,
        "group_hit_fixed": means_fixed.hit,
    }


@torch.no_grad()
def words_by_kind(trainer: MpmaPreTrainer, studies: Dataset) -> dict[str, float]:
    """What of an image helps to guess hidden words: each kind apart, with the own image and with another study's.

    Reports repeat themselves: a finding stands in its sentence and in the impression. So all mentions of a kind are
    hidden at once, beside the words that evaluation hides in any case, and the rest of the report is no help to copy.

    Args:
        trainer: It hides patches and words as its evaluation does.
        studies: Rows with the columns of `VISIBLE`.

    Returns:
        For each kind of `VISIBLE`, and for "other", the hidden words that are of no kind: `word_loss_KIND`, mean
        cross-entropy of the kind's tokens in nats, and `word_accuracy_KIND`; `word_loss_KIND_of_other_image` and
        `word_accuracy_KIND_of_other_image` with the image of the next study of the batch. NaN where no study of a batch
        of two or more has such a word.
    """
    found: dict[str, list[torch.Tensor]] = defaultdict(list)
    visible = {kind: studies[kind] for kind in VISIBLE}
    for batch in _batches(trainer, studies):
        inputs = trainer._prepare_inputs(batch)
        inputs |= trainer._hide(inputs)
        ids, drawn = inputs["input_ids"], inputs["hidden_tokens"]
        if len(ids) < 2:
            continue  # no other study's image
        mentions = {}
        for kind, values in visible.items():
            phrases = [values[row] for row in batch["row"].tolist()]
            mentions[kind] = _mentions(phrases, ids, trainer.processing_class)
        asked = mentions | {"other": drawn & ~torch.stack(list(mentions.values())).any(dim=0)}
        for kind, words in asked.items():
            hidden = drawn | words
            for shift, image in ((0, ""), (1, "_of_other_image")):
                images = {name: inputs[name].roll(shift, dims=0) for name in ("pixel_values", "hidden_patches")}
                texts = {"input_ids": ids, "attention_mask": inputs["attention_mask"], "hidden_tokens": hidden}
                logits, targets = trainer.model(**images, **texts).token_logits[words[hidden]].float(), ids[words]
                found[f"word_loss_{kind}{image}"].append(F.cross_entropy(logits, targets, reduction="none"))
                found[f"word_accuracy_{kind}{image}"].append((logits.argmax(dim=-1) == targets).float())
    return {name: _mean(torch.cat(values).cpu().numpy()) for name, values in found.items()}


def _mentions(phrases: Sequence[str | None], input_ids: torch.Tensor, processor: AmifProcessor) -> torch.Tensor:
    """(B, L) bool, True where a token of a report (B, L) belongs to a mention of its phrase, if it has one."""
    found = torch.zeros_like(input_ids, dtype=torch.bool)
    for place, phrase in enumerate(phrases):
        if phrase is not None:
            tokens = processor.encode_reports([phrase])["input_ids"][0, 1:-1]
            found[place, phrase_positions(input_ids[place].tolist(), tokens.tolist())] = True
    return found


def finding_question(study: Study) -> str:
    """The question that names a phantom study's finding, for a model that answers."""
    return f"is there {FINDING_NAMES[study['finding']]}?"


@dataclass(frozen=True)
class FindingLocalization:
    """How well the words that name a finding find its box, by transport and by attention: means over `n` studies."""

    transport: Localization
    attention: Localization
    n: int


def finding_localization(
    model: Model, processor: AmifProcessor, studies: Dataset | Sequence[Study], text: Callable[[Study], str]
) -> FindingLocalization:
    """How well the words that name a finding find its box on the first view.

    Args:
        model: In evaluation mode, with eager attention.
        processor: The model's.
        studies: Rows with `images`, `finding` and `box`, as phantom's for pre-training; those without a finding, or
            whose text does not name it, are left out.
        text: What the model reads of a study: its report, or a question such as `finding_question`.

    Raises:
        ValueError: If no study's text names its finding.
    """
    transport, attention = [], []
    for place in range(len(studies)):
        study: Study = studies[place]
        finding, image = study["finding"], study["images"][0]
        if finding is None:
            continue
        maps = word_maps(model, processor, image, text(study))
        if f" {finding} " in f" {' '.join(maps.words)} ":
            inside = patches_in_box(study["box"][0], image.size, len(maps.transport[0]))
            transport.append(localization(phrase_map(maps.words, maps.transport, finding).ravel(), inside))
            attention.append(localization(phrase_map(maps.words, maps.attention, finding).ravel(), inside))
    if not transport:
        raise ValueError(f"None of {len(studies)} studies has a text that names its finding.")
    return FindingLocalization(mean_localization(transport), mean_localization(attention), len(transport))
