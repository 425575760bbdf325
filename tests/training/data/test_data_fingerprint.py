"""Which changes of the rows a fingerprint tells, and that a copy elsewhere has the same."""

import pytest
from small_runs import build_data

from amif.training.data import load_pretraining_dataset
from amif.training.data.data_fingerprint import data_fingerprint


@pytest.fixture
def rows(tmp_path):
    return build_data(tmp_path)


def test_a_copy_elsewhere_is_the_same(rows, tmp_path):
    (tmp_path / "copy").mkdir()
    assert data_fingerprint(build_data(tmp_path / "copy")) == data_fingerprint(rows)


@pytest.mark.parametrize("column", ["question", "answer"])
def test_a_changed_text_is_told(rows, column):
    values = list(rows[column])
    changed = rows.remove_columns(column).add_column(column, [*values[:-1], "is it grey"])
    assert data_fingerprint(changed) != data_fingerprint(rows)


def test_order_number_and_files_of_rows_are_told(rows, tmp_path):
    before = data_fingerprint(rows)
    assert (
        len({before, data_fingerprint(rows.select(range(23))), data_fingerprint(rows.select(range(23, -1, -1)))}) == 3
    )
    with open(tmp_path / "3.png", "ab") as file:
        file.write(b"more")
    larger = data_fingerprint(rows)
    (tmp_path / "3.png").unlink()
    assert len({before, larger, data_fingerprint(rows)}) == 3


def test_embedded_images_and_reports_are_told_and_a_teachers_embeddings_are_not():
    studies = load_pretraining_dataset("phantom", num_studies=60, image_size=32)["train"]
    before = data_fingerprint(studies)
    assert data_fingerprint(studies.add_column("teacher_text_embeds", [[0.0]] * len(studies))) == before
    smaller = load_pretraining_dataset("phantom", num_studies=60, image_size=24)["train"]
    assert smaller["text"] == studies["text"]
    assert data_fingerprint(smaller) != before
