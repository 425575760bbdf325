"""What goes with what in pre-training; arguments that change nothing are tested with the script."""

import pytest

from amif.training.pretraining.argument_checks import check_arguments
from amif.training.pretraining.arguments import PretrainingDataArguments, PretrainingModelArguments
from amif.training.pretraining.base_trainer import BasePreTrainingArguments


def test_only_amif_has_a_teacher(tmp_path):
    def check(objective, teacher):
        training_args = BasePreTrainingArguments(output_dir=str(tmp_path), do_train=True)
        model_args, data_args = (
            PretrainingModelArguments(objective=objective),
            PretrainingDataArguments(teacher=teacher),
        )
        check_arguments(model_args, data_args, training_args)

    check("amif", "amif:x")
    check("aga", "none")
    with pytest.raises(ValueError, match="--objective mpma has none"):
        check("mpma", "amif:x")
