"""The arguments of pre-training beside those of the trainer, and which image-report pairs any script reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ..argument_checks import COUNT, NOT_NEGATIVE, SHARE, check_bounds, check_choices
from ..data.arguments import MIXING_HELP, SourceArguments
from ..data.names import PAIR_SETS, VALIDATION_BY
from ..data.sources import read_mixing
from ..model_arguments import BaseModelArguments, ConfigField
from ..recipes import UNUSED_IN_TRAINING, Unused

if TYPE_CHECKING:
    from datasets import DatasetDict, IterableDatasetDict

_SOFT_LABELS = ("soft_label_form", "soft_label_temperature", "flexibility_weight")
_NEW_MODEL = ("vision_model", "text_model", "vision_layers", "text_layers")

# By objective, what changes nothing when; each has arguments that the others do not.
UNUSED = {
    "all": (
        *UNUSED_IN_TRAINING,
        Unused(lambda given: given.model_name_or_path is not None, "beside --model_name_or_path", _NEW_MODEL),
        Unused(lambda given: given.vision_model is not None, "beside --vision_model", ("hidden_size",)),
        Unused(
            lambda given: isinstance(given.dataset, str) and given.dataset not in PAIR_SETS,
            "where --dataset is generated or a path",
            ("data_dir",),
        ),
        Unused(
            lambda given: given.vqa_dataset is None and given.add_vqa_pairs is None,
            "without --vqa_dataset and --add_vqa_pairs",
            ("validation_by",),
        ),
        Unused(lambda given: not given.streaming, "without --streaming", ("shuffle_buffer_size",)),
        Unused(lambda given: not given.do_train, "without training", ("augment_images", "add_vqa_pairs", "mixing")),
    ),
    "amif": (
        Unused(lambda given: given.teacher == "none", "without --teacher", _SOFT_LABELS),
        Unused(
            lambda given: not given.soft_labels and given.teacher != "none",
            "with --soft_labels false",
            ("teacher", "teacher_mode", *_SOFT_LABELS),
        ),
        Unused(
            lambda given: given.stage == "global",
            "in --stage global",
            ("local_weight", "hard_negative_weight", "matching_kinds", "transport_solver"),
        ),
        Unused(
            lambda given: given.stage == "local" and not given.global_weight,
            "in --stage local without --global_weight",
            ("intra",),
        ),
    ),
    "aga": (
        Unused(
            lambda given: given.grouping == "softmax", "with --grouping softmax", ("gate", "similarity", "sparsity")
        ),
        Unused(lambda given: not given.cross_group_weight, "without --cross_group_weight", ("cross_groups",)),
        Unused(
            lambda given: not given.cross_group_weight and not given.group_weight,
            "without --group_weight and --cross_group_weight",
            ("directions", "grouping", "similarity", "sparsity", "negatives"),
        ),
    ),
    "mpma": (
        Unused(lambda given: given.memory_size == 0, "with --memory_size 0", ("memory_top_k",)),
        Unused(lambda given: not given.local_weight, "without --local_weight", ("negatives",)),
    ),
}


@dataclass
class PretrainingModelArguments(BaseModelArguments):
    """Which model to pre-train, and how to build it; the errors are those of `BaseModelArguments`."""

    objective: str = field(default="amif", metadata={"help": "amif, aga or mpma."})
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A pre-training checkpoint of the objective to go on from, or to evaluate."}
    )
    image_pooling: int = field(default=1, metadata={"help": "Average squares of so many patches on a side into one."})
    pooling_mode: str = field(
        default="cls",
        metadata={"help": "A whole image or text is its class token, cls, or the mean of its tokens, mean."},
    )
    num_co_attention_layers: int = field(default=6, metadata={"help": "Layers of each co-attention stack."})
    hidden_dropout_prob: float | None = field(
        default=None, metadata={"help": "Dropout on co-attention's outputs; default: 0.1, 0 in a small new model."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = {"num_co_attention_layers": NOT_NEGATIVE}
        check_bounds(self, {**layers, "image_pooling": COUNT, "hidden_dropout_prob": SHARE})
        check_choices(self, {"pooling_mode": ("cls", "mean")})

    config_fields: ClassVar[tuple[str, ...]] = (
        *BaseModelArguments.config_fields,
        *("image_pooling", "pooling_mode", "num_co_attention_layers", "hidden_dropout_prob"),
    )

    @property
    def config(self) -> dict[str, ConfigField]:
        """Fields of a new model's configuration."""
        return {name: value for name in self.config_fields if (value := getattr(self, name)) is not None}


