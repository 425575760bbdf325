"""Random files and tables: rows of the schema or an error of ours, never a foreign traceback."""

import json
import pickle
import tempfile

import pytest
from datasets import Dataset, List
from hypothesis import example, given
from hypothesis import strategies as st
from our_errors import examples, result_or_our_error
from PIL import Image as Images

from amif.training.data import load_vqa_dataset
from amif.training.data.pretraining_schema import PRETRAINING_FEATURES, has_words
from amif.training.data.readers.own_data import load_own_data
from amif.training.data.readers.own_pairs import load_own_pairs
from amif.training.data.readers.path_vqa import load_path_vqa, read_plain_pickle
from amif.training.data.readers.vqa_med_2019 import TEST, TRAINING, VALIDATION, load_vqa_med_2019
from amif.training.data.references import normal_form
from amif.training.data.schema import VQA_FEATURES

often, seldom = examples(60), examples(25)

# Half of the cells are what a reader hopes for, so that whole rows get through.
CELLS = st.one_of(
    st.sampled_from(["good.png", "Is it?", "yes", "closed", "1"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=2)),
)
COLUMNS = ["image", "question", "answer", "answer_type", "question_type", "image_id", "question_id", "other"]
ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"image": st.just("good.png"), "question": CELLS, "answer": CELLS}),
        st.dictionaries(st.sampled_from(COLUMNS), CELLS),
        CELLS,
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("any")
    Images.new("L", (4, 4)).save(path / "good.png")
    return path


def assert_schema(splits):
    for split in (splits or {}).values():
        answer = split.features["answer"]
        assert (dict(split.features) | {"answer": VQA_FEATURES["answer"]}).items() >= VQA_FEATURES.items()
        assert answer in (VQA_FEATURES["answer"], List(VQA_FEATURES["answer"]))
        assert len(split) == len(set(split["question_id"])) > 0
        assert all(question.strip() for question in split["question"])
        assert all(answer is None or normal_form(answer) for answer in split["answer"])
        assert {*split["answer_type"]} <= {"open", "closed", None}
        assert split[0]["image"].size


@often
@given(ROWS, st.sampled_from(["error", "skip"]))
@example([{"image": "good.png", "question": "\ud800", "answer": "yes"}], "error")
@example([{"image": "good.png", "question": "?", "answer": "()" * 40}], "error")
def test_json_of_any_rows(folder, rows, on_bad_row):
    (folder / "own.json").write_text(json.dumps(rows))
    assert_schema(result_or_our_error(lambda: load_own_data(folder / "own.json", on_bad_row=on_bad_row)))


@often
@given(st.lists(st.text(max_size=8), max_size=3), st.lists(st.lists(st.text(max_size=8), max_size=5), max_size=3))
@example(["image", "question", "answer"], [["good.png", "\x00", "yes"]])
@example(["image", "question", "answer"], [["good.png", "a" * 200_000, "yes"]])
def test_csv_of_any_text(folder, header, rows):
    lines = [",".join(cells) for cells in [["image", "question", *header], *(["good.png", *row] for row in rows)]]
    (folder / "own.csv").write_text("\n".join(lines), errors="surrogatepass")
    assert_schema(result_or_our_error(lambda: load_own_data(folder / "own.csv")))


PAIR_COLUMNS = ["text", "study_id", "view_positions", "split", "images", "other", ""]
PAIR_CELLS = st.one_of(CELLS, st.lists(st.one_of(st.none(), st.integers(), st.text(), st.just("good.png")), max_size=3))
PAIRS = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from(PAIR_COLUMNS), PAIR_CELLS).map(lambda row: row | {"image": "good.png"}),
        st.dictionaries(st.sampled_from(["image", *PAIR_COLUMNS]), PAIR_CELLS),
        CELLS,
    ),
    max_size=3,
)


def assert_pairs(splits):
    for split in (splits or {}).values():
        assert split.features.items() >= PRETRAINING_FEATURES.items()
        assert all(has_words(text) and text not in ("nan", "True", "False") for text in split["text"])
        assert all(study["images"] and study["study_id"] for study in split)


@often
@given(PAIRS)
@example([{"image": "good.png", "text": float("nan")}])
@example([{"image": [["good.png"]], "text": "a"}])
def test_pairs_of_any_rows(folder, rows):
    (folder / "own.json").write_text(json.dumps(rows))
    assert_pairs(result_or_our_error(lambda: load_own_pairs(folder / "own.json")))


