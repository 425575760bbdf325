"""The arguments of fine-tuning and evaluating, beside those of the trainer."""

from dataclasses import dataclass, field
from typing import ClassVar, cast

from ..argument_checks import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Bounds, check_bounds, check_choices
from ..data.arguments import MIXING_HELP, VqaDataArguments
from ..data.names import ANSWERING_PROTOCOLS, IMAGE_REPLACEMENTS, NAMED, VQA_SETS
from ..data.readers.own_data import QuestionOptions
from ..data.sources import read_mixing
from ..model_arguments import BaseModelArguments
from ..recipes import UNUSED_IN_TRAINING, Unused

_OF_NEW_ENCODERS = ("vision_model", "text_model", "vision_layers", "text_layers")
_OF_FUSION = ("knowledge_fusion", "knowledge_zero_init")
_OF_NEW_MODEL = (
    *("decoder_model", "decoder_layers", "new_co_attention", "num_co_attention_layers", "num_attention_heads"),
    *_OF_FUSION,
)
_OF_TRAINING_ROWS = ("mixing", "also_train_on", "leave_out_images_of", "train_question_types", "knowledge")
_OF_OPTIMIZER = (
    *("fusion_learning_rate", "vision_learning_rate", "muon_learning_rate"),
    *("vision_layer_decay", "trained_vision_blocks"),
)
_OF_BATCHES = ("augment_images", "questions_per_image", "freeze_vision_encoder", "early_stopping_patience")

UNUSED = (
    *UNUSED_IN_TRAINING,
    Unused(
        lambda given: not given.do_train,
        "without training",
        (
            *(*_OF_NEW_ENCODERS, *_OF_NEW_MODEL, "hidden_size", "vision_feature_layer", "image_pooling"),
            *("use_lora", "lora_rank"),
            *(*_OF_TRAINING_ROWS, *_OF_OPTIMIZER, *_OF_BATCHES),
        ),
    ),
    Unused(
        lambda given: given.do_train and given.model_name_or_path is not None,
        "beside --model_name_or_path",
        (*_OF_NEW_ENCODERS, "initializer_range"),
    ),
    Unused(
        lambda given: given.do_train and given.model_name_or_path is None and given.vision_model is None,
        "for a small new model",
        ("decoder_model", "new_co_attention"),
    ),
    Unused(
        lambda given: given.do_train and given.vision_model is not None,
        "beside --vision_model",
        ("hidden_size", "initializer_range"),
    ),
    Unused(lambda given: given.do_train and not given.use_lora, "without --use_lora", ("lora_rank",)),
    Unused(lambda given: given.do_train and given.knowledge == "none", "with --knowledge none", _OF_FUSION),
    Unused(
        lambda given: given.do_train and given.freeze_vision_encoder,
        "with --freeze_vision_encoder",
        ("vision_learning_rate", "vision_layer_decay"),
    ),
    Unused(lambda given: given.predict_file is not None, "with --predict_file", ("eval_split",)),
    Unused(
        lambda given: isinstance(given.dataset, str) and given.dataset not in VQA_SETS,
        "where --dataset is generated or a path",
        ("data_dir",),
    ),
    Unused(lambda given: not given.streaming, "without --streaming", ("shuffle_buffer_size",)),
)


