from dataclasses import replace

from amif.training.evaluation.fingerprint import evaluation_fingerprint


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