@often
@given(st.lists(st.text(max_size=8), max_size=3), st.lists(st.lists(st.text(max_size=8), max_size=4), max_size=3))
def test_pairs_of_any_csv(folder, header, rows):
    lines = [",".join(cells) for cells in [["image", "text", *header], *(["good.png", *row] for row in rows)]]
    (folder / "own.csv").write_text("\n".join(lines), errors="surrogatepass")
    assert_pairs(result_or_our_error(lambda: load_own_pairs(folder / "own.csv")))


@often
@given(st.binary(max_size=200), st.sampled_from([".csv", ".json", ".jsonl"]))
def test_files_of_any_bytes(folder, content, suffix):
    path = folder / f"own{suffix}"
    path.write_bytes(content)
    assert_schema(result_or_our_error(lambda: load_own_data(path)))


@seldom
@given(st.binary(max_size=60))
def test_parquet_of_any_bytes(folder, content):
    # A new name each time: datasets remembers what it has read.
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".parquet") as file:
        file.write(b"PAR1" + content + b"PAR1")
        file.flush()
        assert result_or_our_error(lambda: load_own_data(file.name)) is None


@pytest.mark.parametrize("column", ["image", "question", "answer", "question_id"])
@pytest.mark.parametrize("cell", ["q", 3, 2.5, None, ["a", "b"], True, {"a": 1}, {"bytes": b"text", "path": None}])
def test_parquet_of_any_column(folder, cell, column):
    rows = {"image": ["good.png"], "question": ["q"], "answer": ["a"], column: [cell]}
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".parquet") as file:
        Dataset.from_dict(rows).to_parquet(file.name)
        assert_schema(result_or_our_error(lambda: load_own_data(file.name)))


@often
@given(st.binary(min_size=1, max_size=300), st.integers(0, 70))
def test_images_of_any_bytes(folder, content, kept):
    (folder / "any.png").write_bytes((folder / "good.png").read_bytes()[:kept] + content)
    (folder / "own.json").write_text(json.dumps([{"image": "any.png", "question": "?", "answer": "a"}]))
    assert_schema(result_or_our_error(lambda: load_own_data(folder / "own.json")))


@seldom
@given(st.binary(max_size=200))
def test_zips_of_any_bytes(folder, content):
    (folder / "any.zip").write_bytes(content)
    (folder / "own.json").write_text(json.dumps([{"image": "good.png", "question": "?", "answer": "a"}]))
    assert result_or_our_error(lambda: load_own_data(folder / "own.json", image_dir=folder / "any.zip")) is None


@often
@given(st.one_of(st.binary(max_size=100), st.builds(pickle.dumps, CELLS)))
def test_pickles_of_any_bytes(folder, content):
    (folder / "any.pkl").write_bytes(content)
    result_or_our_error(lambda: read_plain_pickle(folder / "any.pkl"))


@seldom
@given(ROWS, st.sampled_from(["error", "skip"]))
def test_path_vqa_of_any_rows(folder, rows, on_bad_row):
    root = folder / "pvqa"
    for split in ("train", "val", "test"):
        (root / "images" / split).mkdir(parents=True, exist_ok=True)
        Images.new("L", (4, 4)).save(root / "images" / split / "good.png.jpg")
        (root / "qas").mkdir(exist_ok=True)
        (root / "qas" / f"{split}_vqa.pkl").write_bytes(pickle.dumps(rows))
    result_or_our_error(lambda: load_path_vqa(root, on_bad_row=on_bad_row))


@seldom
@given(st.text(), st.sampled_from(["error", "skip"]))
@example("synpic1|q|a\n\nsynpic1|q|a|b\n|", "skip")
def test_vqa_med_2019_of_any_text(folder, text, on_bad_row):
    for name, split in ((TRAINING, "train"), (VALIDATION, "val")):
        (folder / name / f"{split.capitalize()}_images").mkdir(parents=True, exist_ok=True)
        content = text.encode(errors="surrogatepass")
        (folder / name / f"All_QA_Pairs_{split}.txt").write_bytes(content)
    (folder / TEST / "VQAMed2019_Test_Images").mkdir(parents=True, exist_ok=True)
    (folder / TEST / "VQAMed2019_Test_Questions.txt").write_text("")
    result_or_our_error(lambda: load_vqa_med_2019(folder, on_bad_row=on_bad_row))


@seldom
@given(st.one_of(ROWS, CELLS), st.sampled_from(["vqa_rad", "slake"]), st.sampled_from(["error", "skip"]))
def test_published_json_of_any_rows(folder, rows, name, on_bad_row):
    for images in ("images", "imgs"):
        (folder / images).mkdir(exist_ok=True)
    for file in ("trainset", "testset", "train", "validate", "test"):
        (folder / f"{file}.json").write_text(json.dumps(rows))
    result_or_our_error(lambda: load_vqa_dataset(name, folder, on_bad_row=on_bad_row))