@dataclass
class VqaModelArguments(BaseModelArguments):
    """Which model to start from, and how to build it."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A checkpoint to continue or evaluate, or one of pre-training."}
    )
    decoder_model: str | None = field(
        default=None, metadata={"help": "Decoder's weights; default: the text encoder's."}
    )
    decoder_layers: int | None = field(
        default=None, metadata={"help": "Keep only the first so many decoder layers; of a small new model it has 2."}
    )
    initializer_range: float = field(
        default=0.08, metadata={"help": "Standard deviation of a small new model's weights; narrow ones want more."}
    )
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
    knowledge_zero_init: bool = field(
        default=False,
        metadata={
            "help": "Start a new knowledge fusion from the model without knowledge: the outputs of its attention and "
            "of the feed-forward part behind it are zero at first. Ours, not the paper's."
        },
    )
    use_lora: bool = field(
        default=False,
        metadata={
            "help": "Train low-rank adapters of the pretrained weights alone; what is new is trained as it is. Leaves "
            "the adapter in output_dir/adapter, and the whole model with the adapter merged in output_dir."
        },
    )
    lora_rank: int = field(default=8, metadata={"help": "Rank of the adapters."})

    config_fields: ClassVar[tuple[str, ...]] = (
        *BaseModelArguments.config_fields,
        *("image_pooling", "num_co_attention_layers", *_OF_FUSION),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = dict.fromkeys(("decoder_layers", "image_pooling", "lora_rank"), COUNT)
        check_bounds(self, {**counts, "num_co_attention_layers": NOT_NEGATIVE, "initializer_range": POSITIVE})
        check_choices(self, {"knowledge_fusion": ("gated", "add", "none")})


@dataclass
class FineTuningDataArguments(VqaDataArguments):
    """Which data to learn from, and how to evaluate."""

    mixing: list[str] | str = field(default_factory=lambda: "proportional", metadata={"help": MIXING_HELP})
    streaming: bool = field(
        default=False,
        metadata={
            "help": "Read the training questions of your own Parquet or WebDataset (tar) shards, or of a Hub set, bit "
            "by bit, without a copy on disk; needs --max_steps."
        },
    )
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
    protocol: str = field(
        default="clean", metadata={"help": "Where candidates come from: clean, paper, choices or generate."}
    )
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
    measure_knowledge: bool = field(
        default=False,
        metadata={
            "help": "What does it select from its knowledge of answers? Rank the true answer's entry among all by the "
            "attention over them, and say what the gate lets through."
        },
    )
    abstention_error_rate: float | None = field(
        default=None,
        metadata={
            "help": "Choose on validation, and save with the checkpoint, the score below which an answer can be "
            "withheld, so that at most this share of the answers given is wrong (0 to 1)."
        },
    )
    max_answer_length: int | None = field(
        default=None,
        metadata={
            "help": "Take longer answers and choices, in tokens with [CLS] and [SEP], for bad rows, and generate no "
            "longer ones; default: the decoder's positions, and the longest training answer."
        },
    )
    predict_file: str | None = field(default=None, metadata={"help": "File of questions to answer; none is scored."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first training questions."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first evaluated questions."})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations on validation without a better one."}
    )

    takes_several: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.mixing = read_mixing(self.mixing, len(self.trained_sets))
        check_choices(
            self,
            {
                "protocol": ANSWERING_PROTOCOLS,
                "ablate_image": IMAGE_REPLACEMENTS,
                "eval_split": ("validation", "test"),
                "knowledge": ("answers", "questions", "none"),
            },
        )
        counts = ("max_train_samples", "max_eval_samples", "early_stopping_patience", "grounding_shuffles")
        own = {"abstention_error_rate": SHARE, "max_answer_length": Bounds(3)}
        check_bounds(self, {**dict.fromkeys(counts, COUNT), **own})
        if self.protocol == "choices" and self.answers == "all":
            raise ValueError("--answers all asks for sets, and --protocol choices ranks one choice: drop one of them.")
        own_sets = [source for source in self.also_train_on or [] if source.partition("=")[0] not in NAMED]
        if self.answers == "all" and own_sets:
            raise ValueError(
                f"--answers all joins the answers of --dataset, and not those of {', '.join(own_sets)}: leave "
                "--answers out, or these sets."
            )
        if self.protocol in ("choices", "generate") and self.abstention_error_rate is not None:
            raise ValueError(
                "--abstention_error_rate chooses a threshold for the scores of the candidates that the checkpoint "
                f"brings, which --protocol {self.protocol} does not rank: leave out one of them."
            )
        self._check_streaming()
        if self.ablate_image is not None and self.grounding_shuffles is not None:
            raise ValueError("--grounding_shuffles compares with the real images: leave out --ablate_image.")

    def _check_streaming(self) -> None:
        if not self.streaming:
            return
        if len(self.data_sets) > 1:
            raise ValueError(f"--streaming true reads one set, and --dataset names {self.name}: name one of them.")
        if self.dataset in NAMED:
            raise ValueError(
                f"--streaming true reads your own shards or a set of the Hub, and {self.dataset} has a reader of its "
                "own: leave out --streaming."
            )
        counting = ("also_train_on", "leave_out_images_of", "train_question_types", "max_train_samples", "refit")
        if self.answers == "all":
            raise ValueError("--answers all joins the answers of whole splits: leave it out, or --streaming.")
        if given := [f"--{name}" for name in (*counting, "validation_fold", "image_dir") if getattr(self, name)]:
            raise ValueError(
                f"{', '.join(given)}: this takes the training rows as a whole, which a stream is not: leave it out, or "
                "--streaming."
            )

    @property
    def trained_sets(self) -> list[str]:
        """The data sets that are learned from; those of `also_train_on` as "name=folder"."""
        return [*(source.dataset for source in self.data_sets), *(self.also_train_on or [])]

    @property
    def question_options(self) -> QuestionOptions:
        """How `predict_file` is read."""
        given = self._given("image_column", "question_column", "image_dir", "ignore_columns", "on_bad_row")
        return cast(QuestionOptions, given)  # those of these names