@dataclass
class AgaModelArguments(PretrainingModelArguments):
    """What only AGA's model has."""

    gate: str = field(default="per_item", metadata={"help": "Thresholds: learned per_item or per_pair, or fixed."})
    local_adaptors: bool = field(
        default=True,
        metadata={"help": "Group in spaces of their own; false: in that in which images and reports are aligned."},
    )

    config_fields: ClassVar[tuple[str, ...]] = (*PretrainingModelArguments.config_fields, "gate", "local_adaptors")


@dataclass
class MpmaModelArguments(PretrainingModelArguments):
    """What only MPMA's model has; what is not given is as its configuration says, or small in a small new model."""

    memory_size: int | None = field(default=None, metadata={"help": "Rows of the shared memory; 0 leaves it out."})
    memory_top_k: int | None = field(default=None, metadata={"help": "Rows that each head reads; 0 reads all."})
    fusion: str = field(default="attention", metadata={"help": "Report reads image by attention, addition or none."})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, dict.fromkeys(("memory_size", "memory_top_k"), NOT_NEGATIVE))

    config_fields: ClassVar[tuple[str, ...]] = (
        *PretrainingModelArguments.config_fields,
        *("memory_size", "memory_top_k", "fusion"),
    )


@dataclass
class PairArguments(SourceArguments):
    """Which image-report pairs to read, as the command line says it."""

    dataset: list[str] | str = field(
        default_factory=lambda: "phantom",
        metadata={"help": f"phantom, {', '.join(PAIR_SETS)}, or your own file or Hub id."},
    )
    image_column: str | None = field(default=None, metadata={"help": "Column of images in your own data."})
    text_column: str | None = field(default=None, metadata={"help": "Column of texts in your own data."})
    study_column: str | None = field(default=None, metadata={"help": "Column of study ids in your own data."})
    reports_dir: str | None = field(default=None, metadata={"help": "Folder of mimic_cxr's reports, if elsewhere."})
    vqa_dataset: str | None = field(default=None, metadata={"help": "The questions that vqa_pairs makes pairs of."})
    num_studies: int | None = field(default=None, metadata={"help": "How many studies phantom generates."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first training studies."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first evaluated studies."})

    with_folder: ClassVar[Sequence[str]] = PAIR_SETS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, dict.fromkeys(("num_studies", "max_train_samples", "max_eval_samples"), COUNT))

    @property
    def reader_options(self) -> dict[str, str | int | None]:
        """What readers are told beside their folders."""
        names = ("image_column", "text_column", "study_column", "num_studies", "reports_dir", "vqa_dataset")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def load(self) -> "DatasetDict":
        """The splits, cut to the first samples of each set; the errors are those of `load_sources`."""
        # Not before: a command line is read without what reads the data.
        from datasets import DatasetDict

        from ..data.mixtures import first_rows, load_sources
        from ..data.pretraining_dataset import load_pretraining_dataset, pair_reader_of

        splits = load_sources(
            self.data_sets, load_pretraining_dataset, pair_reader_of, ("study_id",), self.reader_options
        )
        limits = {"train": self.max_train_samples}
        return DatasetDict(
            {name: first_rows(rows, limits.get(str(name), self.max_eval_samples)) for name, rows in splits.items()}
        )


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


