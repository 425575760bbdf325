import json

import pytest
from small_evaluations import answers
from statsmodels.stats.multitest import multipletests

from amif.training.evaluation.extracted_answers import ExtractedPrediction
from amif.training.evaluation.result_files import to_json
from amif.training.evaluation.significance import compare_predictions
from amif.training.evaluation.system_comparison import compare_systems

SYSTEMS = {"good": answers([1] * 20), "middle": answers([1, 1, 0, 0] * 5), "bad": answers([0] * 18 + [1, 1])}


def test_every_pair_is_compared_once_and_corrected_for_their_number():
    result = compare_systems(SYSTEMS)
    assert [(pair.first, pair.second) for pair in result.pairs] == [
        ("good", "middle"),
        ("good", "bad"),
        ("middle", "bad"),
    ]
    for pair in result.pairs:
        assert pair.comparison == compare_predictions(SYSTEMS[pair.first], SYSTEMS[pair.second])
    raw = [pair.comparison.permutation_p for pair in result.pairs]
    expected = multipletests(raw, method="holm")[1]
    assert [pair.permutation_p_holm for pair in result.pairs] == pytest.approx(expected)
    assert [one.overall.value for one in result.systems] == [100, 50, 10]
    written = json.loads(to_json(result))
    assert written["answers"] == "exact"
    assert written["systems"][2]["overall"]["accuracy"] == 10
    assert written["systems"][2]["overall_extracted"] is None
    assert written["pairs"][0]["difference"] == 50


def test_pairs_are_compared_by_what_was_taken_out_of_sentences():
    taken = {
        name: [ExtractedPrediction(**vars(row) | {"correct": False}, extracted_correct=row.correct) for row in rows]
        for name, rows in SYSTEMS.items()
    }
    result, strict = compare_systems(taken), compare_systems(SYSTEMS)
    assert result.answers == "extracted"
    assert result.pairs == strict.pairs
    assert [one.overall.value for one in result.systems] == [0, 0, 0]
    assert [one.overall_extracted for one in result.systems] == [one.overall for one in strict.systems]
