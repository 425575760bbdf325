"""Which questions a script reads, as the command line says it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ..argument_checks import COUNT, Bounds, check_bounds, check_choices
from .names import ANSWERS, NAMED, NUM_FOLDS, ON_BAD_ROW, VALIDATION_BY, VQA_SETS
from .sources import Source, sources_of

if TYPE_CHECKING:
    from datasets import DatasetDict

NO_VALIDATION = "none"

# What a reader is told.
Option = str | int | list[str]

MIXING_HELP = (
    "How several sets make up what is trained on: proportional (each row comes once), equal (as many rows of each), or "
    "a weight for each; with the last two an epoch ends when every row of every set has come."
)


@dataclass
class SourceArguments:
    """Which data sets to read, and where they lie.

    Raises:
        ValueError: If the folders do not fit the sets, or several are named where one is read at a time.
    """

    dataset: list[str] | str = field(default_factory=lambda: "phantom", metadata={"help": "The data set, or several."})
    data_dir: list[str] | str | None = field(default=None, metadata={"nargs": "+", "help": "Folder of the data set."})

    with_folder: ClassVar[Sequence[str]] = ()
    takes_several: ClassVar[bool] = False

    def __post_init__(self) -> None:
        sources = self.data_sets
        if len(sources) == 1:
            self.dataset, self.data_dir = sources[0]
        elif not self.takes_several:
            raise ValueError(f"--dataset {' '.join(self.dataset)}: name one, for this is done for each set by itself.")

    @property
    def data_sets(self) -> list[Source]:
        """The sets that `dataset` names, each with its folder."""
        return sources_of(self.dataset, self.data_dir, self.with_folder)

    @property
    def name(self) -> str:
        """What results call the data: the set as it is named, or "one+two" of several."""
        sources = self.data_sets
        return sources[0].dataset if len(sources) == 1 else "+".join(source.name for source in sources)


@dataclass
class VqaSourceArguments(SourceArguments):
    """Which questions to read, and where they lie."""

    dataset: list[str] | str = field(
        default_factory=lambda: "phantom", metadata={"help": f"{', '.join(NAMED)}, or your own file or Hub id."}
    )
    image_column: str | None = field(default=None, metadata={"help": "Column of images in your own data."})
    question_column: str | None = field(default=None, metadata={"help": "Column of questions in your own data."})
    answer_column: str | None = field(default=None, metadata={"help": "Column of answers in your own data."})
    answer_type_column: str | None = field(
        default=None, metadata={"help": "Column of answer types (open, closed) in your own data; default: answer_type."}
    )
    question_type_column: str | None = field(
        default=None, metadata={"help": "Column of question types in your own data; default: question_type."}
    )
    ignore_columns: list[str] | None = field(
        default=None, metadata={"nargs": "+", "help": "Columns of your own data to read as if they were not there."}
    )
    image_dir: str | None = field(
        default=None, metadata={"help": "Folder or zip of your own images; default: the data file's folder."}
    )
    on_bad_row: str = field(
        default="error", metadata={"help": "error stops at an unusable row; skip lists such rows and goes on."}
    )
    answers: str = field(
        default="any",
        metadata={"help": "Where several answers are right: any of them is enough, or all are one answer together."},
    )
    num_studies: int | None = field(default=None, metadata={"help": "How many studies phantom generates."})

    with_folder: ClassVar[Sequence[str]] = VQA_SETS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, {"num_studies": COUNT})
        check_choices(self, {"on_bad_row": ON_BAD_ROW, "answers": ANSWERS})

    @property
    def column_names(self) -> dict[str, Option]:
        """The columns named for one's own data, and where its images are."""
        columns = ("image", "question", "answer", "answer_type", "question_type")
        return self._given(*(f"{column}_column" for column in columns), "ignore_columns", "image_dir")

    @property
    def reader_options(self) -> dict[str, Option]:
        """What readers are told beside their folders and bad rows."""
        if any(source.dataset not in NAMED for source in self.data_sets):
            return self.column_names | self._given("num_studies")
        if self.column_names and self._given("predict_file") == {}:
            options = ", ".join(f"--{name}" for name in self.column_names)
            raise ValueError(f"{options}: for your own data, and {self.name} has its own columns. Leave it out.")
        return self._given("num_studies")

    def load(
        self, validation_by: str | None = None, validation_fold: int | None = None, **reader_options: str
    ) -> "DatasetDict":
        """The splits of the sets, and a validation split made as told; by default none is made.

        Args:
            validation_by: As for `load_vqa_dataset`.
            validation_fold: As for `load_vqa_dataset`.
            **reader_options: What the reader is told beside `reader_options`.

        Raises:
            ValueError: If `load_vqa_dataset` raises it.
            FileNotFoundError: If a file or an image is missing.
        """
        # Not before: a command line is read without what reads the data.
        from .mixtures import VQA_IDS, load_sources
        from .vqa_dataset import load_vqa_dataset, vqa_reader_of

        return load_sources(
            self.data_sets,
            load_vqa_dataset,
            vqa_reader_of,
            VQA_IDS,
            {**self.reader_options, **reader_options},
            validation_by=validation_by,
            validation_fold=validation_fold,
            on_bad_row=self.on_bad_row,
            answers=self.answers,
        )

    def _given(self, *names: str) -> dict[str, Option]:
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}


@dataclass
class VqaDataArguments(VqaSourceArguments):
    """Which questions to read, and how a missing validation split is made."""

    language: str | None = field(default=None, metadata={"help": "Language of SLAKE's questions: en (default) or zh."})
    variant: str | None = field(
        default=None, metadata={"help": "Which of PMC-VQA's sets: 1 (default), clean (test_clean.csv) or 2."}
    )
    validation_by: str = field(
        default="image",
        metadata={
            "help": "Where the data has no validation split, what one is made of: whole images (image); or, about "
            "images that training shows too, questions with all their rephrasings (question), single rows (wording) "
            "or, as VQA-RAD's official test has them, written questions whose templates stay (official); none: there "
            "is none, as for --split train and the predictions of cross_validate.py."
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
    def reader_options(self) -> dict[str, Option]:
        """As of any source, and the language and variant."""
        return super().reader_options | self._given("language", "variant")

    @property
    def validation_made_by(self) -> str:
        """What makes the validation split, as it stands after --validation_by."""
        fold = "" if self.validation_fold is None else f" --validation_fold {self.validation_fold}"
        return self.validation_by + fold

    def load_splits(self) -> "DatasetDict":
        """The splits of the source, with a validation split as `validation_by` and `validation_fold` say.

        Raises:
            ValueError: If `load_vqa_dataset` raises it.
            FileNotFoundError: If a file or an image is missing.
        """
        return self.load(None if self.validation_by == NO_VALIDATION else self.validation_by, self.validation_fold)
