import json
import subprocess
import sys

from amif.training.evaluation.result_files import to_json
from amif.training.evaluation.results import Interval

# What only some measures need, and what is slow to import.
HEAVY = ("sacrebleu", "scipy.stats", "imagehash", "datasets", "evaluate", "matplotlib")


def test_an_interval_is_written_under_the_name_of_its_measure():
    assert to_json(Interval(50.0, 25.5, 75.0, 4)) == '{"accuracy": 50.0, "ci95": [25.5, 75.0], "n": 4}'
    written = to_json({"above": Interval(-3.0, -5.0, 1.0, 8, "difference"), "none": None})
    assert written == '{"above": {"difference": -3.0, "ci95": [-5.0, 1.0], "n": 8}, "none": null}'


def test_measures_load_nothing_of_others_and_metrics_neither_bleu_nor_tests_before_they_are_computed():
    code = (
        "import json, sys\n"
        "import amif\n"
        "before = set(sys.modules)\n"
        "import amif.training.evaluation.retrieval\n"
        f"print(json.dumps(sorted(set({HEAVY}) & (set(sys.modules) - before))))\n"
        "import amif.training.evaluation.metrics, amif.training.reports.tables, amif.training.evaluation.result_files\n"
        "print(json.dumps([name for name in ('sacrebleu', 'scipy.stats', 'imagehash') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[], []]
