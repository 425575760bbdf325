import pytest
from datasets import Dataset

from amif.training.data import teacher_vectors
from amif.training.data.teacher_vectors import check_teacher_vectors


def table(images, texts):
    """Three studies, the first of two images."""
    shown = [["a.png", "b.png"], ["c.png"], ["d.png"]]
    return Dataset.from_dict({"images": shown, "clip_image_embeds": images, "clip_text_embeds": texts})


GOOD = [[3.0, 4.0]] * 3


@pytest.mark.parametrize(
    ("images", "texts", "message"),
    [
        (GOOD, [[3.0, 4.0], [0.0, float("nan")], [1.0, 0.0]], "row 1 .*clip_text_embeds holds NaN"),
        (GOOD, [[3.0, 4.0], [1.0, 1.0], [float("inf"), 0.0]], "row 2 .*clip_text_embeds holds NaN, infinity"),
        (GOOD, [[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]], "row 1 .*clip_text_embeds is a vector of zeros"),
        (GOOD, [[3.0, 4.0], [1.0], [1.0, 0.0]], "row 1 .*clip_text_embeds has 1 values, not 2"),
        (GOOD, [[3.0, 4.0], None, [1.0, 0.0]], "row 1 .*clip_text_embeds is empty"),
        (GOOD, [[3.0, 4.0], [1.0, None], [1.0, 0.0]], "row 1 .*clip_text_embeds holds NaN"),
        (GOOD, [[], [], []], "row 0 .*clip_text_embeds is of the type list"),
        (GOOD, ["a", "b", "c"], "row 0 .*clip_text_embeds is of the type string, no list of numbers"),
        ([[3.0]] * 3, GOOD, "row 0 .*clip_image_embeds has 1 values, not 2"),
        ([[[3.0, 4.0]], [[3.0, 4.0]], [[3.0, 4.0]]], GOOD, "row 0 .*clip_image_embeds holds 1 vectors for 2 images"),
        ([[[3.0, 4.0]] * 2, [[3.0, 4.0]], [None]], GOOD, "row 2 .*clip_image_embeds is empty"),
        ([[[3.0, 4.0]] * 2, [[0.0, 0.0]], [[1.0, 0.0]]], GOOD, "row 1 .*clip_image_embeds is a vector of zeros"),
    ],
)
def test_columns_that_are_no_embeddings_name_the_row(images, texts, message):
    with pytest.raises(ValueError, match=f"train: {message}"):
        check_teacher_vectors(table(images, texts), "clip_image_embeds", "clip_text_embeds", "train")


@pytest.mark.parametrize("images", [GOOD, [[[3.0, 4.0]] * 2, [[3.0, 4.0]], [[1, 0]]]])
def test_vectors_of_a_study_or_of_each_image_have_one_width(images):
    assert check_teacher_vectors(table(images, GOOD), "clip_image_embeds", "clip_text_embeds", "train") == 2


def test_rows_are_counted_over_batches(monkeypatch):
    monkeypatch.setattr(teacher_vectors, "_BATCH", 2)
    with pytest.raises(ValueError, match=r"row 2 .*clip_text_embeds has 1 values"):
        check_teacher_vectors(table(GOOD, [*GOOD[:2], [1.0]]), "clip_image_embeds", "clip_text_embeds", "train")
