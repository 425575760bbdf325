"""Records of runs that nobody did, for tests of what reads them."""

import json
from dataclasses import asdict
from pathlib import Path

from amif.training.experiments.runs import RECORD_NAME, Configuration, RunRecord


def write_record(folder: Path, kind: str, metrics: dict | None = None, seconds: float = 1.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record = RunRecord(kind, Configuration("run.py", {}), 1, "python run.py", metrics or {}, "2026-01-01", seconds, {})
    (folder / RECORD_NAME).write_text(json.dumps(asdict(record)))
