"""The page, read as a browser would: what it holds, what it fetches, and in which order questions stand."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product

import numpy as np
import pytest
from PIL import Image
from small_evaluations import prediction

from amif.training.data.schema import build_vqa_dataset
from amif.training.evaluation.extracted_answers import Candidates, extract_answers, measure_extraction
from amif.training.evaluation.fingerprint import evaluation_fingerprint
from amif.training.evaluation.metrics import RunFacts, build_metrics
from amif.training.reports.html_report import __file__ as SOURCE
from amif.training.reports.html_report import write_html_report


class Page(HTMLParser):
    """Text and attributes of the questions, and of the page what it would fetch, run or is told by."""

    def __init__(self, path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.questions, self.fetched, self.scripts, self.tags = [], [], [], []
        self.policy, self.inside = "", None
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "data", "srcset", "action")]
        self.fetched += [value for name, value in attrs if name == "href" and not value.startswith("#")]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag == "li":
            self.questions.append({**attributes, "text": ""})
        if tag == "script":
            self.scripts.append({**attributes, "text": ""})
        if tag == "img" and "data-image" in attributes:
            self.questions[-1]["image"] = int(attributes["data-image"])
        self.inside = self.scripts[-1] if tag == "script" else self.questions[-1] if self.questions else None

    def handle_endtag(self, tag):
        self.inside = None if tag in ("ol", "script") else self.inside

    def handle_data(self, data):
        if self.inside is not None:
            self.inside["text"] += data if self.inside in self.scripts else f"{data} "

    @property
    def images(self):
        (held,) = [script["text"] for script in self.scripts if script.get("id") == "images"]
        return json.loads(held)


def metrics_of(rows):
    return build_metrics(
        rows,
        protocol="clean",
        dataset_name="tiny",
        split="test",
        baselines={},
        fingerprint=evaluation_fingerprint(rows, protocol="clean", seed=0, command="run_vqa.py"),
    )


def written(path, rows, **options):
    write_html_report(path, rows, replace(metrics_of(rows), **options.pop("facts", {})), **options)
    return Page(path)


def asked(question, image_id="a", **fields):
    return replace(prediction(question, image_id, **fields), question=question)


def drawn(folder, *image_ids):
    """A row a name; each name its own grey."""
    for shade, image_id in enumerate(dict.fromkeys(image_ids)):
        Image.new("L", (60, 40), 40 + 80 * shade).save(folder / f"{image_id}.png")
    return build_vqa_dataset([{"image": str(folder / f"{name}.png"), "image_id": name} for name in image_ids])


def questions(page):
    return [one["text"].split(" answer ")[0].strip() for one in page.questions]


def test_confident_errors_come_first(tmp_path):
    rows = [
        asked("right surely", score=-0.1, correct=True),
        asked("unknown"),
        asked("wrong, no score", correct=False),
        asked("wrong unsurely", score=-3, correct=False),
        asked("right unsurely", score=-3, correct=True),
        asked("wrong surely", score=-0.1, correct=False),
    ]
    page = written(tmp_path / "report.html", rows)
    bad = ["wrong surely", "wrong unsurely", "wrong, no score"]
    assert questions(page) == [*bad, "right unsurely", "right surely", "unknown"]
    assert [one["data-verdict"] for one in page.questions] == ["wrong"] * 3 + ["right"] * 2 + ["not scored"]
    assert "90 %" in page.questions[0]["text"], "exp(-0.1)"


def test_an_image_stands_in_the_page_once_however_many_ask_about_it(tmp_path):
    rows = [asked(f"{number} about {name}", name, correct=True) for number in range(3) for name in "ba"]
    data = drawn(tmp_path, *(row.image_id for row in rows))
    page = written(tmp_path / "report.html", rows, images=data)
    assert len(page.images) == 2
    assert {one["text"].count("image a"): page.images[one["image"]] for one in page.questions} == {
        places: page.images[number] for number, places in enumerate((0, 1))
    }
    shades = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image)))).mean() for image in page.images]
    assert shades == pytest.approx([40, 120], abs=2)


def test_a_broken_image_says_so_in_its_place(tmp_path):
    data = drawn(tmp_path, "a", "b")
    (tmp_path / "a.png").write_text("no image")
    page = written(tmp_path / "report.html", [asked("first", "a"), asked("second", "b")], images=data)
    assert "This image cannot be read" in page.questions[0]["text"]
    assert "cannot" not in page.questions[1]["text"]
    assert page.questions[1]["image"] == 0
    assert str(tmp_path) not in page.text


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&lt; {{ 7 * 7 }}"


def test_texts_of_data_and_answers_are_shown_and_never_run(tmp_path):
    row = replace(asked(HOSTILE, HOSTILE, answer=HOSTILE, prediction=HOSTILE, correct=False), answer_type=HOSTILE)
    further = {name: HOSTILE for name in ("modality", "organ", "dataset_name")}
    row = replace(row, question_type=HOSTILE, further=further)
    Image.new("L", (8, 8)).save(tmp_path / "image.png")
    data = build_vqa_dataset([{"image": str(tmp_path / "image.png"), "image_id": HOSTILE}])
    page = written(
        tmp_path / "report.html", [row], images=data, blank=[replace(row, prediction=HOSTILE * 2)],
        trained_on=[HOSTILE], facts={"dataset": HOSTILE},
    )  # fmt: skip
    harmless = written(tmp_path / "harmless.html", [asked("?", "a", answer="a", prediction="b", correct=False)])
    assert page.tags.count("script") == 2, "the images, and the page's own"
    assert page.tags.count("img") == harmless.tags.count("img") + 1
    assert page.questions[0]["text"].count(HOSTILE) == 10, "three texts, blank image twice, four kinds, image"
    assert "49" not in page.questions[0]["text"]


def test_nothing_is_fetched_and_only_the_pages_own_script_runs(tmp_path):
    page = written(tmp_path / "report.html", [asked("?", correct=True)], images=drawn(tmp_path, "a"))
    assert page.fetched == []
    assert not re.search(r"@import|url\(|https?:", page.text)
    (own,) = [script["text"] for script in page.scripts if "type" not in script]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert "default-src 'none'" in page.policy
    assert f"script-src 'sha256-{digest}'" in page.policy
    assert own.count("\n") < 100


def test_questions_can_be_filtered_by_all_that_the_data_say(tmp_path):
    kinds = [("ct", "closed"), ("mri", "open"), ("ct", None)]
    rows = [
        replace(asked(f"{modality} {kind}", correct=True, modality=modality), answer_type=kind)
        for modality, kind in kinds
    ]
    page = written(tmp_path / "report.html", rows)
    numbers = {text: number for number, text in re.findall(r'<option value="(\d+)">(.*?)</option>', page.text)}
    assert numbers.keys() == {"ct", "mri", "open", "closed"}
    for (modality, kind), one in zip(kinds, page.questions, strict=True):
        wanted = {numbers[modality]} | ({numbers[kind]} if kind else set())
        assert set(one["data-kinds"].split()) == wanted


def test_answers_on_blank_images_stand_beside(tmp_path):
    rows = [asked("first", prediction="yes", correct=True), asked("second", prediction="left", correct=False)]
    blank = [replace(rows[0], prediction="no"), rows[1]]
    page = written(tmp_path / "report.html", rows, blank=blank)
    texts = {name: one["text"] for name, one in zip(questions(page), page.questions, strict=True)}
    assert re.search(r"blank image\s+no\s", texts["first"])
    assert re.search(r"blank image\s+the same answer", texts["second"])
    assert "blank image" not in written(tmp_path / "report.html", rows).questions[0]["text"]


def test_a_questions_own_choices_stand_beside(tmp_path):
    page = written(tmp_path / "report.html", [replace(asked("first"), choices=["<b>", "left"]), asked("second")])
    assert re.search(r"choices\s+<b> · left\s", page.questions[0]["text"])
    assert "choices" not in page.questions[1]["text"]


def test_the_answer_taken_out_of_a_sentence_stands_beside_and_says_what_is_right(tmp_path):
    replies = ["Yes, it is.", "It is unclear.", "No.", None]
    rows = [asked(text, answer="yes", prediction=text, correct=False, score=-0.1) for text in map(str, replies[:3])]
    rows += [asked("None", answer="yes", prediction=None, correct=False)]
    rows = [replace(row, question=f"Is it? {row.question}") for row in rows]
    found = extract_answers(rows, Candidates({}, frozenset(), "those"))
    page = written(
        tmp_path / "report.html", found, facts={"extraction": measure_extraction(found, Candidates({}, (), "those"))}
    )
    shown = {
        name: (one["data-verdict"], one["text"]) for name, one in zip(questions(page), page.questions, strict=True)
    }
    assert [verdict for verdict, _ in shown.values()] == ["wrong", "wrong", "wrong", "right"]
    assert re.search(r"answer\s+Yes, it is\.\s+extracted\s+yes\s+✓ right", shown["Is it? Yes, it is."][1])
    assert re.search(r"extracted\s+none\s+✗ wrong", shown["Is it? It is unclear."][1])
    assert re.search(r"answer\s+withheld\s+✗ wrong", shown["Is it? None"][1])
    assert "extracted" not in shown["Is it? None"][1]
    assert "answers taken out of sentences" in page.text
    assert "extracted" not in written(tmp_path / "report.html", rows).text


def test_questions_without_references_are_neither_right_nor_wrong(tmp_path):
    rows = [asked("first", prediction="yes", score=-0.1), asked("second", prediction=None)]
    page = written(tmp_path / "report.html", rows)
    assert questions(page) == ["first", "second"]
    assert "reference" not in "".join(one["text"] for one in page.questions)
    assert "withheld" in page.questions[1]["text"]
    assert "not scored: there are no references" in page.text
    assert 'name="verdict"' not in page.text


def test_it_says_what_the_model_learned_from_and_was_shown(tmp_path):
    run = RunFacts("shuffle", refit=True, training_rows={"slake": 4919})
    page = written(tmp_path / "r.html", [asked("?", correct=True)], facts={"run": run}, trained_on=["slake", "mine"])
    assert "The model was trained on slake (4,919 questions), mine." in page.text
    assert "trained on the questions of the validation split too" in page.text
    assert "The real images were replaced (--ablate_image shuffle)" in page.text


def test_two_thousand_questions_about_five_hundred_images_keep_below_twenty_megabytes(tmp_path):
    """Of noise, which no format makes small, and with the longest texts that are shown whole."""
    values = np.random.default_rng(0).integers(0, 256, (170, 170, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "noise.bmp")
    data = build_vqa_dataset([{"image": str(tmp_path / "noise.bmp"), "image_id": str(i % 500)} for i in range(2000)])
    rows = [asked("q" * 999, str(i % 500), answer="a" * 999, prediction="b" * 2000, correct=False) for i in range(2000)]
    measured = metrics_of(rows[:1])  # of all it would cost seconds
    write_html_report(tmp_path / "report.html", rows, measured, images=data)
    text = (tmp_path / "report.html").read_text()
    assert (text.count("<li "), text.count("/9j/")) == (2000, 500)
    assert 12_000_000 < len(text) < 20_000_000


def test_of_more_questions_the_first_are_shown_and_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("amif.training.reports.html_report.MOST_QUESTIONS", 2)
    rows = [asked("right", correct=True), asked("right too", correct=True), asked("wrong", correct=False)]
    page = written(tmp_path / "report.html", rows)
    assert questions(page) == ["wrong", "right"]
    assert "These are the first 2 of 3" in page.text


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_texts_stand_out_in_light_and_dark():
    """WCAG 2.2, 1.4.3: a contrast of 4.5 at least."""
    with open(SOURCE.replace(".py", ".css"), encoding="utf-8") as file:
        light, dark = re.split(r"@media \(prefers-color-scheme: dark\)", file.read())
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        pairs = [*product(("text", "quiet", "accent"), ("page", "card")), ("card", "accent")]
        pairs += [(name, f"{name}-tint") for name in ("right", "wrong")]
        for pair in pairs:
            low, high = sorted(luminance(colours[name]) for name in pair)
            assert (high + 0.05) / (low + 0.05) >= 4.5, pair
