import pytest

from amif.training.data.schema import VQA_FEATURES, as_answer_type, as_text, build_vqa_dataset, check_images


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (0, "0"), (1.5, "1.5"), ("yes ", "yes "), ("", None), ("  ", None), (None, None)]
)
def test_as_text(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(("value", "answer_type"), [("CLOSED ", "closed"), ("OPEN", "open"), ("", None), (None, None)])
def test_as_answer_type(value, answer_type):
    assert as_answer_type(value) == answer_type


def test_a_word_that_is_no_answer_type_is_refused():
    with pytest.raises(ValueError, match="'PRES'"):
        as_answer_type("PRES")


def test_missing_columns_are_none_and_extra_ones_stay_behind():
    dataset = build_vqa_dataset([{"question": "q", "organ": "LUNG"}, {"question": "r"}], ["organ"])
    assert dataset.column_names == [*VQA_FEATURES, "organ"]
    assert dataset["organ"] == ["LUNG", None]
    assert dataset["answer"] == [None, None]


def test_missing_image_names_file_row_image_and_number(tmp_path):
    (tmp_path / "a.jpg").touch()
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c" / "a.jpg"]
    with pytest.raises(FileNotFoundError, match=r"rows\.json: row 1 .*b\.jpg.*2 of 3"):
        check_images(paths, tmp_path / "rows.json")
    check_images(paths[:1], tmp_path / "rows.json")


def test_each_folder_is_listed_once(tmp_path, monkeypatch):
    from amif.training.data import schema

    (tmp_path / "a.jpg").touch()
    listed = []
    monkeypatch.setattr(schema, "_list_folder", lambda folder: listed.append(folder) or {"a.jpg"})
    check_images([tmp_path / "a.jpg"] * 50, tmp_path / "rows.json")
    assert listed == [tmp_path]
