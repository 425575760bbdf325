"""A pre-trained checkpoint on trial: which one, and the pairs that it is tried on."""

from dataclasses import dataclass, field

from datasets import DatasetDict

from ...modeling_amif.dual_encoder_amif import AmifDualEncoder
from ...processing_amif import AmifProcessor
from ..argument_checks import COUNT, check_bounds
from ..checkpoints.resumable_files import check_output_folder
from ..data.splits import evaluated_split
from ..distributed import use_all_cpu_cores
from .arguments import PairArguments
from .objectives import load_pretrained


@dataclass
class TrialArguments(PairArguments):
    """Which checkpoint is tried on which pairs."""

    model_name_or_path: str = field(default="amif-pretrained", metadata={"help": "A checkpoint of pre-training."})
    split: str | None = field(default=None, metadata={"help": "Which split; default: test, else validation."})
    batch_size: int = field(default=64, metadata={"help": "Images or pairs that are encoded at once."})
    output_dir: str = field(default="trial", metadata={"help": "Folder of metrics.json."})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, {"batch_size": COUNT})


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
    use_all_cpu_cores()
    check_output_folder(args.output_dir)
    objective, model, processor = load_pretrained(args.model_name_or_path)
    splits = args.load()
    return Trial(objective, model, processor, splits, evaluated_split(splits, args.split, args.name))
