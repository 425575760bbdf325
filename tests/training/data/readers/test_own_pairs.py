import json
import zipfile

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, IterableDatasetDict, List, Value
from PIL import Image as Images
from written_tables import write

from amif.training.data import PretrainingStream, load_pretraining_dataset
from amif.training.data import pretraining_schema as schema
from amif.training.data.labels import find_labels
from amif.training.data.readers import own_pairs
from amif.training.data.readers.own_pairs import load_own_pairs

ROWS = [
    {"image": "images/007.png", "text": "No mass.", "grade": 2},
    {"image": "images/8.png", "text": 'A "cyst", left', "grade": "None"},
    {"image": "images/8.png", "text": "Normal", "grade": ""},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("007", "8"):
        Images.new("L", (4, 4), len(name)).save(tmp_path / "images" / f"{name}.png")
    return tmp_path


@pytest.fixture
def said(monkeypatch):
    said = []
    monkeypatch.setattr(schema.logger, "warning", said.append)
    return said


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(folder, suffix):
    pairs = load_own_pairs(write(folder / f"pairs{suffix}", ROWS))["train"]
    assert pairs["text"][:] == ["No mass.", 'A "cyst", left', "Normal"]
    assert pairs["study_id"][:2] == ["images/007.png", "images/8.png"]
    assert pairs["grade"][:2] == ["2", "None"]
    assert [image.getpixel((0, 0)) for row in pairs for image in row["images"]] == [3, 1, 1]
    assert pairs.features.items() >= schema.PRETRAINING_FEATURES.items()


def test_column_names_views_and_embeddings(folder):
    row = {"files": ["images/8.png", "images/007.png"], "report": "Normal", "study": 5}
    row |= {"view_positions": ["PA", "LL"], "teacher_text_embeds": [0.5, 1.5]}
    path = write(folder / "own.jsonl", [row])
    names = {"image_column": "files", "text_column": "report", "study_column": "study"}
    (found,) = load_own_pairs(path, **names)["train"]
    assert [image.getpixel((0, 0)) for image in found.pop("images")] == [1, 3]
    assert found == {
        "text": "Normal",
        "study_id": "5",
        "view_positions": ["PA", "LL"],
        "teacher_text_embeds": [0.5, 1.5],
    }


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_unusable_rows_are_counted_reported_and_left_out(folder, said, suffix):
    (folder / "images" / "damaged.png").write_text("no image")
    bad = [{"image": "images/9.png"}, {"image": "images/damaged.png"}, {"text": "..."}, {"image": ""}]
    path = write(folder / f"own{suffix}", ROWS + [ROWS[0] | change for change in bad])
    pairs = load_own_pairs(path)["train"]
    assert pairs["text"][:] == [row["text"] for row in ROWS]
    assert pairs["grade"][:2] == ["2", "None"]
    (message,) = said
    assert "4 of 7 studies are left out: 3 without an image that can be read, 1 without a report." in message
    assert str(path) in message


def test_a_study_without_a_single_view_is_left_out(folder, said):
    empty = {"image": [], "text": "Normal", "view_positions": [], "study_id": "1"}
    full = {"image": ["images/8.png"], "text": "Normal", "view_positions": ["PA"], "study_id": "2"}
    assert load_own_pairs(write(folder / "own.jsonl", [empty, full]))["train"]["study_id"][:] == ["2"]
    assert "1 of 2 studies are left out: 1 without an image" in said[0]


@pytest.mark.parametrize("streaming", [False, True])
def test_images_alone_need_no_text(folder, streaming):
    rows = [{"image": "images/8.png", "tags": ["a", "b"]}, {"image": "images/007.png", "tags": []}]
    images = [{"image": Images.open(folder / row["image"]).copy(), "tags": row["tags"]} for row in rows]
    table = Dataset.from_list(images, features=Features({"image": Image(), "tags": List(Value("string"))}))
    table.to_parquet(folder / "embedded.parquet")
    for path in (write(folder / "own.jsonl", rows), folder / "embedded.parquet"):
        read = list(load_own_pairs(path, text_column=None, streaming=streaming)["train"])
        assert [(row["text"], list(row["tags"])) for row in read] == [(None, ["a", "b"]), (None, [])]


VIEWS = List(Image())


@pytest.mark.parametrize("gone", ["images/9.png", None])
def test_what_goes_with_an_image_leaves_with_it(folder, said, gone):
    row = {"image": ["images/8.png", gone, "images/007.png"], "text": "Normal"}
    row |= {"view_positions": ["PA", "AP", "LL"], "teacher_image_embeds": [[0.5], [1.5], [2.5]]}
    (found,) = load_own_pairs(write(folder / "own.jsonl", [row]))["train"]
    Dataset.from_list([row]).to_parquet(folder / "own.parquet")
    (streamed,) = load_own_pairs(folder / "own.parquet", streaming=True)["train"]
    (read,) = load_own_pairs(folder / "own.parquet")["train"]
    for pair in (found, streamed, read):
        assert [image.getpixel((0, 0)) for image in pair["images"]] == [1, 3]
        assert pair["view_positions"] == ["PA", "LL"]
        assert pair["teacher_image_embeds"] == [[0.5], [2.5]]


def embedded(folder, images=VIEWS, count=250):
    features = Features({"images": images, "caption": Value("string"), "teacher_image_embeds": List(Value("float32"))})
    image = Images.open(folder / "images" / "8.png").copy()
    rows = [
        {
            "images": [image, image] if isinstance(images, List) else image,
            "caption": "" if place == 3 else f"Text {place}.",
            "teacher_image_embeds": [place, 0.5],
        }
        for place in range(count)
    ]
    Dataset.from_list(rows, features=features).to_parquet(folder / "train.parquet")
    return {"image_column": "images", "text_column": "caption"}


@pytest.mark.parametrize("images", [VIEWS, Image()])
@pytest.mark.parametrize("streaming", [False, True])
def test_embedded_images_and_streams(folder, said, images, streaming):
    names = embedded(folder, images=images)
    splits = load_own_pairs(folder, streaming=streaming, **names)
    assert isinstance(splits, IterableDatasetDict) == streaming
    rows = list(splits["train"])
    assert len(rows) == 249
    assert [row["teacher_image_embeds"] for row in rows[2:4]] == [[2, 0.5], [4, 0.5]]
    assert len(rows[0]["images"]) == (2 if isinstance(images, List) else 1)
    assert {image.getpixel((0, 0)) for row in rows for image in row["images"]} == {1}
    assert len({row["study_id"] for row in rows}) == 1, "equal images without a name have one id"
    assert len(said) == (0 if streaming else 1)


def test_a_stream_feeds_the_collator_rows(folder):
    stream = load_pretraining_dataset(folder, streaming=True, **embedded(folder, count=5))["train"]
    rows = list(PretrainingStream(stream))
    assert [row["text"] for row in rows] == ["Text 0.", "Text 1.", "Text 2.", "Text 4."]
    assert rows[0]["images"][0]["bytes"].startswith(b"\x89PNG")


def test_images_inside_of_an_archive(folder, said):
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.write(folder / "images" / "8.png", "8.png")
    row = {"image": f"zip://8.png::{folder / 'images.zip'}", "text": "Normal"}
    path = write(folder / "own.parquet", [row, row | {"image": f"zip://9.png::{folder / 'images.zip'}"}])
    (found,) = load_own_pairs(path, streaming=True)["train"]
    assert found["images"][0].getpixel((0, 0)) == 1


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_of_images_with_their_texts(folder, streaming):
    rows = [{"file_name": "007.png", "text": "Normal."}, {"file_name": "8.png", "text": "Mass."}]
    write(folder / "images" / "metadata.csv", rows)
    splits = load_own_pairs(folder / "images", streaming=streaming)
    found = {row["text"]: row["images"][0].getpixel((0, 0)) for row in splits["train"]}
    assert found == {"Normal.": 3, "Mass.": 1}


@pytest.mark.parametrize("streaming", [False, True])
def test_a_hub_set_whose_types_are_not_declared(folder, monkeypatch, streaming):
    image = str(folder / "images" / "8.png")
    rows = [{"image": image, "text": "Normal.", "grade": 3}, {"image": image, "text": None, "grade": 4}]
    file = write(folder / "dev.jsonl", rows)
    load_dataset, asked = own_pairs.datasets.load_dataset, []

    def from_the_hub(name, streaming):
        asked.append(name)
        return load_dataset("json", data_files={"dev": str(file)}, streaming=streaming)

    monkeypatch.setattr(own_pairs.datasets, "load_dataset", from_the_hub)
    splits = load_pretraining_dataset("owner/name", streaming=streaming)
    assert (list(splits), asked) == (["validation"], ["owner/name"])
    (found,) = splits["validation"]
    assert (found["images"][0].getpixel((0, 0)), found["text"], found["grade"]) == (1, "Normal.", 3)
    assert found["study_id"] == image


def test_two_splits_of_the_hub_that_mean_one_are_not_cut_to_the_last(monkeypatch):
    table = Dataset.from_dict({"image": ["a.png"], "text": ["Normal."]})
    both = DatasetDict({"val": table, "dev": table})
    monkeypatch.setattr(own_pairs.datasets, "load_dataset", lambda name, **_: both)
    with pytest.raises(ValueError, match="splits val, dev, of which two are validation"):
        load_pretraining_dataset("owner/name")


def test_a_folder_of_splits(folder):
    for name in ("train_1.csv", "train_2.csv", "val.json", "test.parquet", "readme.txt"):
        write(folder / name, ROWS) if name != "readme.txt" else (folder / name).touch()
    splits = load_pretraining_dataset(folder)
    assert {name: len(split) for name, split in splits.items()} == {"train": 6, "validation": 3, "test": 3}


def test_validation_keeps_studies_whole(folder):
    rows = [ROWS[0] | {"study_id": f"s{place // 2}", "text": f"Text {place}"} for place in range(60)]
    splits = load_pretraining_dataset(write(folder / "own.csv", rows))
    studies = {name: set(split["study_id"]) for name, split in splits.items()}
    assert len(splits["validation"]) == 4
    assert not studies["train"] & studies["validation"]


def test_errors(folder):
    path = write(folder / "own.csv", ROWS)
    with pytest.raises(ValueError, match=r"no column 'scan'; it has image, text, grade\. .*image_column"):
        load_own_pairs(path, image_column="scan")
    with pytest.raises(FileNotFoundError, match="no train"):
        load_own_pairs(folder / "images")
    for image in (folder / "images").iterdir():
        image.unlink()
    for suffix in (".csv", ".parquet"):
        path = write(folder / f"own{suffix}", ROWS)
        with pytest.raises(FileNotFoundError, match=r"own\..*: no study has both"):
            load_own_pairs(path)
    (folder / "own.xlsx").touch()
    with pytest.raises(FileNotFoundError, match=r"own\.xlsx"):
        load_own_pairs(folder / "own.xlsx")


def test_a_report_with_a_comma_that_is_not_quoted_is_refused(folder):
    (folder / "own.csv").write_text("image,text\nimages/8.png,Normal.\nimages/8.png,Large heart, with effusion\n")
    with pytest.raises(ValueError, match=r"csv: row 1 \(counted from 0\): line 3 .*' with effusion'.* column: quote"):
        load_own_pairs(folder / "own.csv")


def test_a_list_where_a_text_is_wanted_is_refused(folder):
    rows = [{"image": "images/8.png", "text": "Normal."}, {"image": "images/8.png", "text": ["One.", "Two."]}]
    with pytest.raises(ValueError, match=r"own\.jsonl: row 1 \(counted from 0\): \['One.*is neither text nor"):
        load_own_pairs(write(folder / "own.jsonl", rows))
    features = Features({"image": Image(), "text": List(Value("string"))})
    table = Dataset.from_list([{"image": str(folder / "images/8.png"), "text": ["One."]}], features=features)
    table.to_parquet(folder / "embedded.parquet")
    for streaming in (False, True):
        with pytest.raises(ValueError, match=r"embedded\.parquet.*: column 'text' holds List.*, not texts"):
            load_own_pairs(folder / "embedded.parquet", streaming=streaming)


def test_labels_kept_as_numbers_get_their_names(folder):
    features = Features({"image": Value("string"), "text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    table = {"image": ["images/8.png"] * 3, "text": ["a", "b", "c"], "label": [1, 0, -1]}
    Dataset.from_dict(table, features=features).to_parquet(folder / "own.parquet")
    rows = load_own_pairs(folder / "own.parquet")["train"]
    assert rows["label"] == ["yes", "no", None]
    assert find_labels(DatasetDict(train=rows.select([0, 1])), "label").names == ("no", "yes")


def test_a_row_that_is_no_object_is_named(folder):
    (folder / "own.json").write_text('[{"image": "images/8.png", "text": "Normal."}, ["images/8.png", "Normal."]]')
    with pytest.raises(ValueError, match=r"own\.json: row 1 \(counted from 0\) is \['images"):
        load_own_pairs(folder / "own.json")


GOOD = {"image": "images/007.png", "text": "A mass."}


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"text": True}, "True is neither text nor a number"),
        ({"text": float("inf")}, "inf is neither text nor a number"),
        ({"text": b"\x89PNG" * 60}, "<240 bytes> is neither text nor a number"),
        ({"study_id": b"\x89PNG" * 60}, "<240 bytes> is neither text nor a number"),
        ({"text": "\ud800"}, "half a letter"),
        ({"study_id": "\ud800"}, "half a letter"),
        ({"text": [[[["deep"]]]]}, "is neither text nor a number"),
        ({"image": True}, "True is neither text nor a number"),
        ({"image": {"a": 1}}, "is neither text nor a number"),
        ({"image": [["images/007.png"]]}, "is neither text nor a number"),
        ({"image": "a\0.png"}, "every row needs the path of one"),
        ({"image": b"\x89PNG"}, "<4 bytes> is neither text nor a number"),
    ],
)
def test_cells_that_are_no_text_name_their_row(folder, suffix, cells, message):
    path = folder / f"own{suffix}"
    try:
        if suffix == ".json":
            path.write_text(json.dumps([GOOD | cells]))
        else:
            Dataset.from_list([GOOD | cells]).to_parquet(path)
    except (TypeError, UnicodeEncodeError):
        pytest.skip("no such file can be written")
    found = rf"(row 0 \(counted from 0\): .*{message}|column 'image' holds .*neither paths nor images)"
    with pytest.raises(ValueError, match=rf"own\{suffix}: {found}") as error:
        load_own_pairs(path)
    assert "\\x89" not in str(error.value)


