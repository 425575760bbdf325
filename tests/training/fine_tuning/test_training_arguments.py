import pytest

from amif import AmifVqaArguments


def test_paper_defaults(tmp_path):
    args = AmifVqaArguments(output_dir=str(tmp_path))
    assert (args.learning_rate, args.num_train_epochs, args.per_device_train_batch_size) == (2e-5, 60, 64)
    assert (args.weight_decay, args.adam_beta1, args.adam_beta2, args.lr_scheduler_type) == (0.05, 0.9, 0.98, "cosine")
    assert args.optim == "adamw_torch_fused"


@pytest.mark.parametrize("wrong", [0.0, 1.5])
def test_a_layer_decay_that_is_no_share_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"--vision_layer_decay {wrong}: give more than 0 and at most 1"):
        AmifVqaArguments(output_dir=str(tmp_path), vision_layer_decay=wrong)


def test_an_encoder_trained_in_part_is_not_frozen(tmp_path):
    with pytest.raises(ValueError, match="trains none of the vision encoder"):
        AmifVqaArguments(str(tmp_path), freeze_vision_encoder=True, trained_vision_blocks=1)


def test_groups_that_cannot_be_are_refused(tmp_path):
    by_length = {"train_sampling_strategy": "group_by_length"}
    with pytest.raises(ValueError, match="drop one of them"):
        AmifVqaArguments(str(tmp_path), questions_per_image=2, **by_length)
    with pytest.raises(ValueError, match="a step is one batch"):
        AmifVqaArguments(str(tmp_path), **by_length)
