import math

import pytest
import torch
from pretraining_runs import SCHEDULE, check_resumes, pretrainer, small_studies, spread_weights, study_batch
from small_models import small_config
from torch.testing import assert_close

from amif import AgaConfig, AgaForPreTraining, AgaPreTrainingArguments
from amif.training.losses import cross_group_alignment, gather_groups, group_alignment, pooled_groups, read_across


def small_aga(gate="per_item", **changes):
    torch.manual_seed(0)
    config = AgaConfig(**small_config(**changes).to_dict() | {"alignment_size": 16, "gate": gate})
    return spread_weights(AgaForPreTraining(config))


def batch():
    return study_batch((7, 5, 6, 4))


def trainer(folder, model=None, **options):
    return pretrainer("aga", folder, model or small_aga(), **options)


def info_nce_by_hand(images, texts, temperature=0.07):
    images, texts = (torch.nn.functional.normalize(side, dim=-1) for side in (images, texts))
    logits = images @ texts.T / temperature
    return -(logits.log_softmax(1).diag().mean() + logits.log_softmax(0).diag().mean()).item() / 2


@torch.no_grad()
def test_the_loss_is_the_weighted_sum_of_its_three_parts(tmp_path):
    model, inputs = small_aga(), batch()
    run = trainer(tmp_path, model, global_weight=0.5, group_weight=2.0, cross_group_weight=3.0)
    loss, output = run.compute_loss(model, inputs, return_outputs=True)
    text, image, words = output.text_tokens, output.image_tokens, output.text_token_mask
    image_groups, _ = gather_groups(text, image, output.text_thresholds)
    text_groups, _ = gather_groups(image, text, output.image_thresholds, words)
    expected = 0.5 * info_nce_by_hand(output.image_embeds[0], output.text_embeds)
    expected += 2 * group_alignment(text, image, image_groups, text_groups, 0.07, words).item()
    expected += 3 * cross_group_alignment(image_groups, text_groups, 0.07, words).item()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_each_ablation_changes_what_it_names(tmp_path):
    model, inputs = small_aga(), batch()

    def loss(**arguments):
        run = trainer(tmp_path, model, global_weight=0.0, **arguments)
        value, output = run.compute_loss(model, inputs, return_outputs=True)
        return value.item(), output

    full, output = loss()
    text, image, words = output.text_tokens, output.image_tokens, output.text_token_mask
    image_groups, _ = gather_groups(text, image, output.text_thresholds)
    text_groups, _ = gather_groups(image, text, output.image_thresholds, words)

    def instance(*groups, negatives="in_pair"):
        return group_alignment(text, image, *groups, 0.07, words, negatives).item()

    cross = cross_group_alignment(image_groups, text_groups, 0.07, words).item()
    both = instance(image_groups, text_groups)
    assert full == pytest.approx(both + cross, rel=1e-5)
    assert loss(directions="text")[0] == pytest.approx(instance(image_groups, None), rel=1e-5)
    assert loss(directions="image")[0] == pytest.approx(instance(None, text_groups), rel=1e-5)
    assert loss(group_weight=0.0)[0] == pytest.approx(cross, rel=1e-5)
    assert loss(cross_group_weight=0.0)[0] == pytest.approx(both, rel=1e-5)
    outside = instance(image_groups, text_groups, negatives="batch")
    assert loss(negatives="batch")[0] == pytest.approx(outside + cross, rel=1e-5)
    pooled = info_nce_by_hand(pooled_groups(image_groups, words), pooled_groups(text_groups))
    assert loss(cross_groups="pooled")[0] == pytest.approx(both + pooled, rel=1e-5)
    softmax = read_across(text, image, 0.1), read_across(image, text, 0.1, words)
    expected = instance(*softmax) + cross_group_alignment(*softmax, 0.07, words).item()
    assert loss(grouping="softmax")[0] == pytest.approx(expected, rel=1e-5)
    options = ("inner", "soft"), ("inner", "shrink"), ("cosine", "ste")
    for similarity, sparsity in options:
        groups = (
            gather_groups(text, image, output.text_thresholds, None, similarity, sparsity)[0],
            gather_groups(image, text, output.image_thresholds, words, similarity, sparsity)[0],
        )
        expected = instance(*groups) + cross_group_alignment(*groups, 0.07, words).item()
        assert loss(similarity=similarity, sparsity=sparsity)[0] == pytest.approx(expected, rel=1e-5)


