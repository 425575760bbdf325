"""The counts beside the paper's percentages are searched for anew, not believed."""

import pytest

from amif.training.evaluation.fingerprint import evaluation_fingerprint
from amif.training.evaluation.metrics import build_metrics
from amif.training.evaluation.prediction_rows import prediction_rows
from amif.training.reports.published import published_results, published_table
from amif.training.reports.tables import plain_text

# Questions (open, closed) of the test splits by both definitions; PathVQA's file has no answer type.
GROUPS = {
    "vqa_rad": {"yes_no": (200, 251), "answer_type": (179, 272)},
    "slake": {"yes_no": (706, 355), "answer_type": (645, 416)},
    "path_vqa": {"yes_no": (3370, 3391)},
}


def half_a_digit(row):
    """Half of the last digit that a row prints."""
    printed = [f"{row[part]:g}" for part in ("open", "closed", "overall")]
    return 0.501 * 10.0 ** -max(len(text.partition(".")[2]) for text in printed)


def solutions(row, groups):
    tolerance = half_a_digit(row)
    found = []
    for definition, (opens, closeds) in groups.items():
        rights = {
            part: [hits for hits in range(total + 1) if abs(100 * hits / total - row[part]) <= tolerance]
            for part, total in (("open", opens), ("closed", closeds))
        }
        found += [
            {"closed_by": definition, "open": [right, opens], "closed": [also, closeds]}
            for right in rights["open"]
            for also in rights["closed"]
            if abs(100 * (right + also) / (opens + closeds) - row["overall"]) <= tolerance
        ]
    return found


ROWS = [row for row in published_results()["rows"] if row["open"] is not None]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['method']} {row['dataset']}")
def test_counts_stand_exactly_where_the_percentages_have_one_solution(row):
    found = solutions(row, GROUPS[row["dataset"]])
    if len(found) != 1:
        assert "counts" not in row
        return
    overall = [found[0]["open"][place] + found[0]["closed"][place] for place in range(2)]
    assert row["counts"] == {**found[0], "overall": overall}


def test_amif_groups_by_yes_and_no_and_its_rivals_by_the_file():
    definitions = {
        (row["method"], row["dataset"]): row["counts"]["closed_by"] for row in ROWS if row.get("counts") is not None
    }
    assert {definition for (method, _), definition in definitions.items() if method == "AMiF"} == {"yes_no"}
    assert {definition for (method, _), definition in definitions.items() if method != "AMiF"} == {"answer_type"}


def metrics(dataset, protocol, name, split="test"):
    rows = prediction_rows(dataset, ["yes"] * len(dataset))
    fingerprint = evaluation_fingerprint(rows, protocol=protocol, seed=0, command="c")
    return build_metrics(rows, protocol=protocol, dataset_name=name, split=split, baselines={}, fingerprint=fingerprint)


def test_ours_stands_below_by_both_definitions_and_what_does_not_compare_is_said(dataset):
    table = published_table(metrics(dataset, "clean", "vqa_rad"))
    cells = {(row[0], row[5]): row for row in table.rows}
    assert cells["AMiF", "yes/no answer"][1:5] == ("72.00", "87.25", "80.49", "363/451")
    assert cells["MUMC", "answer_type"][4] == "357/451"
    assert cells["MMBERT", "unknown"][1] == "63.10*"
    assert cells["this result", "answer_type"][1:5] == ("0.00", "33.33", "25.00", "1/4")
    assert cells["this result", "yes/no answer"][1:5] == ("0.00", "50.00", "25.00", "1/4")
    text = plain_text(table)
    assert "this result is of the protocol 'clean'" in text
    assert "test split has 451 questions, this one 5" in text


def test_only_the_papers_protocol_split_and_set_compare(dataset):
    assert not [note for note in published_table(metrics(dataset, "paper", "vqa_med_2019")).notes if "Not comp" in note]
    validation = published_table(metrics(dataset, "paper", "slake", "validation"))
    assert "this result is of validation" in plain_text(validation)
    assert published_table(metrics(dataset, "paper", "phantom")) is None
