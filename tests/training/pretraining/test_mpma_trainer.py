import math

import pytest
import torch
from pretraining_runs import SCHEDULE, check_resumes, pretrainer, small_studies, spread_weights, study_batch
from small_models import small_config
from torch.testing import assert_close

from amif import MpmaConfig, MpmaForPreTraining, MpmaPreTrainingArguments
from amif.training.losses import (
    hide_patches,
    image_reconstruction_loss,
    info_nce,
    local_alignment,
    report_reconstruction_loss,
)

OWN = {"alignment_size": 16, "memory_size": 6, "num_fusion_layers": 1, "mask_token_id": 103}

OWN |= {"image_decoder_layers": 1, "image_decoder_size": 16, "image_decoder_heads": 2}

FORWARD = ("pixel_values", "input_ids", "attention_mask", "hidden_patches", "hidden_tokens")


def small_mpma(**changes):
    torch.manual_seed(0)
    return spread_weights(MpmaForPreTraining(MpmaConfig(**small_config().to_dict() | OWN | changes)))


def batch():
    return study_batch((9, 7, 8, 6), word_pieces=True)


def trainer(folder, model=None, **options):
    return pretrainer("mpma", folder, model or small_mpma(), **options)


@torch.no_grad()
@pytest.mark.parametrize("aligned_view", ["masked", "full"])
@pytest.mark.parametrize("negatives", ["in_pair", "batch"])
def test_the_loss_is_the_weighted_sum_of_its_four_parts(tmp_path, aligned_view, negatives):
    model, inputs = small_mpma(), batch()
    weights = {"image_weight": 0.5, "report_weight": 2.0, "global_weight": 3.0, "local_weight": 4.0}
    run = trainer(tmp_path, model, **weights, aligned_view=aligned_view, negatives=negatives)
    inputs |= run._hide(inputs)
    loss, output = run.compute_loss(model, inputs, return_outputs=True)
    pixels, ids = inputs["pixel_values"], inputs["input_ids"]
    expected = 0.5 * image_reconstruction_loss(output.patch_predictions, pixels, inputs["hidden_patches"])
    expected += 2 * report_reconstruction_loss(output.token_logits, ids, inputs["hidden_tokens"])
    expected += 3 * sum(info_nce(output.image_embeds[0] @ output.text_embeds.T, 0.07)) / 2
    masks = output.text_token_mask
    expected += 4 * local_alignment(output.image_tokens, output.text_tokens, masks, 0.1, negatives)
    assert_close(loss, expected)
    assert output.image_tokens.shape[1] == (4 if aligned_view == "masked" else 16)


@torch.no_grad()
def test_both_are_hidden_as_a_pair_or_in_turns(tmp_path):
    inputs, model = batch(), small_mpma().train()
    pair = trainer(tmp_path, model)._hide(inputs)
    assert pair["hidden_patches"].sum(dim=1).tolist() == [12] * 4
    assert (pair["hidden_tokens"].sum(dim=1) >= (inputs["attention_mask"].sum(dim=1) - 2) / 2).all()
    run = trainer(tmp_path, model, masking="alternating")
    for step in range(4):
        run.state.global_step = step
        hidden = run._hide(inputs)
        assert hidden["hidden_patches"].any() == (step % 2 == 0)
        assert hidden["hidden_tokens"].any() == (step % 2 == 1)
        assert run.compute_loss(model, inputs).isfinite()


@torch.no_grad()
def test_evaluation_hides_the_same_and_leaves_the_random_state(tmp_path):
    run = trainer(tmp_path)
    state = torch.get_rng_state()
    first, second = run._hide(batch()), run._hide(batch())
    assert torch.equal(first["hidden_patches"], second["hidden_patches"])
    assert torch.equal(first["hidden_tokens"], second["hidden_tokens"])
    assert torch.equal(state, torch.get_rng_state())
    run.model.train()
    assert not torch.equal(run._hide(batch())["hidden_patches"], run._hide(batch())["hidden_patches"])


@torch.no_grad()
def test_retrieval_is_among_whole_images_and_reports(tmp_path):
    model, inputs = small_mpma(), batch()
    _, (images, texts), _ = trainer(tmp_path, model).prediction_step(model, inputs, False)
    assert_close(images, model.embed_images(inputs["pixel_values"]))
    assert_close(texts, model.embed_texts(inputs["input_ids"], inputs["attention_mask"]))


def test_studies_train_evaluate_and_log_every_term(tmp_path):
    run = trainer(tmp_path, studies=small_studies(), **SCHEDULE)
    run.train()
    logged = next(entry for entry in run.state.log_history if "loss" in entry)
    parts = ("image_reconstruction", "report_reconstruction", "local_alignment")
    weighted = (logged["i2t"] + logged["t2i"]) / 2 + sum(logged[name] for name in parts)
    assert logged["loss"] == pytest.approx(weighted, rel=1e-3)
    assert all(math.isfinite(logged[name]) for name in ("report_accuracy", "temperature_1", "recall_i2t"))
    metrics = run.evaluate()
    assert metrics["eval_recall_t2i@10"] == 1.0, "six studies"
    assert {"eval_report_reconstruction_of_other_image", "eval_report_accuracy_of_other_image"} <= metrics.keys()


