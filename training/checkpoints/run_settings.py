"""What the weights of a run follow from, kept beside them: a run is not gone on with as if it were another."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset
from transformers import TrainingArguments
from transformers.utils import logging

from ..data.data_fingerprint import data_fingerprint
from ..data.mixtures import places_by_set
from ..data.streams import size_of
from ..evaluation.result_files import checkpoint_sha256, write_json
from ..evaluation.results import Result

logger = logging.get_logger(__name__)

RUN_SETTINGS_NAME = "run_settings.json"

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

# Models and teachers that a run starts from: their weights count, not where they lie.
_STARTS = ("model_name_or_path", "vision_model", "text_model", "decoder_model", "teacher")

# Sources of data, whose rows are compared: of a path or "name=folder" the name counts.
_SOURCES = ("dataset", "vqa_dataset", "also_train_on", "leave_out_images_of", "add_vqa_pairs")

# Arguments that leave the trained weights as they are, by pattern: what is only evaluated, and how; places; records;
# checkpoints; the machine.
_EVALUATION = (
    "eval_split",
    "ablate_image",
    "grounding_shuffles",
    "measure_knowledge",
    "abstention_error_rate",
    "predict_file",
)
_EVALUATING = ("per_device_eval_*", "eval_a*", "eval_do_*", "eval_use_*", "eval_on_*", "batch_eval_*", "*_full_eval")
_PLACES = ("output_dir", "data_dir", "image_dir", "reports_dir", "hub_*", "push_to_hub", "on_bad_row")
_RECORDS = ("log*", "include_*", "disable_tqdm", "report_to", "run_name", "project", "trackio_*", "debug", "skip_*")
_CHECKPOINTS = ("save_*", "enable_jit_*", "do_*", "resume_*", "restore_*", "count_flops", "prediction_loss_only")
_MACHINE = ("dataloader_[!d]*", "use_cpu", "local_rank", "*_checkpointing*", "torch_*", "*liger*", "use_cache", "ddp_*")
_SHARDS = ("fsdp*", "deepspeed", "parallelism_config", "remove_unused_columns", "label_names", "length_column_name")
_WITHOUT_EFFECT = (*_EVALUATION, *_EVALUATING, *_PLACES, *_RECORDS, *_CHECKPOINTS, *_MACHINE, *_SHARDS)


@dataclass(frozen=True)
class RunSettings(Result):
    """What the weights of a run follow from.

    Attributes:
        values: Arguments by name, with their two dashes; "processes"; and of the rows that are trained on and validated
            by, "training data" and "validation data", number and hash, of several sets also of each.
    """

    values: Mapping[str, Value]

    @classmethod
    def of(
        cls,
        training_args: TrainingArguments,
        arguments: Sequence[Any],
        training: Dataset | IterableDataset | None,
        validation: Dataset | None,
    ) -> "RunSettings":
        """The settings of a run.

        Args:
            training_args: The trainer's arguments.
            arguments: Further dataclasses of the command line.
            training: The rows to train on; None where they are not read.
            validation: The rows that checkpoints are chosen by; None where there are none.
        """
        given = training_args.to_dict()
        for one in arguments:
            given |= {field.name: getattr(one, field.name) for field in fields(one)}
        values = {
            f"--{name}": _plain(name, value)
            for name, value in sorted(given.items())
            if not any(fnmatchcase(name, pattern) for pattern in _WITHOUT_EFFECT)
        }
        values["processes"] = training_args.world_size
        for name, rows in (("training data", training), ("validation data", validation)):
            if isinstance(rows, IterableDataset):
                # Of a stream, which nobody reads to its end for this, the first rows stand for all.
                values[name] = f"{size_of(rows)}, sha256 {data_fingerprint(rows.take(8))[:16]}"
            elif rows is not None:
                values[name] = _described(rows)
                for own, places in places_by_set(rows).items():
                    values[f"{name}, {own}"] = _described(rows.select(places))
        return cls(values)

    def write(self, folder: str | Path) -> None:
        """Keep them in the folder of a run or of a checkpoint."""
        write_json(Path(folder) / RUN_SETTINGS_NAME, self)

    def check(self, folder: str | Path) -> None:
        """Make sure that the weights in a folder are of these settings; where it does not say, that is logged.

        Args:
            folder: Of a run or a checkpoint that is gone on with.

        Raises:
            ValueError: If they are of others, with each difference.
        """
        try:
            kept = json.loads((Path(folder) / RUN_SETTINGS_NAME).read_text(encoding="utf-8"))["values"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            logger.warning(
                f"{folder} has no {RUN_SETTINGS_NAME} that can be read ({type(error).__name__}): whether this "
                "command's arguments and data are its own is not checked."
            )
            return
        differences = [
            f"{name} is {_shown(self.values[name])} here and {_shown(value)} there"
            for name, value in kept
            if name in self.values and self.values[name] != value
        ]
        if differences:
            raise ValueError(
                f"{folder} was trained by other settings than this command's: {'; '.join(differences)}. Give its own "
                "to go on with it, or another --output_dir for a new run; to evaluate what is trained as it is, give "
                f"--do_train false --model_name_or_path {folder} and another --output_dir."
            )


def _described(rows: Dataset) -> str:
    return f"{len(rows)} rows, sha256 {data_fingerprint(rows)[:16]}"


def _plain(name: str, value: Any) -> Value:
    if name in _STARTS and isinstance(value, str):
        kind, colon, path = value.rpartition(":") if name == "teacher" else ("", "", value)
        has_weights = Path(path).is_dir() and list(Path(path).glob("*.safetensors"))
        return f"{kind}{colon}weights {checkpoint_sha256(path)[:16]}" if has_weights else value
    if name in _SOURCES and value is not None:
        names: list[Value] = [
            Path(source.partition("=")[0]).name for source in ([value] if isinstance(value, str) else value)
        ]
        return names[0] if isinstance(value, str) else names
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # which JSON has no number for
    return json.loads(json.dumps(value, default=str))


def _shown(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)
