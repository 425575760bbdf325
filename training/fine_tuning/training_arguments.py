"""The arguments of the trainer that learns to answer."""

from dataclasses import dataclass, field

from transformers.training_args import OptimizerNames

from ..argument_checks import COUNT, NOT_NEGATIVE, POSITIVE, check_bounds
from ..checkpoints.resumable_arguments import ResumableArguments
from ..distributed import choose_device_and_precision


@dataclass
class AmifVqaArguments(ResumableArguments):
    """Training arguments whose defaults are the paper's recipe (supplement 6; the warm-up is its authors' code's).

    A checkpoint is kept and evaluated on the validation split every epoch, and the best one is loaded at the end.
    """

    output_dir: str = field(default="amif-vqa", metadata={"help": "Folder of the checkpoint and all results."})
    num_train_epochs: float = field(default=60, metadata={"help": "Passes over the training questions."})
    per_device_train_batch_size: int = field(default=64, metadata={"help": "Questions a step and device."})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "Questions a step when evaluating."})
    learning_rate: float = field(default=2e-5, metadata={"help": "Peak learning rate of AdamW."})
    fusion_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Peak learning rate of projections, co-attention, knowledge fusion, cross-attention, answer head, "
            "which are new where encoders and decoder are pretrained. None: as learning_rate."
        },
    )
    vision_learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate of the vision encoder. None: as learning_rate."}
    )
    muon_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Peak learning rate of Muon, which then trains the matrices inside layers; AdamW trains all else, "
            "at the rates above. None: AdamW trains everything."
        },
    )
    vision_layer_decay: float | None = field(
        default=None,
        metadata={
            "help": "Multiply the vision encoder's rate by this, say 0.75, once for each block below the last. None "
            "trains all blocks at one rate."
        },
    )
    weight_decay: float = field(default=0.05, metadata={"help": "Weight decay of AdamW."})
    metric_for_best_model: str | None = field(default="accuracy", metadata={"help": "What makes a checkpoint best."})
    greater_is_better: bool | None = field(default=True, metadata={"help": "Whether more of it is better."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Whether a resumed run remembers how long early stopping has waited."}
    )
    label_names: list[str] | None = field(default_factory=lambda: ["labels"], metadata={"help": "Leave as it is."})
    freeze_vision_encoder: bool = field(
        default=False,
        metadata={
            "help": "Keep the vision encoder as it is. Each image is then encoded once, or with augment_images once an "
            "epoch, in one draw for all its questions."
        },
    )
    trained_vision_blocks: int | None = field(
        default=None, metadata={"help": "Train only so many last blocks of the vision encoder; None trains all of it."}
    )
    augment_images: bool = field(
        default=False,
        metadata={"help": "Random crops, shifts, brightness and contrast in training; left and right never change."},
    )
    questions_per_image: int | None = field(
        default=None,
        metadata={"help": "Put so many questions of an image into a training batch; None draws questions at random."},
    )

    def __post_init__(self) -> None:
        by_length = self.train_sampling_strategy == "group_by_length"
        if by_length and self.questions_per_image is not None:
            raise ValueError(
                f"--questions_per_image {self.questions_per_image} groups questions by image, "
                "--train_sampling_strategy group_by_length by length: drop one of them."
            )
        if by_length and self.gradient_accumulation_steps == 1:
            raise ValueError(
                "--train_sampling_strategy group_by_length sorts an optimizer step's questions into its batches, and "
                "here a step is one batch: give, say, a quarter of --per_device_train_batch_size and "
                "--gradient_accumulation_steps 4."
            )
        if self.freeze_vision_encoder and self.trained_vision_blocks is not None:
            raise ValueError(
                f"--freeze_vision_encoder trains none of the vision encoder, --trained_vision_blocks "
                f"{self.trained_vision_blocks} a part of it: drop one of them."
            )
        rates = dict.fromkeys(("fusion_learning_rate", "vision_learning_rate", "muon_learning_rate"), NOT_NEGATIVE)
        check_bounds(self, {**rates, "questions_per_image": COUNT, "vision_layer_decay": POSITIVE._replace(greatest=1)})
        choose_device_and_precision(self)
        super().__post_init__()
        if self.muon_learning_rate is not None and not self.optim.startswith("adamw_torch"):
            raise ValueError(
                f"--muon_learning_rate {self.muon_learning_rate} leaves all but matrices to AdamW, and --optim "
                f"{OptimizerNames(self.optim).value} is another: drop one of them."
            )
        if self.muon_learning_rate is not None and self.vision_layer_decay is not None:
            raise ValueError(
                f"--vision_layer_decay {self.vision_layer_decay} lets AdamW's rates fall from block to block, and Muon "
                f"trains the blocks' matrices at one, {self.muon_learning_rate}: drop one of them."
            )
