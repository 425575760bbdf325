"""Which image-report pairs a script reads."""

from dataclasses import dataclass, field

from datasets import DatasetDict

from ..data.pretraining_dataset import load_pretraining_dataset
from ..data.splits import evaluated_split


@dataclass
class PairArguments:
    """Which image-report pairs to read, as the command line says it."""

    dataset: str = field(
        default="phantom", metadata={"help": "phantom, mimic_cxr, roco, rocov2, medicat, vqa_pairs, your own."}
    )
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the data set."})
    image_column: str | None = field(default=None, metadata={"help": "Column of images in your own data."})
    text_column: str | None = field(default=None, metadata={"help": "Column of texts in your own data."})
    study_column: str | None = field(default=None, metadata={"help": "Column of study ids in your own data."})
    reports_dir: str | None = field(default=None, metadata={"help": "Folder of mimic_cxr's reports, if elsewhere."})
    vqa_dataset: str | None = field(default=None, metadata={"help": "The questions that vqa_pairs makes pairs of."})
    num_studies: int | None = field(default=None, metadata={"help": "How many studies phantom generates."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first training studies."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first evaluated studies."})

    @property
    def reader_options(self) -> dict[str, str | int]:
        """What the data set's reader is told beside its folder."""
        names = ("image_column", "text_column", "study_column", "num_studies", "reports_dir", "vqa_dataset")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def load(self) -> DatasetDict:
        """The splits, cut to the first samples; the errors are those of `load_pretraining_dataset`."""
        splits = load_pretraining_dataset(self.dataset, self.data_dir, **self.reader_options)
        limits = {name: self.max_train_samples if name == "train" else self.max_eval_samples for name in splits}
        return DatasetDict(
            {name: split.select(range(min(limits[name] or len(split), len(split)))) for name, split in splits.items()}
        )


@dataclass
class EvaluatedPairArguments(PairArguments):
    """Which pairs to read, and on which of their splits a model is tried."""

    split: str | None = field(default=None, metadata={"help": "Which split; default: test, else validation."})

    def evaluated_split(self, splits: DatasetDict) -> str:
        """The split's name; ValueError where there is no such split."""
        return evaluated_split(splits, self.split, self.dataset)
