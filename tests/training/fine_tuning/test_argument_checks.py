"""What goes with what in fine-tuning and evaluating; arguments that change nothing are tested with the script."""

import pytest
from small_models import small_model
from small_runs import build_processor

from amif import AmifVqaArguments
from amif.training.fine_tuning.argument_checks import check_arguments
from amif.training.fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from amif.training.small_model import small_pretraining_model


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    small_model(knowledge=7).save_pretrained(folder)
    build_processor().save_pretrained(folder)
    return folder


def test_what_cannot_be_evaluated_is_refused_before_anything_is_loaded(checkpoint, tmp_path):
    def check(name, output_dir, do_train=False):
        model_args = VqaModelArguments(model_name_or_path=name and str(name))
        training_args = AmifVqaArguments(output_dir=str(output_dir), do_train=do_train)
        check_arguments(model_args, FineTuningDataArguments(), training_args)

    pretrained = tmp_path / "pretrained"
    small_pretraining_model(build_processor(), 32).save_pretrained(pretrained)
    wanted = "--do_train false evaluates a checkpoint: name one as --model_name_or_path"
    for name, message in ((None, wanted), (pretrained, "is a pre-training checkpoint: .* evaluates one that answers")):
        check(name, tmp_path / "out", do_train=True)
        with pytest.raises(ValueError, match=message):
            check(name, tmp_path / "out")
    check(checkpoint, tmp_path / "out")
    with pytest.raises(ValueError, match=r"is the checkpoint itself, whose metrics, .* give another folder"):
        check(checkpoint, checkpoint / ".")
    for wrong in ({"protocol": "cleen"}, {"ablate_image": "black"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong.values()))}: it is one of"):
            FineTuningDataArguments(**wrong)
    with pytest.raises(ValueError, match="compares with the real images: leave out --ablate_image"):
        FineTuningDataArguments(ablate_image="shuffle", grounding_shuffles=3)
