from amif.training.evaluation import format_table


def test_table_is_aligned_and_ends_with_the_protocols_note(metrics):
    title, header, *body, note = format_table(metrics).splitlines()
    assert title == "tiny, test: 5 questions, 1 not scored"
    assert {len(line) for line in (header, *body)} == {len(header)}
    assert note == f"Protocol paper: {metrics['protocol_note']}"
    cells = {line.split("  ")[0]: line.split()[-5:] for line in body}
    low, high = metrics["overall"]["ci95"]
    assert cells["overall"] == ["50.00", f"{low:.2f}", "-", f"{high:.2f}", "4"]
    assert {"closed (answer_type)", "open (yes/no answer)", "question type size", "baseline always_no"} <= set(cells)


def test_table_of_an_unscored_run_has_a_dash(metrics):
    lines = format_table({**metrics, "overall": None}).splitlines()
    assert lines[2].split() == ["overall", "-", "-", "0"]
