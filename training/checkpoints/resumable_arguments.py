"""What every trainer here takes: transformers' training arguments, with our defaults and with their bounds checked."""

from dataclasses import dataclass, field
from typing import cast

from transformers.trainer_pt_utils import AcceleratorConfig
from transformers.training_args import TrainingArguments

from ..argument_checks import COUNT, NOT_NEGATIVE, POSITIVE, SEED, SHARE, check_bounds

# What numbers of the Trainer may be, which checks few of them itself, and some when training has begun.
_COUNTS = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
_STEPS = ("logging_steps", "save_steps", "eval_steps")  # below 1, their share
_NOT_BELOW_ZERO = ("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "warmup_steps")
_BETAS = ("adam_beta1", "adam_beta2", "label_smoothing_factor")
_BOUNDS = {
    "num_train_epochs": POSITIVE,
    "save_total_limit": COUNT,
    "shuffle_buffer_size": COUNT,
    **dict.fromkeys(_COUNTS, COUNT),
    **dict.fromkeys(_STEPS, POSITIVE),
    **dict.fromkeys((*_NOT_BELOW_ZERO, "dataloader_num_workers"), NOT_NEGATIVE),
    **dict.fromkeys(_BETAS, SHARE),
    **dict.fromkeys(("seed", "data_seed"), SEED),
}


@dataclass
class ResumableArguments(TrainingArguments):
    """Training arguments of every trainer here: a checkpoint every epoch, and the best on validation at the end."""

    output_dir: str = field(default="trainer_output", metadata={"help": "Folder of the checkpoint and all results."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Schedule of the learning rate."})
    warmup_steps: float = field(default=0.4, metadata={"help": "Steps of linear warm-up; below 1, their share."})
    adam_beta2: float = field(default=0.98, metadata={"help": "Second beta of AdamW."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate on the validation split."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints kept beside the best one."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Load the best on validation at the end."})
    hub_strategy: str = field(
        default="end", metadata={"help": "When to push to the Hub; only the end keeps out pickles."}
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave off: a loss that is not finite stops the run, and is not to be hidden."}
    )
    logging_steps: float = field(default=20, metadata={"help": "Steps between two reports of the loss."})
    shuffle_buffer_size: int = field(
        default=500,
        metadata={
            "help": "Of a stream, rows that each data-loader worker reads and shuffles together; shards are shuffled "
            "too. 1 keeps the order within a shard."
        },
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave off: the collator reads the rows."})
    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={
            "nargs": "?",
            "const": "true",
            "help": "Go on with an interrupted run: a checkpoint's folder, or true (or nothing) for the newest "
            "complete one of output_dir, else from the beginning.",
        },
    )

    def __post_init__(self) -> None:
        check_bounds(self, _BOUNDS)
        if self.max_steps < 1 and self.max_steps != -1:
            raise ValueError(f"--max_steps {self.max_steps}: give at least 1, or -1 to train --num_train_epochs.")
        super().__post_init__()
        if self.n_gpu > 1:
            raise ValueError(
                f"One process sees {self.n_gpu} GPUs and would cut each batch between them, images apart from texts: "
                "use accelerate launch --config_file examples/accelerate_configs/several_gpus.yaml, or let it see one "
                "with CUDA_VISIBLE_DEVICES=0."
            )
        if self.batch_eval_metrics:
            raise ValueError("--batch_eval_metrics measures single batches, and measures here are of a whole split.")
        config = cast(AcceleratorConfig, self.accelerator_config)  # which `super` has made of whatever was given
        if config.dispatch_batches:
            raise ValueError(
                "dispatch_batches cuts a batch between processes by its first axis, and rows here share images: leave "
                "it out of --accelerator_config."
            )
        # Of a stream accelerate would do so by itself: each process makes batches of its own.
        config.dispatch_batches = False
