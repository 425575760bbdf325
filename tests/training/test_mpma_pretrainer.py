import math

import pytest
import torch
from small_models import small_config, small_processor
from torch.testing import assert_close

from amif import MpmaConfig, MpmaForPreTraining, MpmaPreTrainer, MpmaPreTrainingArguments
from amif.training.data import StrongAugmentation, load_pretraining_dataset
from amif.training.losses import image_reconstruction_loss, info_nce, local_alignment, report_reconstruction_loss

OWN = {"alignment_size": 16, "memory_size": 6, "num_fusion_layers": 1, "mask_token_id": 103}
OWN |= {"image_decoder_layers": 1, "image_decoder_size": 16, "image_decoder_heads": 2}


def small_mpma(**changes):
    torch.manual_seed(0)
    model = MpmaForPreTraining(MpmaConfig(**small_config().to_dict() | OWN | changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "temperature" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def batch(studies=4):
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(9) < torch.tensor([9, 7, 8, 6])[:studies, None]).long()
    return {
        "pixel_values": torch.randn(studies, 3, 32, 32, generator=generator),
        "input_ids": torch.randint(3, 100, (studies, 9), generator=generator) * mask,
        "attention_mask": mask,
        "text_group": torch.arange(studies),
        "continued": torch.zeros(studies, 9, dtype=torch.bool),
    }


def trainer(folder, model=None, studies=None, augmentation=None, **arguments):
    evaluates = {} if studies else {"eval_strategy": "no", "load_best_model_at_end": False}
    args = MpmaPreTrainingArguments(
        output_dir=str(folder), report_to="none", disable_tqdm=True, **(evaluates | arguments)
    )
    data = {"train_dataset": studies["train"], "eval_dataset": studies["validation"]} if studies else {}
    return MpmaPreTrainer(
        model=model or small_mpma(), args=args, processing_class=small_processor(), augmentation=augmentation, **data
    )


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


@pytest.fixture(scope="module")
def studies():
    return load_pretraining_dataset("phantom", num_studies=60, image_size=32)


SCHEDULE = {"num_train_epochs": 2, "per_device_train_batch_size": 14, "learning_rate": 1e-3, "logging_steps": 2}


def test_studies_train_evaluate_and_log_every_term(tmp_path, studies):
    run = trainer(tmp_path, studies=studies, **SCHEDULE)
    run.train()
    logged = next(entry for entry in run.state.log_history if "loss" in entry)
    parts = ("image_reconstruction", "report_reconstruction", "local_alignment")
    weighted = (logged["i2t"] + logged["t2i"]) / 2 + sum(logged[name] for name in parts)
    assert logged["loss"] == pytest.approx(weighted, rel=1e-3)
    assert all(math.isfinite(logged[name]) for name in ("report_accuracy", "temperature_1", "recall_i2t"))
    metrics = run.evaluate()
    assert metrics["eval_recall_t2i@10"] == 1.0, "six studies"
    assert {"eval_report_reconstruction_of_other_image", "eval_report_accuracy_of_other_image"} <= metrics.keys()


def test_resumed_run_ends_with_the_weights_of_the_uninterrupted_one(tmp_path, studies):
    options = SCHEDULE | {"save_strategy": "steps", "save_steps": 2, "save_total_limit": None}
    options |= {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": False}
    augmentation = StrongAugmentation(32, seed=0)
    whole = trainer(tmp_path, small_mpma(), studies, augmentation, **options)
    whole.train()
    resumed = trainer(tmp_path, small_mpma(), studies, augmentation, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert_close(value, expected[name], rtol=0, atol=1e-6, msg=name)


def test_unknown_choices_and_ratios_are_refused(tmp_path):
    with pytest.raises(ValueError, match="masking='single'"):
        MpmaPreTrainingArguments(output_dir=str(tmp_path), masking="single")
    with pytest.raises(ValueError, match="0 to below 1"):
        MpmaPreTrainingArguments(output_dir=str(tmp_path), image_mask_ratio=1.0)