def test_without_local_losses_only_whole_studies_are_aligned(tmp_path):
    model = small_aga()
    run = trainer(tmp_path, model, group_weight=0.0, cross_group_weight=0.0)
    run.compute_loss(model, batch()).backward()
    assert model.text_adaptor.weight.grad is None
    assert model.model.text_projection.weight.grad.norm() > 0


def test_frozen_encoders_stay_and_what_stands_on_them_learns(tmp_path):
    model = small_aga()
    trainer(tmp_path, model, freeze_encoders=True).compute_loss(model, batch()).backward()
    learns = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert learns == {name for name in model.state_dict() if not name.startswith(("model.vision_", "model.text_model"))}


def test_gates_learn_unless_groups_are_cut_hard_or_softly_weighted(tmp_path):
    for arguments in ({}, {"sparsity": "soft"}, {"sparsity": "shrink"}):
        model = small_aga()
        trainer(tmp_path, model, **arguments).compute_loss(model, batch()).backward()
        assert model.language_gate.contract.weight.grad.norm() > 0
        assert model.vision_gate.expand.weight.grad.norm() > 0
    for arguments in ({"sparsity": "hard"}, {"grouping": "softmax"}):
        model = small_aga()
        trainer(tmp_path, model, **arguments).compute_loss(model, batch()).backward()
        assert model.language_gate.contract.weight.grad is None


def test_local_losses_of_a_pair_do_not_hear_of_other_pairs_and_the_global_loss_does(tmp_path):
    """With the global loss off, a study's share of the gradient is the same beside any other studies."""

    def gradients(**weights):
        found = []
        for change in (False, True):
            inputs = batch()
            if change:
                inputs["pixel_values"][1:] = torch.randn(3, 3, 32, 32)
                inputs["input_ids"][1:] = inputs["input_ids"][1:].flip(0) * inputs["attention_mask"][1:]
            inputs["pixel_values"].requires_grad_()
            model = small_aga()
            trainer(tmp_path, model, **weights).compute_loss(model, inputs).backward()
            found.append(inputs["pixel_values"].grad[0])
        return found

    assert_close(*gradients(global_weight=0.0), atol=1e-7, rtol=1e-4)
    first, second = gradients(group_weight=0.0, cross_group_weight=0.0)
    assert (first - second).abs().max() > 0.01 * first.abs().max()


def test_studies_train_evaluate_and_log_every_term(tmp_path):
    run = trainer(tmp_path, studies=small_studies(), **SCHEDULE)
    run.train()
    logged = next(entry for entry in run.state.log_history if "loss" in entry)
    weighted = (logged["i2t"] + logged["t2i"]) / 2 + logged["group_alignment"] + logged["cross_group_alignment"]
    assert logged["loss"] == pytest.approx(weighted, rel=1e-3)
    figures = ("threshold", "group_size", "group_accuracy")
    health = [f"{figure}_{side}" for figure in figures for side in ("text", "image")]
    assert all(math.isfinite(logged[name]) for name in [*health, "temperature_1", "temperature_2", "recall_i2t"])
    metrics = run.evaluate()
    assert metrics["eval_recall_t2i@10"] == 1.0, "six studies"
    assert {"eval_loss", "eval_group_alignment", "eval_recall_i2t@1"} <= metrics.keys()
    assert all("log_temperatures" not in name for name in run.get_decay_parameter_names(run.model))


def test_resumed_run_ends_with_the_weights_of_the_uninterrupted_one(tmp_path):
    check_resumes("aga", tmp_path, small_aga)


def test_unknown_choices_and_missing_groups_are_refused(tmp_path):
    with pytest.raises(ValueError, match="sparsity='none'"):
        AgaPreTrainingArguments(output_dir=str(tmp_path), sparsity="none")
    with pytest.raises(ValueError, match="set cross_group_weight to 0"):
        AgaPreTrainingArguments(output_dir=str(tmp_path), directions="text", cross_group_weight=1.0)
