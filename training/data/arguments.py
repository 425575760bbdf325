"""Which questions a script reads, as the command line says it."""

from dataclasses import dataclass, field

from datasets import DatasetDict

from ..argument_checks import COUNT, Bounds, check_bounds, check_choices
from .readers import bad_rows
from .splits import NUM_FOLDS
from .vqa_dataset import NAMED, VALIDATION_BY, load_vqa_dataset

NO_VALIDATION = "none"


@dataclass
class VqaSourceArguments:
    """Which data set to read, and where it lies."""

    dataset: str = field(default="phantom", metadata={"help": f"{', '.join(NAMED)}, or your own file or Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the data set."})
    image_column: str | None = field(default=None, metadata={"help": "Column of images in your own data."})
    question_column: str | None = field(default=None, metadata={"help": "Column of questions in your own data."})
    answer_column: str | None = field(default=None, metadata={"help": "Column of answers in your own data."})
    image_dir: str | None = field(
        default=None, metadata={"help": "Folder or zip of your own images; default: the data file's folder."}
    )
    on_bad_row: str = field(
        default="error", metadata={"help": "error stops at an unusable row; skip lists such rows and goes on."}
    )
    num_studies: int | None = field(default=None, metadata={"help": "How many studies phantom generates."})

    def __post_init__(self) -> None:
        check_bounds(self, {"num_studies": COUNT})
        check_choices(self, {"on_bad_row": bad_rows.CHOICES})

    @property
    def column_names(self) -> dict[str, str | int]:
        """The columns named for one's own data, and where its images are."""
        return self._given("image_column", "question_column", "answer_column", "image_dir")

    @property
    def reader_options(self) -> dict[str, str | int]:
        """What the data set's reader is told beside its folder and its bad rows."""
        if self.dataset not in NAMED:
            return self.column_names | self._given("num_studies")
        if self.column_names and self._given("predict_file") == {}:
            options = ", ".join(f"--{name}" for name in self.column_names)
            raise ValueError(f"{options}: for your own data, and {self.dataset} has its own columns. Leave it out.")
        return self._given("num_studies")

    def load(
        self, validation_by: str | None = None, validation_fold: int | None = None, **reader_options: str
    ) -> DatasetDict:
        """The splits of the source, and a validation split made as told; by default none is made.

        Args:
            validation_by: As for `load_vqa_dataset`.
            validation_fold: As for `load_vqa_dataset`.
            **reader_options: What the reader is told beside `reader_options`.

        Raises:
            ValueError: If `load_vqa_dataset` raises it.
            FileNotFoundError: If a file or an image is missing.
        """
        return load_vqa_dataset(
            self.dataset,
            self.data_dir,
            strict=False,
            validation_by=validation_by,
            validation_fold=validation_fold,
            on_bad_row=self.on_bad_row,
            **self.reader_options,
            **reader_options,
        )

    def _given(self, *names: str) -> dict[str, str | int]:
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}


@dataclass
class VqaDataArguments(VqaSourceArguments):
    """Which questions to read, and how a missing validation split is made."""

    language: str | None = field(default=None, metadata={"help": "Language of SLAKE's questions: en (default) or zh."})
    validation_by: str = field(
        default="image",
        metadata={
            "help": "Where the data has no validation split, what one is made of: whole images (image); or, about "
            "images that training shows too, questions with all their rephrasings (question) or single rows (wording), "
            "as in VQA-RAD's official test; none: there is none, as for --split train and the predictions of "
            "cross_validate.py."
        },
    )
    validation_fold: int | None = field(
        default=None,
        metadata={"help": "Hold out this fifth (1 to 5) for validation, for cross-validation; default: a fixed 15 %%."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self, {"validation_by": (*VALIDATION_BY, NO_VALIDATION)})
        check_bounds(self, {"validation_fold": Bounds(1, NUM_FOLDS)})

    @property
    def reader_options(self) -> dict[str, str | int]:
        """As of any source, and the language."""
        return super().reader_options | self._given("language")

    @property
    def validation_made_by(self) -> str:
        """What makes the validation split, as it stands after --validation_by."""
        fold = "" if self.validation_fold is None else f" --validation_fold {self.validation_fold}"
        return self.validation_by + fold

    def load_splits(self) -> DatasetDict:
        """The splits of the source, with a validation split as `validation_by` and `validation_fold` say.

        Raises:
            ValueError: If `load_vqa_dataset` raises it.
            FileNotFoundError: If a file or an image is missing.
        """
        return self.load(None if self.validation_by == NO_VALIDATION else self.validation_by, self.validation_fold)
