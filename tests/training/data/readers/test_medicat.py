import json

import pytest
from PIL import Image as Images

from amif.training.data import load_pretraining_dataset
from amif.training.data.readers.medicat import FIGURES, load_medicat


@pytest.fixture(params=[".", "release"])
def folder(request, tmp_path):
    root = tmp_path / request.param
    (root / "figures").mkdir(parents=True)
    rows = []
    for place in range(40):
        name = {"pdf_hash": f"hash{place // 4}", "fig_uri": f"2-Figure{place}-1.png"}
        Images.new("RGB", (4, 4), (place, 0, 0)).save(root / "figures" / f"{name['pdf_hash']}_{name['fig_uri']}")
        rows.append({**name, "s2_caption": f"Figure {place}.", "radiology": place % 2 == 0, "oa_info": {"doi": "x"}})
    rows[1] |= {"s2_caption": "", "s2orc_caption": "Other caption."}
    rows[2]["s2_caption"] = None
    (root / FIGURES).write_text("".join(json.dumps(row) + "\n" for row in rows))
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
