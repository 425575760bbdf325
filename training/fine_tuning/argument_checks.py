"""Whether the arguments of a run go with each other, said before anything is computed."""

from ..checkpoints.model_files import check_evaluated_checkpoint, check_model, is_pretrained_only
from ..checkpoints.stream_progress import check_stream_arguments
from .arguments import FineTuningDataArguments, VqaModelArguments
from .training_arguments import AmifVqaArguments

# What an evaluation measures checkpoints by: it gives answers, and computes no loss.
METRIC = "accuracy"


def check_arguments(
    model_args: VqaModelArguments, data_args: FineTuningDataArguments, training_args: AmifVqaArguments
) -> None:
    """Make sure that a run can do what it is asked for.

    Raises:
        ValueError: If a stream shall be trained on without end; nothing is trained, and there is no checkpoint that
            answers or its folder would be written to; checkpoints are chosen by what is not measured, or early
            stopping has no evaluations to wait for; or what answers select of knowledge is measured and none fused.
        FileNotFoundError: If the checkpoint is none.
    """
    name, trains = model_args.model_name_or_path, training_args.do_train
    if data_args.streaming:
        check_stream_arguments(training_args)
    if name is not None:
        check_model(name)
    if not trains:
        check_evaluated_checkpoint(name, training_args.output_dir)
        if name is not None and is_pretrained_only(name):
            raise ValueError(f"{name} is a pre-training checkpoint: --do_train false evaluates one that answers.")
    if trains and data_args.early_stopping_patience is not None and training_args.eval_strategy == "no":
        raise ValueError(
            f"--early_stopping_patience {data_args.early_stopping_patience} counts evaluations, and --eval_strategy no "
            "has none: leave out one of them."
        )
    if trains and data_args.measure_knowledge and data_args.knowledge != "answers":
        raise ValueError(
            f"--measure_knowledge ranks the answers that are fused, and --knowledge {data_args.knowledge} fuses none: "
            "leave out one of them."
        )
    best = training_args.metric_for_best_model
    if trains and best is not None and best.removeprefix("eval_") != METRIC:
        raise ValueError(f"--metric_for_best_model {best}: checkpoints are measured by {METRIC} alone.")
