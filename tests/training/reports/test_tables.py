from dataclasses import replace

from amif.training.evaluation.grounding import grounding
from amif.training.evaluation.knowledge_selection import KnowledgeSelection
from amif.training.evaluation.prediction_rows import prediction_rows
from amif.training.reports.tables import format_table


def test_table_is_aligned_and_ends_with_protocol_and_fingerprint(metrics):
    title, header, *body, confidence, note, fingerprint, command = format_table(metrics).splitlines()
    assert title == "tiny, test: 5 questions, 1 not scored"
    assert {len(line) for line in (header, *body)} == {len(header)}
    assert note == f"Protocol paper: {metrics.protocol_note}"
    assert confidence.startswith("Confidence (3 answers): expected calibration error ")
    assert fingerprint.startswith(f"Fingerprint: questions {metrics.fingerprint.questions_sha256[:12]}; ")
    assert "answer_type 3 closed, 2 open; yes/no 2 closed, 2 open" in fingerprint
    assert "seed 3" in fingerprint
    assert command == "Command: run_vqa.py --seed 3"
    cells = {line.split("  ")[0]: line.split()[-5:] for line in body}
    low, high = metrics.scores.overall.ci95
    assert cells["overall"] == ["50.00", f"{low:.2f}", "-", f"{high:.2f}", "4"]
    assert {"closed (answer_type)", "open (yes/no answer)", "question type size", "baseline always_no"} <= set(cells)


def test_table_of_an_unscored_run_has_a_dash(metrics):
    lines = format_table(replace(metrics, scores=replace(metrics.scores, overall=None))).splitlines()
    assert lines[2].split() == ["overall", "-", "-", "0"]


def test_grounding_stands_below_where_it_was_measured(metrics, dataset):
    named = dataset.add_column("modality", ["size", "size", "CT", "CT", "CT"])
    real, other = (prediction_rows(named, ["yes", side, "liver", "yes", "axial"]) for side in ("left", "right"))
    measured = grounding(real, other, [real, other], [other])
    first, second = format_table(replace(metrics, grounding=measured)).split("\n\n")
    assert first == format_table(metrics)
    title, header, *body, _, note = second.splitlines()
    assert title == "Does it look at the image?"
    assert {len(line) for line in (header, *body)} == {len(header)}
    values = {line.split("  ")[0]: line.split("  ", 1)[1].split()[0] for line in body}
    assert values["accuracy, real images"] == values["among alike: accuracy, real images"] == "75.00"
    assert values["accuracy, shuffle 2"] == values["among alike: accuracy, mean of shuffles"] == "50.00"
    assert (values["visual reliance"], values["among alike: visual reliance"]) == ("12.50", "25.00")
    assert values["among alike: visual reliance, modality size"] == "50.00"
    assert values["among alike: visual reliance, modality CT"] == "0.00"
    assert values["among alike: visual reliance, question type size"] == "0.00"
    assert values["among alike: visual reliance, question type position"] == "100.00"
    assert "images of one modality shuffled" in note
    assert "alike" not in format_table(replace(metrics, grounding=grounding(real, other, [])))


def test_what_knowledge_selects_stands_below_where_it_was_measured(metrics):
    measured = KnowledgeSelection(
        entries=21,
        mean_rank=4.5,
        mean_rank_of_others=9.25,
        chance=11,
        gate_mean=0.5,
        gate_std=0.125,
        varying_share=0.06,
        n=9,
    )
    first, second = format_table(replace(metrics, knowledge=measured)).split("\n\n")
    assert first == format_table(metrics)
    title, header, *body, _ = second.splitlines()
    assert title == "What does it select from its knowledge?"
    assert {len(line) for line in (header, *body)} == {len(header)}
    assert "attention over 21 answers, 9 questions" in header
    assert [line.split("  ")[-1].strip() for line in body] == ["4.50", "9.25", "11.00", "0.060", "0.500, 0.125"]
    without_gate = replace(measured, gate_mean=None, gate_std=None)
    assert "gate" not in format_table(replace(metrics, knowledge=without_gate))
