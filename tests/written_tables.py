"""Tables of rows as people keep them, in each of the formats that are read."""

import csv
import json
from pathlib import Path
from typing import Any

from datasets import Dataset


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write `rows` in the format that the suffix of `path` names."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        # A column is of one type: numbers are texts, and lists are lists.
        texts = [{name: v if isinstance(v, list) else str(v) for name, v in row.items()} for row in rows]
        Dataset.from_list(texts).to_parquet(path)
    return path
