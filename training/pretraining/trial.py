"""A pre-trained checkpoint on trial, and the pairs that it is tried on."""

from dataclasses import dataclass

from datasets import DatasetDict

from ...modeling_amif.dual_encoder_amif import AmifDualEncoder
from ...processing_amif import AmifProcessor
from ..data.splits import evaluated_split
from ..distributed import use_free_cpu_cores
from ..evaluation.result_files import check_output_folder
from .arguments import TrialArguments
from .objectives import load_pretrained


@dataclass(frozen=True)
class Trial:
    """A checkpoint's objective, model and processor, and the pairs of which `split` is evaluated."""

    objective: str
    model: AmifDualEncoder
    processor: AmifProcessor
    splits: DatasetDict
    split: str


def begin_trial(args: TrialArguments) -> Trial:
    """Load the checkpoint and the pairs, once it is sure that results can be written; CPU work takes all cores.

    Other errors are those of `check_output_folder`, `load_pretrained` and `load_pretraining_dataset`.

    Raises:
        ValueError: If there is no such split.
    """
    use_free_cpu_cores()
    check_output_folder(args.output_dir)
    objective, model, processor = load_pretrained(args.model_name_or_path)
    splits = args.load()
    return Trial(objective, model, processor, splits, evaluated_split(splits, args.split, args.name))
