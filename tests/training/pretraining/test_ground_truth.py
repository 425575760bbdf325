"""What the figures on ground truth say of models and plans that are right, wrong or blind by construction."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image

from amif import (
    AgaForPreTraining,
    AgaPreTrainer,
    AgaPreTrainingArguments,
    AmifPreTrainer,
    AmifPreTrainingArguments,
    MpmaForPreTraining,
    MpmaPreTrainer,
    MpmaPreTrainingArguments,
)
from amif.modeling_amif.aga_amif import AgaPreTrainingOutput
from amif.modeling_amif.pretraining_amif import AmifPreTrainingOutput
from amif.training.data.phantom.datasets import load_phantom_pretraining
from amif.training.evaluation.localization import patches_in_box
from amif.training.pretraining import ground_truth
from amif.training.pretraining.ground_truth import (
    VISIBLE,
    finding_localization,
    finding_question,
    ground_truth_metrics,
    has_ground_truth,
)
from amif.training.processors import small_processor
from amif.training.reports.word_maps import WordMaps
from amif.training.small_model import small_pretraining_model

IMAGE_SIZE, GRID = 96, 6


@pytest.fixture(scope="module")
def studies() -> Dataset:
    return load_phantom_pretraining(num_studies=500)["test"]


@pytest.fixture
def trainer(tmp_path, studies):
    torch.manual_seed(0)
    processor = small_processor(studies["text"], IMAGE_SIZE)
    args = AmifPreTrainingArguments(
        output_dir=str(tmp_path),
        stage="local",
        per_device_eval_batch_size=50,
        eval_strategy="no",
        load_best_model_at_end=False,
    )
    model = small_pretraining_model(processor, IMAGE_SIZE, num_co_attention_layers=1)
    return AmifPreTrainer(model=model, args=args, processing_class=processor)


def knowing(trainer, studies, tokens_of, matches):
    """Replaces the model's forward by one whose fused tokens and matching logits the test decides."""
    model, rows = trainer.model, iter(range(0, len(studies), trainer.args.per_device_eval_batch_size))

    def forward(pixel_values, input_ids, attention_mask, hard_negatives):
        start = next(rows)
        batch = [studies[start + i] for i in range(len(input_ids))]
        image, text = tokens_of(batch, input_ids)
        negatives = hard_negatives[:, 0].tolist()
        says = [matches(a, a) for a in batch] + [matches(a, batch[j]) for a, j in zip(batch, negatives, strict=True)]
        scores = torch.tensor([[1.0, 0.0] if match else [0.0, 1.0] for match in says])
        patches = torch.ones(len(batch), 1 + GRID * GRID, dtype=torch.bool)
        patches[:, 0] = False
        words = attention_mask.bool() & torch.cat([attention_mask[:, 1:], attention_mask[:, :1] * 0], dim=1).bool()
        words[:, 0] = False
        return AmifPreTrainingOutput(
            fused_image_states=image,
            fused_text_states=text,
            image_token_mask=patches,
            text_token_mask=words,
            matching_logits=torch.stack([scores] * 3),
        )

    model.forward = forward