@torch.no_grad()
def test_evaluation_also_reads_each_report_beside_another_studys_image(tmp_path, monkeypatch):
    model, inputs = small_mpma().eval(), batch()
    run, kept = trainer(tmp_path, model), {}
    monkeypatch.setattr(run, "_keep", kept.update)
    run.compute_loss(model, inputs)
    hidden = inputs | run._hide(inputs)
    others = hidden | {name: hidden[name][[3, 0, 1, 2]] for name in ("pixel_values", "hidden_patches")}
    for name, read in (("report_reconstruction", hidden), ("report_reconstruction_of_other_image", others)):
        logits = model(**{key: value for key, value in read.items() if key in FORWARD}).token_logits
        assert_close(kept[name], report_reconstruction_loss(logits, inputs["input_ids"], hidden["hidden_tokens"]))
    assert kept["report_reconstruction"] != kept["report_reconstruction_of_other_image"]


def test_resumed_run_ends_with_the_weights_of_the_uninterrupted_one(tmp_path):
    check_resumes("mpma", tmp_path, small_mpma)


# 3.6.8: does the image help to reconstruct what only it tells?
COLOURS, GRID, LENGTH = 4, 4, 7


def coloured_quarters(pairs, seed):
    """Images of which one quarter has a colour, and reports that name colour and quarter among other words.

    Of the report the colour is hidden, of the image half of the patches.
    """
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randint(COLOURS, (pairs,), generator=generator)
    quarters = torch.randint(4, (pairs,), generator=generator)
    pixels = torch.zeros(pairs, 3, 32, 32)
    palette = torch.tensor([[2.0, -2, -2], [-2, 2, -2], [-2, -2, 2], [2, 2, -2]])
    for pair in range(pairs):
        row, column = 16 * (quarters[pair] // 2), 16 * (quarters[pair] % 2)
        pixels[pair, :, row : row + 16, column : column + 16] = palette[colours[pair], :, None, None]
    ids = torch.randint(40, 60, (pairs, LENGTH), generator=generator)
    ids[:, 0], ids[:, -1], ids[:, 2], ids[:, 4] = 101, 102, 10 + colours, 20 + quarters
    hidden = torch.zeros(pairs, LENGTH, dtype=torch.bool)
    hidden[:, 2] = True
    return {
        "pixel_values": pixels + 0.1 * torch.randn(pixels.shape, generator=generator),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "hidden_patches": hide_patches(pairs, GRID * GRID, 0.5, generator),
        "hidden_tokens": hidden,
    }


def trained_on_quarters(fusion, steps):
    """Loss and accuracy of the hidden word of unseen pairs, with their own images and with those of other pairs."""
    torch.manual_seed(0)
    model = MpmaForPreTraining(MpmaConfig(**small_config().to_dict() | OWN | {"fusion": fusion})).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.99))
    for step in range(steps):
        batch = coloured_quarters(32, seed=step)
        output = model(**batch)
        loss = report_reconstruction_loss(output.token_logits, batch["input_ids"], batch["hidden_tokens"])
        loss += image_reconstruction_loss(output.patch_predictions, batch["pixel_values"], batch["hidden_patches"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    unseen, figures = coloured_quarters(200, seed=10_000), []
    for shift in (0, 1):
        images = {name: unseen[name].roll(shift, dims=0) for name in ("pixel_values", "hidden_patches")}
        with torch.no_grad():
            logits = model(**unseen | images).token_logits
        expected = unseen["input_ids"][unseen["hidden_tokens"]]
        loss = report_reconstruction_loss(logits, unseen["input_ids"], unseen["hidden_tokens"]).item()
        figures.append((loss, (logits.argmax(dim=-1) == expected).float().mean().item()))
    return figures


def test_8_the_own_image_tells_the_hidden_word_unless_fusion_is_off():
    (own, accuracy), (other, accuracy_of_other) = trained_on_quarters("attention", steps=100)
    assert own < 0.5 * math.log(4) < math.log(4) < other
    assert accuracy > 0.8
    assert accuracy_of_other < 0.4
    (own, accuracy), (other, accuracy_of_other) = trained_on_quarters("none", steps=50)
    assert own == other
    assert own > 0.95 * math.log(4)
    assert accuracy == accuracy_of_other < 0.4


def test_unknown_choices_and_ratios_are_refused(tmp_path):
    with pytest.raises(ValueError, match="masking='single'"):
        MpmaPreTrainingArguments(output_dir=str(tmp_path), masking="single")
    with pytest.raises(ValueError, match="0 to below 1"):
        MpmaPreTrainingArguments(output_dir=str(tmp_path), image_mask_ratio=1.0)
