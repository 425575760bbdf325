import inspect
from dataclasses import replace

import pytest

from amif.processing_amif import answer_normalization_amif
from amif.training.evaluation import answer_extraction, statements
from amif.training.evaluation.answer_extraction import RULES_VERSION
from amif.training.evaluation.fingerprint import code_sha256, evaluation_fingerprint

NORMALIZER = inspect.getsource(answer_normalization_amif)


def test_fingerprint_names_the_questions_whatever_their_order(rows):
    fingerprint = evaluation_fingerprint(rows, protocol="clean", seed=3, command="c")
    assert evaluation_fingerprint(rows[::-1], protocol="clean", seed=3, command="c") == fingerprint
    assert fingerprint.answer_type_counts == {"closed": 3, "open": 2}
    assert fingerprint.yes_no_counts == {"closed": 2, "open": 2}
    assert set(fingerprint.versions) == {"amif", "torch", "transformers", "datasets", "numpy", "sacrebleu"}
    changed = [replace(rows[0], question="Is it small?"), *rows[1:]]
    assert (
        evaluation_fingerprint(changed, protocol="clean", seed=3, command="c").questions_sha256
        != fingerprint.questions_sha256
    )


@pytest.mark.parametrize(
    ("written", "rewritten"),
    [
        ('"""The one normaliser of answers', '"""The only normaliser of answers'),
        ("lower case; white space of any kind", "white space of any kind; lower case"),
        ("# a sign that has vanished", "# this one"),
        ("\n\n\ndef normalize_answer", "\n# A comment.\n\n\n\ndef normalize_answer"),
        ('"""Bring a text to the characters', '"""' + "Reworded. " * 20 + "Bring a text to the characters"),
    ],
)
def test_another_wording_is_no_other_normaliser(written, rewritten):
    assert NORMALIZER.count(written) == 1
    assert code_sha256(NORMALIZER.replace(written, rewritten)) == code_sha256(NORMALIZER)


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        ("[‐‑‒–—−]", "[‐‑‒–—]"),
        (".lower()", ".upper()"),
        ('"、": ", "', '"、": ","'),
        ('category == "Cf"', 'category == "Cc"'),
    ],
)
def test_another_rule_is_another_normaliser(rule, changed):
    assert NORMALIZER.count(rule) == 1
    assert code_sha256(NORMALIZER.replace(rule, changed)) != code_sha256(NORMALIZER)


def test_the_fingerprint_names_the_normalisers_rules(rows):
    normalizer = evaluation_fingerprint(rows, protocol="clean", seed=3, command="c").normalizer
    assert (normalizer.name, normalizer.source_sha256) == ("normalize_answer", code_sha256(NORMALIZER))


def test_the_fingerprint_names_the_rules_of_extraction_where_they_were_used(rows):
    facts = {"protocol": "clean", "seed": 0, "command": "c"}
    assert evaluation_fingerprint(rows, **facts).extraction is None
    rules = evaluation_fingerprint(rows, **facts, extracts=True).extraction
    assert rules.version == RULES_VERSION
    source = inspect.getsource(answer_extraction) + inspect.getsource(statements)
    assert rules.source_sha256 == code_sha256(source)