@dataclass
class PretrainingDataArguments(PairArguments):
    """Which pairs to learn from, and how.

    Raises:
        ValueError: If sets cannot be mixed as `mixing` says, `teacher_mode` or `validation_by` is unknown, or a number
            is not what it may be.
    """

    mixing: list[str] | str = field(default_factory=lambda: "proportional", metadata={"help": MIXING_HELP})
    streaming: bool = field(
        default=False,
        metadata={
            "help": "Read the training studies of your own Parquet or WebDataset (tar) shards, or of a Hub set, bit by "
            "bit, without a copy on disk; needs --max_steps."
        },
    )
    teacher: str = field(
        default="none",
        metadata={"help": "Whose embeddings make soft labels: none, amif:PATH, hf:NAME, open_clip:NAME, column:NAME."},
    )
    teacher_mode: str = field(
        default="cached", metadata={"help": "cached: each study is embedded once; online: as it is augmented."}
    )
    augment_images: bool = field(
        default=True, metadata={"help": "The paper's strong augmentation of each view; left and right never change."}
    )

    add_vqa_pairs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Also learn from pairs made of the training questions of VQA sets, each as name=folder; images "
            "that one of them shows in validation or test are left out."
        },
    )
    validation_by: str = field(
        default="image",
        metadata={
            "help": "Where --vqa_dataset or a set of --add_vqa_pairs has no validation split, what one is made of: "
            "image, question, wording or official. With the last three the images that it evaluates stay, as in "
            "VQA-RAD's official split, without the validation questions about them."
        },
    )

    takes_several: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.mixing = read_mixing(self.mixing, len(self.sources))
        check_choices(self, {"teacher_mode": ("cached", "online"), "validation_by": VALIDATION_BY})
        if self.streaming and len(self.data_sets) > 1:
            raise ValueError(f"--streaming true reads one set, and --dataset names {self.name}: name one of them.")
        if self.streaming and (self.dataset == "phantom" or self.dataset in PAIR_SETS):
            raise ValueError(
                f"--streaming true reads your own shards or a set of the Hub, and {self.dataset} has a reader of its "
                "own: give the folder of its Parquet files as --dataset, or leave out --streaming."
            )
        if self.streaming and (self.add_vqa_pairs is not None or self.max_train_samples is not None):
            raise ValueError(
                "--add_vqa_pairs and --max_train_samples count the training studies, which a stream does not: leave "
                "them out, or --streaming."
            )

    @property
    def reader_options(self) -> dict[str, str | int | None]:
        """What the data set's reader is told beside its folder."""
        made = {} if self.vqa_dataset is None else {"validation_by": self.validation_by}
        return super().reader_options | made

    @property
    def sources(self) -> list[str]:
        """The data sets that are learned from; those of `add_vqa_pairs` as "name=folder"."""
        named = [source.dataset for source in self.data_sets]
        learned = [self.vqa_dataset or name if name == "vqa_pairs" else name for name in named]
        return [*learned, *(self.add_vqa_pairs or [])]

    def load(self) -> "DatasetDict":
        """The splits; behind the training studies, uncut, the pairs that are made of VQA sets.

        With `streaming` the training studies are a stream, and the others are read into memory.
        """
        from ..data.mixtures import add_vqa_pairs, with_set_name
        from ..data.pretraining_dataset import load_pretraining_dataset
        from ..data.streams import with_read_evaluation

        if self.streaming:
            options: dict[str, Any] = self.reader_options
            streams = load_pretraining_dataset(self.data_sets[0].dataset, streaming=True, **options)
            return with_read_evaluation(cast("IterableDatasetDict", streams), self.max_eval_samples)
        splits = super().load()
        if self.add_vqa_pairs is not None:
            if self.mixing != "proportional" and len(self.data_sets) == 1:
                splits["train"] = with_set_name(splits["train"], self.data_sets[0].name)
            splits["train"] = add_vqa_pairs(splits["train"], self.add_vqa_pairs, self.validation_by)
        return splits

    def sets_without_validation(self) -> list[str]:
        """Names of the VQA sets of the pairs that have no validation split, so that one was made by `validation_by`."""
        from ..data.mixtures import has_validation
        from ..data.vqa_dataset import load_vqa_dataset

        names = [source.partition("=")[0] for source in self.add_vqa_pairs or [] if not has_validation(source)]
        if self.vqa_dataset is not None:
            # Of several sets the pairs of questions take no options but these two.
            options: dict[str, Any] = self.reader_options if len(self.data_sets) == 1 else {}
            options = {name: value for name, value in options.items() if name != "vqa_dataset"} | {
                "validation_by": None
            }
            (folder,) = (source.folder for source in self.data_sets if source.dataset == "vqa_pairs")
            if "validation" not in load_vqa_dataset(self.vqa_dataset, folder, **options):
                names.append(self.vqa_dataset)
        return names