@pytest.mark.parametrize("embedded", [False, True])
def test_a_report_of_nan_is_none(folder, embedded, said):
    image = Images.open(folder / "images" / "8.png").copy() if embedded else "images/8.png"
    features = Features({"image": Image() if embedded else Value("string"), "text": Value("float64")})
    rows = Dataset.from_list([{"image": image, "text": value} for value in (float("nan"), 1.5)], features=features)
    rows.to_parquet(folder / "own.parquet")
    assert load_own_pairs(folder / "own.parquet")["train"]["text"] == ["1.5"]


@pytest.mark.parametrize(
    "values",
    [([1], ["a"]), ([1], "x"), ([{"a": 1}], [{"a": "x"}]), ([10**400], [1]), ("\ud800", "x")],
    ids=["kinds", "list and text", "kinds within", "large", "half a letter"],
)
def test_columns_that_cannot_be_kept_are_named(folder, values, monkeypatch):
    warned = []
    monkeypatch.setattr(own_pairs.logger, "warning", warned.append)
    (folder / "own.json").write_text(json.dumps([GOOD | {"tags": value} for value in values]))
    rows = load_own_pairs(folder / "own.json")["train"]
    assert rows.column_names == ["images", "text", "study_id"]
    assert "own.json: columns whose values are of several kinds" in warned[0]
    assert warned[0].endswith("'tags'.")