def pointing_tokens(trainer, right: bool):
    """Tokens with which the words of a finding are alike the patches of its box, or all the others."""
    tokenizer = trainer.processing_class.tokenizer

    def tokens_of(batch, input_ids):
        image, text = torch.zeros(len(batch), 37, 2), torch.zeros(*input_ids.shape, 2)
        image[..., 1], text[..., 1] = 1.0, 1.0
        for place, study in enumerate(batch):
            if study["finding"] is None:
                continue
            x0, y0, x1, y1 = study["box"][0]
            for patch in range(GRID * GRID):
                left, top = 16 * (patch % GRID), 16 * (patch // GRID)
                touches = left < x1 and left + 16 > x0 and top < y1 and top + 16 > y0
                if touches == right:
                    image[place, 1 + patch] = torch.tensor([1.0, 0.0])
            named = torch.isin(input_ids[place], tokenizer(study["finding"], return_tensors="pt")["input_ids"][0, 1:-1])
            text[place, named] = torch.tensor([1.0, 0.0])
        return image, text

    return tokens_of


def seen(study):
    return tuple(study[name] for name in VISIBLE)


def test_who_sees_everything_fails_on_false_negatives_alone(trainer, studies):
    # Studies without a finding are alike but for modality, plane and region, so some negatives are false.
    normal = studies.filter(lambda finding: finding is None, input_columns="finding")
    knowing(trainer, normal, pointing_tokens(trainer, True), lambda a, b: seen(a) == seen(b))
    metrics = ground_truth_metrics(trainer, normal)
    assert metrics["matching_accuracy_without_false"] == 1.0
    assert 0 < metrics["false_negatives"] < 0.5
    assert metrics["matching_accuracy"] == pytest.approx(1 - metrics["false_negatives"] / 2)


def test_who_always_says_yes_is_at_chance(trainer, studies):
    knowing(trainer, studies, pointing_tokens(trainer, True), lambda a, b: True)
    metrics = ground_truth_metrics(trainer, studies)
    assert metrics["matching_accuracy"] == metrics["matching_accuracy_without_false"] == 0.5


def test_words_that_are_like_their_box_go_there(trainer, studies):
    knowing(trainer, studies, pointing_tokens(trainer, True), lambda a, b: True)
    metrics = ground_truth_metrics(trainer, studies)
    assert metrics["localization_mass"] > 0.7
    # Words that bring more mass than the patches of the box take send as much to a patch beside it.
    assert metrics["localization_hit"] > 0.8
    assert metrics["localization_ratio"] > 4
    knowing(trainer, studies, pointing_tokens(trainer, False), lambda a, b: True)
    metrics = ground_truth_metrics(trainer, studies)
    assert metrics["localization_mass"] == metrics["localization_ratio"] == metrics["localization_hit"] == 0
    assert 0.05 < metrics["localization_chance"] < 0.3


def test_a_model_is_measured_the_same_in_every_call_and_whatever_the_batch(trainer, studies):
    first = ground_truth_metrics(trainer, studies)
    assert first == ground_truth_metrics(trainer, studies)
    trainer.args.per_device_eval_batch_size = 7
    smaller = ground_truth_metrics(trainer, studies)
    assert smaller["localization_chance"] == pytest.approx(first["localization_chance"])
    assert smaller["localization_mass"] == pytest.approx(first["localization_mass"], abs=1e-4)


def test_only_studies_of_ground_truth_are_measured(studies):
    assert has_ground_truth(studies)
    assert not has_ground_truth(studies.remove_columns("box"))


def test_normal_studies_have_no_localization(trainer, studies):
    normal = studies.filter(lambda row: row["finding"] is None)
    assert np.isnan(ground_truth_metrics(trainer, normal)["localization_ratio"])


@pytest.fixture
def grouping(tmp_path, studies, trainer):
    """An AGA trainer whose model's tokens and thresholds the test decides: `tokens_of` as for `knowing`."""
    processor = trainer.processing_class
    args = AgaPreTrainingArguments(
        output_dir=str(tmp_path), per_device_eval_batch_size=50, eval_strategy="no", load_best_model_at_end=False
    )
    model = small_pretraining_model(processor, IMAGE_SIZE, model_class=AgaForPreTraining)
    grouping_trainer = AgaPreTrainer(model=model, args=args, processing_class=processor)

    def measure(tokens_of, threshold):
        starts = iter(range(0, len(studies), args.per_device_eval_batch_size))

        def forward(pixel_values, input_ids, attention_mask):
            start = next(starts)
            image, text = tokens_of([studies[start + i] for i in range(len(input_ids))], input_ids)
            thresholds = torch.full(input_ids.shape, threshold)
            return AgaPreTrainingOutput(image_tokens=image[:, 1:], text_tokens=text, text_thresholds=thresholds)

        model.forward = forward
        return ground_truth_metrics(grouping_trainer, studies)

    return measure


def test_words_that_gather_their_box_hit_it_and_others_do_not(trainer, grouping, studies):
    metrics = grouping(pointing_tokens(trainer, True), 0.5)
    assert metrics["group_hit"] == metrics["group_hit_fixed"] == 1
    assert metrics["group_mass"] == pytest.approx(1)
    boxes = [patches_in_box(study["box"][0], study["images"][0].size, GRID) for study in studies if study["finding"]]
    assert metrics["group_chance"] == pytest.approx(np.mean([box.mean() for box in boxes]))
    # A top patch is the first of its box's: all are equally alike to the words.
    pairs = [(i, j) for i in range(len(boxes)) for j in range(len(boxes)) if i != j]
    expected = np.mean([boxes[j][boxes[i].argmax()] for i, j in pairs])
    assert metrics["group_hit_of_others"] == pytest.approx(expected)
    metrics = grouping(pointing_tokens(trainer, False), 0.5)
    assert metrics["group_mass"] == metrics["group_hit"] == 0


def test_a_high_threshold_cuts_off_what_untrained_gates_let_in(trainer, grouping):
    def blurred(batch, input_ids):
        image, text = pointing_tokens(trainer, True)(batch, input_ids)
        ramp = torch.linspace(0, 0.5, image.shape[1]).view(1, -1, 1)
        return image + ramp * text.amax(dim=1, keepdim=True), text

    metrics = grouping(blurred, 0.9)
    assert metrics["group_mass"] > metrics["group_mass_fixed"] + 0.2
    assert metrics["group_hit"] == metrics["group_hit_fixed"] == 1


@pytest.fixture(scope="module")
def masking(tmp_path_factory, studies):
    """An MPMA trainer of a new model."""
    torch.manual_seed(0)
    processor = small_processor(studies["text"], IMAGE_SIZE)
    args = MpmaPreTrainingArguments(
        output_dir=str(tmp_path_factory.mktemp("mpma")),
        per_device_eval_batch_size=4,
        eval_strategy="no",
        load_best_model_at_end=False,
    )
    model = small_pretraining_model(processor, IMAGE_SIZE, 32, MpmaForPreTraining, memory_size=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # a new model hardly tells images apart
    return MpmaPreTrainer(model=model, args=args, processing_class=processor)


@torch.no_grad()
def test_hidden_words_of_each_kind_cost_what_a_loop_over_studies_finds(masking, studies):
    few = studies.select(range(9))
    metrics = ground_truth_metrics(masking, few)
    tokenizer, names = masking.processing_class.tokenizer, [*VISIBLE, "other"]
    rows = {(name, image): [] for name in names for image in ("", "_of_other_image")}
    for batch in (range(4), range(4, 8)):  # the ninth stands alone, without another study's image
        inputs = masking.evaluation_collator([{**few[row], "row": row, "epoch": 0} for row in batch])
        inputs |= masking._hide(inputs)
        for place, row in enumerate(batch):
            ids = inputs["input_ids"][place : place + 1]
            pieces = tokenizer.convert_ids_to_tokens(ids[0].tolist())
            kinds = ["other"] * len(pieces)
            for name in VISIBLE:
                phrase = tokenizer.tokenize((few[row][name] or "nothing").replace("-", " "))
                for start in range(len(pieces)):
                    if pieces[start : start + len(phrase)] == phrase:
                        kinds[start : start + len(phrase)] = [name] * len(phrase)
            for name in names:
                of_kind = torch.tensor([[kind == name for kind in kinds]])
                hidden = inputs["hidden_tokens"][place : place + 1].clone()
                hidden |= of_kind & (name != "other")
                for image, other in (("", place), ("_of_other_image", (place - 1) % 4)):
                    logits = masking.model(
                        pixel_values=inputs["pixel_values"][other : other + 1],
                        hidden_patches=inputs["hidden_patches"][other : other + 1],
                        input_ids=ids,
                        attention_mask=inputs["attention_mask"][place : place + 1],
                        hidden_tokens=hidden,
                    ).token_logits
                    places = hidden[0].nonzero()[:, 0].tolist()
                    for scores, token in zip(logits.log_softmax(dim=1), places, strict=True):
                        if kinds[token] == name:
                            right = scores.argmax() == ids[0, token]
                            rows[name, image].append((-scores[ids[0, token]].item(), float(right)))
    for (name, image), found in rows.items():
        loss, accuracy = np.mean(found, axis=0)
        assert metrics[f"word_loss_{name}{image}"] == pytest.approx(loss, rel=1e-4), (name, image)
        assert metrics[f"word_accuracy_{name}{image}"] == pytest.approx(accuracy), (name, image)
    assert all(metrics[f"word_loss_{name}"] != metrics[f"word_loss_{name}_of_other_image"] for name in names)


def test_other_models_and_no_truth_are_not_measured(trainer, studies):
    assert ground_truth_metrics(trainer, studies.remove_columns("box")) == {}
    trainer.args.stage = "global"
    assert ground_truth_metrics(trainer, studies).keys() == {
        "rank_correlation_text_text",
        "rank_correlation_image_text",
    }


def test_embeddings_of_what_is_seen_rank_as_it_overlaps(trainer, studies, monkeypatch):
    values = sorted({value for study in studies for value in seen(study) if value is not None})
    told = torch.tensor([[float(value in seen(study)) for value in values] for study in studies])
    for images, expected in ((told, 0.9), (told.roll(1, dims=0), 0.0)):
        embeds = [torch.nn.functional.normalize(rows, dim=1) for rows in (images, told)]
        monkeypatch.setattr(ground_truth, "embed_pairs", lambda *_, embeds=embeds: embeds)
        metrics = ground_truth.rank_correlations(trainer, studies)
        assert metrics["rank_correlation_text_text"] > 0.9
        assert metrics["rank_correlation_image_text"] == pytest.approx(expected, abs=0.1)


def study(finding, box):
    return {"images": [Image.new("L", (40, 40))], "finding": finding, "box": [box, None], "text": f"a {finding} left"}


def test_masses_and_hits_by_hand(monkeypatch):
    """A 2 x 2 grid on 40 pixels: the first box is the upper left patch, the second the lower half."""
    cyst, rest = np.array([[0.4, 0.3], [0.2, 0.1]]), np.full((2, 2), 0.25)

    def maps(model, processor, image, text):
        words = text.replace("?", "").split()
        planned = [cyst if word in ("cyst", "mass") else rest for word in words]
        return WordMaps(words, planned, [values[::-1] for values in planned], planned[0])

    monkeypatch.setattr(ground_truth, "word_maps", maps)
    studies = [study("cyst", [0, 0, 20, 20]), study("mass", [0, 20, 40, 40]), study(None, None)]
    found = finding_localization(None, None, studies, lambda one: one["text"])
    assert found.n == 2
    chance = (0.25 + 0.5) / 2
    assert asdict(found.transport) == pytest.approx({"mass": (0.4 + 0.3) / 2, "hit": 0.5, "chance": chance})
    assert asdict(found.attention) == pytest.approx({"mass": (0.2 + 0.7) / 2, "hit": 0.5, "chance": chance})
    with pytest.raises(ValueError, match="None of 3 studies"):
        finding_localization(None, None, studies, lambda one: "nothing")


def test_the_question_names_the_finding():
    assert finding_question({"finding": "free air"}) == "is there free air?"
    assert finding_question({"finding": "mass"}) == "is there a mass?"
