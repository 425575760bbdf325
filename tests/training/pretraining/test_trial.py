import pytest

from amif import AgaForPreTraining
from amif.training.pretraining.trial import TrialArguments, begin_trial
from amif.training.processors import small_processor
from amif.training.small_model import small_pretraining_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    processor = small_processor(["there is a mass", "the chest is normal"], 32)
    small_pretraining_model(processor, 32, model_class=AgaForPreTraining).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def test_a_trial_is_of_the_test_split_unless_another_is_wanted(checkpoint, tmp_path):
    args = {"model_name_or_path": checkpoint, "num_studies": 40, "output_dir": str(tmp_path / "out")}
    trial = begin_trial(TrialArguments(**args, max_eval_samples=3))
    assert (trial.objective, trial.split, len(trial.splits["test"])) == ("aga", "test", 3)
    assert isinstance(trial.model, AgaForPreTraining)
    assert begin_trial(TrialArguments(**args, split="validation")).split == "validation"
    with pytest.raises(ValueError, match="phantom has no split 'dev'"):
        begin_trial(TrialArguments(**args, split="dev"))


def test_a_folder_that_cannot_hold_results_is_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((OSError, ValueError), match="file"):
        begin_trial(TrialArguments(model_name_or_path="nowhere", output_dir=str(tmp_path / "file")))
