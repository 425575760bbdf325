import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as Images

from amif.training.data.readers import own_data, table_files
from amif.training.data.readers.kvasir_vqa import load_kvasir_vqa

LINES = ["source,question,answer,img_id", "HyperKvasir,Where?,center; upper-left,cl1", "HyperKvasir,How many?,0,cl2"]


@pytest.fixture
def copy(tmp_path):
    (tmp_path / "images").mkdir()
    for shade in (1, 2):
        Images.new("L", (4, 4), shade).save(tmp_path / "images" / f"cl{shade}.jpg")
    (tmp_path / "metadata.csv").write_text("\n".join(LINES))
    return tmp_path


def test_the_folder_that_the_authors_lines_make(copy):
    splits = load_kvasir_vqa(copy)
    assert list(splits) == ["train"]
    rows = splits["train"]
    assert (rows["answer"][:], rows["image_id"][:]) == (["center; upper-left", "0"], ["cl1", "cl2"])
    assert rows["question_id"][1] == "cl2|How many?"
    with pytest.raises(ValueError, match="kvasir_vqa train: 2 rows, published 58849"):
        load_kvasir_vqa(copy, strict=True)
    (copy / "images" / "cl2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"metadata\.csv: row 1 .*cl2\.jpg does not exist \(1 of 2 rows"):
        load_kvasir_vqa(copy)


def test_the_mirror_has_no_split_in_its_names(tmp_path, monkeypatch):
    said = []
    for module in (own_data, table_files):
        monkeypatch.setattr(module.logger, "warning", said.append)
    texts = {name: Value("string") for name in ("source", "question", "answer", "img_id")}
    (tmp_path / "data").mkdir()
    for place in range(2):
        row = {
            "image": [Images.new("L", (4, 4), 9)],
            "source": ["a"],
            "question": [f"{place}?"],
            "answer": ["b"],
            "img_id": ["c"],
        }
        Dataset.from_dict(row, features=Features({"image": Image(), **texts})).to_parquet(
            tmp_path / "data" / f"0000{place}.parquet"
        )
    rows = load_kvasir_vqa(tmp_path)["train"]
    assert rows["question"][:] == ["0?", "1?"]
    assert len(set(rows["image_id"])) == 1
    assert said == [f"{tmp_path}: no name says a split, so that all are training: 00000.parquet, 00001.parquet."]
