import pytest
from small_sets import medicat_rows, write_medicat

from amif.training.data import load_pretraining_dataset
from amif.training.data.readers.medicat import load_medicat


@pytest.fixture(params=[".", "release"])
def folder(request, tmp_path):
    rows = medicat_rows(40)
    rows[1] |= {"s2_caption": "", "s2orc_caption": "Other caption."}
    rows[2]["s2_caption"] = None
    write_medicat(tmp_path / request.param, rows)
    return tmp_path


def test_figures(folder):
    rows = load_medicat(folder)["train"]
    assert len(rows) == 39
    assert rows["text"][:2] == ["Figure 0.", "Other caption."]
    assert rows["study_id"][1] == "hash0_2-Figure1-1"
    assert rows["radiology"][:2] == [True, False]
    assert rows[1]["images"][0].getpixel((0, 0)) == (1, 0, 0)


def test_validation_keeps_articles_whole(folder):
    splits = load_pretraining_dataset("medicat", folder)
    papers = {name: set(split["paper_id"]) for name, split in splits.items()}
    assert len(papers["validation"]) == 1
    assert len(papers["train"]) == 9
    assert not papers["train"] & papers["validation"]


def test_strict(folder):
    with pytest.raises(ValueError, match="medicat train: 40 rows, published 217060"):
        load_medicat(folder, strict=True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"pdf_hash": "a", "fig_uri"', r"jsonl: line 41 cannot be read as JSON"),
        ('{"pdf_hash": "a"}', r"jsonl: line 41 is .*: give an object with pdf_hash and fig_uri\."),
        ('["a"]', r"jsonl: line 41 is .*: give an object with pdf_hash and fig_uri\."),
    ],
)
def test_a_damaged_line_is_named(folder, line, said):
    (file,) = folder.rglob("*.jsonl")
    file.write_text(file.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load_medicat(folder)