def test_columns_of_lists_within_lists_too_deep_are_named(folder, monkeypatch):
    warned = []
    monkeypatch.setattr(own_pairs.logger, "warning", warned.append)
    (folder / "own.json").write_text(json.dumps([GOOD])[:-2] + f', "tags": {"[" * 500}{"]" * 500}}}]')
    assert "tags" not in load_own_pairs(folder / "own.json")["train"].column_names
    assert warned[0].endswith("'tags'.")


def test_columns_of_bytes_stay_bytes(folder):
    Dataset.from_list([GOOD | {"thumbnail": b"\x89PNG"}]).to_parquet(folder / "own.parquet")
    assert load_own_pairs(folder / "own.parquet")["train"]["thumbnail"] == [b"\x89PNG"]


@pytest.mark.parametrize(("positions", "given"), [(["PA"], 1), (["PA", "LATERAL", "AP"], 3), ("PA", 1)])
def test_view_positions_are_as_many_as_images(folder, positions, given):
    row = GOOD | {"image": ["images/007.png", "images/8.png"], "view_positions": positions}
    (folder / "own.json").write_text(json.dumps([row]))
    with pytest.raises(ValueError, match=rf"own\.json: row 0 .*{given} view positions for 2 images"):
        load_own_pairs(folder / "own.json")
    images = [Images.open(folder / name).copy() for name in row["image"]]
    features = Features({"image": List(Image()), "text": Value("string"), "study_id": Value("string")})
    rows = [{"image": images, "text": "A mass.", "study_id": "s7"}]
    table = Dataset.from_list(rows, features=features).add_column("view_positions", [positions])
    table.to_parquet(folder / "own.parquet")
    with pytest.raises(ValueError, match=rf"own\.parquet: study 's7': {given} view positions for 2 images"):
        load_own_pairs(folder / "own.parquet")
    (folder / "own.json").write_text(json.dumps([GOOD | {"view_positions": "PA"}]))
    assert load_own_pairs(folder / "own.json")["train"]["view_positions"] == ["PA"]
