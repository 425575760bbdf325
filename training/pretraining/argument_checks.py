"""Whether the arguments of a run go with each other, said before anything is computed."""

from ..checkpoints.model_files import check_evaluated_checkpoint
from ..checkpoints.stream_progress import check_stream_arguments
from .arguments import PretrainingDataArguments, PretrainingModelArguments
from .base_trainer import BasePreTrainingArguments


def check_arguments(
    model_args: PretrainingModelArguments,
    data_args: PretrainingDataArguments,
    training_args: BasePreTrainingArguments,
) -> None:
    """Make sure that a run can do what it is asked for.

    Raises:
        ValueError: If a stream shall be trained on without end, another objective than AMiF has a teacher, or one that
            shall work is not named; or if nothing is trained, and there is no checkpoint or its folder would be written
            to.
    """
    name, teacher = model_args.model_name_or_path, data_args.teacher
    if model_args.objective != "amif" and teacher != "none":
        raise ValueError(f"--teacher makes AMiF's soft labels; --objective {model_args.objective} has none.")
    if teacher == "none" and data_args.teacher_mode == "online":
        raise ValueError("--teacher_mode online: name the --teacher that embeds studies, or leave it out.")
    if data_args.streaming:
        check_stream_arguments(training_args)
    if not training_args.do_train:
        check_evaluated_checkpoint(name, training_args.output_dir)
