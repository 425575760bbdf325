import pytest
from datasets import concatenate_datasets
from small_runs import CANDIDATES, build_data, build_processor, trainer

from amif.training.data import replace_images


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """24 questions about 12 images, and six of them again under other names of the images."""
    rows = build_data(tmp_path_factory.mktemp("images"))
    again = rows.select([5, 4, 4, 23, 22, 0])
    names = [f"copy of {image_id}" for image_id in again["image_id"]]
    again = again.remove_columns("image_id").add_column("image_id", names).select_columns(rows.column_names)
    return concatenate_datasets([rows, again.cast(rows.features)])


def counted(run, monkeypatch):
    """The questions and the images of each batch that `run` answers."""
    answer, read = run.prediction_step, []

    def counting(model, inputs, **options):
        read.append((len(inputs["input_ids"]), len(inputs["pixel_values"])))
        return answer(model, inputs, **options)

    monkeypatch.setattr(run, "prediction_step", counting)
    return read


def test_the_same_question_about_the_same_image_is_answered_once(tmp_path, processor, data, monkeypatch):
    run = trainer(tmp_path, processor, data, per_device_eval_batch_size=7)
    alone = [run.predict_answers(data.select([row])) for row in range(len(data))]
    read = counted(run, monkeypatch)
    answers, scores = run.predict_answers(data)
    assert sum(questions for questions, _ in read) == 24
    assert answers == [answer for (answer,), _ in alone]
    assert scores == pytest.approx([score for _, (score,) in alone], abs=1e-4)


def test_blank_images_of_one_size_are_one(tmp_path, processor, data, monkeypatch):
    run, blank = trainer(tmp_path, processor, data), replace_images(data, "blank")
    alone = [run.predict_answers(blank.select([row])) for row in range(3)]
    read = counted(run, monkeypatch)
    answers, scores = run.predict_answers(blank)
    assert read == [(2, 1)]
    assert answers == [alone[place % 2][0][0] for place in range(24)] + [alone[p][0][0] for p in (1, 0, 0, 1, 0, 0)]
    assert scores[:2] == pytest.approx([alone[0][1][0], alone[1][1][0]], abs=1e-4)


def test_a_frozen_encoder_reads_blank_images_of_one_size_once(tmp_path, processor, data, monkeypatch):
    run, blank = trainer(tmp_path, processor, data, freeze_vision_encoder=True), replace_images(data, "blank")
    expected = trainer(tmp_path, processor, data, run.model).predict_answers(blank)
    encode, read = run.model.model.encode_images, []
    monkeypatch.setattr(run.model.model, "encode_images", lambda pixels: read.append(len(pixels)) or encode(pixels))
    answers, scores = run.predict_answers(blank)
    assert read == [1]
    assert answers == expected[0]
    assert scores == pytest.approx(expected[1], abs=1e-4)


def test_questions_with_other_choices_are_others(tmp_path, processor, data, monkeypatch):
    choices = [list(CANDIDATES)] * 24 + [CANDIDATES[:1], CANDIDATES[:2], CANDIDATES[:2], *[list(CANDIDATES)] * 3]
    rows = data.add_column("choices", choices)
    run = trainer(tmp_path, processor, data)
    run.choices = True
    read = counted(run, monkeypatch)
    answers, _ = run.predict_answers(rows)
    assert sum(questions for questions, _ in read) == 26
    assert answers[24] == CANDIDATES[0]
    assert {answers[25], answers[26]} <= set(CANDIDATES[:2])
