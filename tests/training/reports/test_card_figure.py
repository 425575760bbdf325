"""The figures of model cards: their pixels say what the metrics say."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written_metrics import METRICS

from amif.training.evaluation.results import Interval
from amif.training.reports.card_figure import Bar, accuracy_figure, draw_bars, recall_figure

CARDS = sorted((Path(__file__).parents[3] / "model_cards").glob("amif-*.md"))
BLUE = (0x86, 0xAE, 0xDE)


def bars_of(figure):
    """The widths of the bars, from the first on, in per cent of the last, which is 100."""
    blue = (np.asarray(Image.open(io.BytesIO(figure))) == BLUE).all(-1)
    rows = blue.sum(1)
    # A whisker may hide the middle of a short bar.
    starts = [row for row in range(10, len(rows)) if rows[row] and not rows[row - 10 : row].any()]
    widths = [int(rows[start]) for start in starts]
    return [100 * width / widths[-1] for width in widths]


def test_bars_are_as_long_as_their_values():
    figure = draw_bars("title", [Bar("a", 25.0), Bar("b", 0.0), Bar("c", 60.0, (50.0, 70.0)), Bar("d", 100.0)])
    assert np.allclose(bars_of(figure), [25, 0, 60, 100], atol=0.3)


@pytest.mark.parametrize(
    "card", [card for card in CARDS if card.with_suffix(".png").exists()], ids=lambda card: card.stem
)
def test_the_images_of_our_cards_show_their_tables(card):
    table = card.read_text(encoding="utf-8")
    assert f"({card.stem}.png)" in table
    values = {name: float(value) for name, value in re.findall(r"^(\w.+?)  +([\d.]+)  +[\d.]+ - +[\d.]+", table, re.M)}
    closed = "answer_type" if "closed (answer_type)" in values else "yes/no answer"
    types = sorted((value for name, value in values.items() if name.startswith("question type ")), reverse=True)
    shown = [values["overall"], values[f"closed ({closed})"], values[f"open ({closed})"], *types]
    widths = np.array(bars_of(card.with_suffix(".png").read_bytes()))
    assert np.allclose(widths / widths.max(), np.array(shown) / max(shown), atol=0.01)


def test_kinds_of_questions_stand_below_all_and_of_many_the_worst(monkeypatch):
    drawn = []
    monkeypatch.setattr("amif.training.reports.card_figure.draw_bars", lambda *given: drawn.append(given))
    types = {f"type {place}": Interval(5.0 * place, 0.0, 100.0, 3) for place in range(20)}
    accuracy_figure(replace(METRICS, scores=replace(METRICS.scores, by_question_type=types)))
    ((title, bars, reference),) = drawn
    assert title == "Right answers in %: slake, test, protocol paper"
    assert bars[0] == Bar("all questions", 66.67, (30.0, 90.0))
    assert [bar.label for bar in bars[1:3]] == ["closed", "open"]
    assert [bar.label for bar in bars[3:]] == [f"type {place}" for place in range(11, -1, -1)]
    assert reference.value == 41.0


def test_kinds_that_share_a_name_and_data_of_several_sets_stay_apart(monkeypatch):
    drawn = []
    monkeypatch.setattr("amif.training.reports.card_figure.draw_bars", lambda *given: drawn.append(given))
    scores = replace(METRICS.scores, by_question_type={"closed": Interval(3.0, 0.0, 9.0, 2)})
    accuracy_figure(replace(METRICS, scores=scores, dataset="slake+/home/own/a.csv"))
    ((title, bars, _),) = drawn
    assert title.startswith("Right answers in %: slake+a.csv, test")
    assert [bar.label for bar in bars] == ["all questions", "closed", "open", "closed"]
    assert bars[1].value != bars[3].value == 3.0


def test_kinds_whose_letters_the_font_lacks_are_not_drawn_as_boxes():
    scores = replace(METRICS.scores, by_question_type={"Größe": Interval(3.0, 0.0, 9.0, 2)})
    assert accuracy_figure(replace(METRICS, scores=scores)) is None


def test_without_references_or_recalls_there_is_no_figure():
    assert accuracy_figure(replace(METRICS, scores=replace(METRICS.scores, overall=None))) is None
    assert recall_figure({"test": {"test_loss": 1.0}}) is None


def test_a_label_that_is_too_long_is_cut(monkeypatch):
    figure = draw_bars("title", [Bar("long " * 30, 100.0)])
    image = np.asarray(Image.open(io.BytesIO(figure)).convert("L"))
    assert (image[:, :20] == 255).all(), "nothing at the edge"


def test_recalls_are_drawn_in_per_cent():
    figure = recall_figure({"test": {"test_recall_i2t@1": 0.25, "test_recall_t2i@10": 1.0, "test_loss": 3.0}})
    assert np.allclose(bars_of(figure), [25, 100], atol=0.3)
