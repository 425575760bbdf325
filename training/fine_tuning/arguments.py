"""The arguments of fine-tuning and evaluating, beside those of the trainer."""

from dataclasses import dataclass, field

from ..data import IMAGE_REPLACEMENTS
from ..data.arguments import VqaDataArguments
from ..evaluation.protocols import ANSWERING_PROTOCOLS
from ..model_arguments import BaseModelArguments


@dataclass
class VqaModelArguments(BaseModelArguments):
    """Which model to start from, and how to build it."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A checkpoint to continue or evaluate, or one of pre-training."}
    )
    decoder_model: str | None = field(
        default=None, metadata={"help": "Decoder's weights; default: the text encoder's."}
    )
    decoder_layers: int | None = field(default=None, metadata={"help": "Keep only the first so many decoder layers."})
    image_size: int | None = field(
        default=None,
        metadata={"help": "Pixels on a side in training; default: the checkpoint's, or the image processor's."},
    )
    image_pooling: int | None = field(
        default=None,
        metadata={
            "help": "In training, average squares of so many patches on a side into one; default: as the checkpoint, "
            "or 1."
        },
    )
    new_co_attention: bool = field(
        default=False, metadata={"help": "From pre-training, take encoders and projections alone."}
    )
    num_co_attention_layers: int | None = field(
        default=None, metadata={"help": "Layers of each new co-attention stack; default: 6, or the checkpoint's."}
    )
    knowledge_fusion: str = field(default="gated", metadata={"help": "How knowledge is fused: gated, add or none."})
    use_lora: bool = field(
        default=False,
        metadata={
            "help": "Train low-rank adapters of the pretrained weights alone; what is new is trained as it is. Leaves "
            "the adapter in output_dir/adapter, and the whole model with the adapter merged in output_dir."
        },
    )
    lora_rank: int = field(default=8, metadata={"help": "Rank of the adapters."})


@dataclass
class FineTuningDataArguments(VqaDataArguments):
    """Which data to learn from, and how to evaluate."""

    also_train_on: list[str] | None = field(
        default=None,
        metadata={
            "help": "Further data sets whose training questions are trained on, each as name=folder. Images "
            "that the validation or test split shows too are left out; candidates stay those of --dataset."
        },
    )
    leave_out_images_of: list[str] | None = field(
        default=None,
        metadata={
            "help": "Data sets on which the model will be evaluated later, each as name=folder: training images that "
            "their validation or test split shows too are left out."
        },
    )
    train_question_types: list[str] | None = field(
        default=None,
        metadata={
            "help": "Train on these question types alone; what is evaluated, candidates and knowledge stay as they are."
        },
    )
    refit: bool = field(
        default=False,
        metadata={
            "help": "Train on the validation questions too. Fix the epochs beforehand: nothing is chosen on validation."
        },
    )
    knowledge: str = field(
        default="answers", metadata={"help": "Vocabulary fused as knowledge: answers, questions or none."}
    )
    eval_split: str | None = field(
        default=None, metadata={"help": "validation or test; default: test where it has answers, else validation."}
    )
    protocol: str = field(default="clean", metadata={"help": "Where candidates come from: clean, paper or generate."})
    ablate_image: str | None = field(
        default=None,
        metadata={
            "help": "Evaluate on blank images, on other questions' (shuffle) or on others of the same modality and "
            "organ (shuffle_alike)."
        },
    )
    grounding_shuffles: int | None = field(
        default=None,
        metadata={
            "help": "Does it look? Answer all again on blank images, on so many shuffles of all images and, where the "
            "data name modality or organ, on as many among those of one kind."
        },
    )
    abstention_error_rate: float | None = field(
        default=None,
        metadata={
            "help": "Choose on validation, and save with the checkpoint, the score below which an answer can be "
            "withheld, so that at most this share of the answers given is wrong (0 to 1)."
        },
    )
    predict_file: str | None = field(default=None, metadata={"help": "File of questions to answer; none is scored."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first training questions."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first evaluated questions."})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations on validation without a better one."}
    )

    def __post_init__(self) -> None:
        if self.protocol not in ANSWERING_PROTOCOLS:
            raise ValueError(f"--protocol {self.protocol}: it is one of {', '.join(ANSWERING_PROTOCOLS)}.")
        if self.ablate_image not in (None, *IMAGE_REPLACEMENTS):
            raise ValueError(f"--ablate_image {self.ablate_image}: it is one of {', '.join(IMAGE_REPLACEMENTS)}.")
        if self.ablate_image is not None and self.grounding_shuffles is not None:
            raise ValueError("--grounding_shuffles compares with the real images: leave out --ablate_image.")

    @property
    def question_options(self) -> dict[str, str]:
        """How `predict_file` is read."""
        given = self._given("image_column", "question_column", "image_dir", "on_bad_row")
        return {name: str(value) for name, value in given.items()}
