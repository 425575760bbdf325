import csv
import json

import pytest
from PIL import Image as Images

from amif.training.data import load_pretraining_dataset
from amif.training.data import pretraining_schema as schema
from amif.training.data.readers import iu_xray
from amif.training.data.readers.iu_xray import load_iu_xray

ANNOTATED = {
    "train": [
        {"id": "CXR1_IM-0001", "report": "Clear.", "image_path": ["CXR1/0.png", "CXR1/1.png"], "split": "train"},
        {"id": "CXR2_IM-0002", "report": " ", "image_path": ["CXR2/0.png", "CXR2/1.png"], "split": "train"},
    ],
    "val": [{"id": "CXR3_IM-0003", "report": "Mass.", "image_path": ["CXR3/0.png"], "split": "val"}],
    "test": [{"id": "CXR4_IM-0004", "report": "Normal.", "image_path": ["CXR4/gone.png"], "split": "test"}],
}
REPORTS = [
    ("uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression"),
    (
        "1",
        "normal",
        "normal",
        "Xray Chest PA and Lateral",
        "TB test",
        "None.",
        "The lungs,\nclear.",
        "Normal.",
    ),
    ("2", "normal", "normal", "Chest", "Pain", "None.", "", ""),
    ("5", "normal", "normal", "Chest", "Pain", "None.", "", "No acute disease."),
    ("7", "normal", "normal", "Chest", "Pain", "None.", "Edema.", ""),
]
PROJECTIONS = [
    ("uid", "filename", "projection"),
    ("1", "1_IM-0001-4001.dcm.png", "Frontal"),
    ("1", "1_IM-0001-3001.dcm.png", "Lateral"),
    ("2", "2_IM-0652-1001.dcm.png", "Frontal"),
    ("5", "5_gone.dcm.png", "Lateral"),
    ("5", "5_IM-2117-1003002.dcm.png", "Frontal"),
]
XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <uId id="CXR{number}"/>
  <MedlineCitation><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText>
    <AbstractText Label="INDICATION">TB test</AbstractText>
    <AbstractText Label="FINDINGS">{findings}</AbstractText>
    <AbstractText Label="IMPRESSION">{impression}</AbstractText>
  </Abstract></Article></MedlineCitation>
  {images}
</eCitation>
"""


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(schema.logger, "warning", said.append)
    monkeypatch.setattr(iu_xray.logger, "warning", said.append)
    return said


def draw(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Images.new("L", (4, 4), value).save(path, format="PNG")


def write_table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def annotation(folder):
    for value, name in enumerate(("CXR1/0.png", "CXR1/1.png", "CXR2/0.png", "CXR2/1.png", "CXR3/0.png")):
        draw(folder / "images" / name, value)
    (folder / "annotation.json").write_text(json.dumps(ANNOTATED))


def tables(folder, images="images/images_normalized"):
    for value, (_, name, _) in enumerate(PROJECTIONS[1:]):
        if "gone" not in name:
            draw(folder / images / name, value)
    write_table(folder / "indiana_reports.csv", REPORTS)
    write_table(folder / "indiana_projections.csv", PROJECTIONS)


def xml(folder, images="NLMCXR_png", reports="ecgen-radiology"):
    (folder / reports).mkdir(parents=True)
    for number, findings, impression, names in (
        (1, "Heart &lt; 50 %.", "Normal\n chest.", ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001")),
        (2, "", "", ("CXR2_IM-0652-1001",)),
        (3, "", "Clear.", ()),
    ):
        shown = "".join(f'<parentImage id="{name}"><figureId>F1</figureId></parentImage>' for name in names)
        text = XML.format(number=number, findings=findings, impression=impression, images=shown)
        (folder / reports / f"{number}.xml").write_text(text)
        for value, name in enumerate(names):
            draw(folder / images / f"{name}.png", value)


def pixels(row):
    return [image.getpixel((0, 0)) for image in row["images"]]


def test_annotation_of_splits(tmp_path, warnings):
    annotation(tmp_path)
    splits = load_pretraining_dataset("iu_xray", tmp_path)
    assert {name: split["study_id"][:] for name, split in splits.items()} == {
        "train": ["CXR1_IM-0001"],
        "validation": ["CXR3_IM-0003"],
    }
    row = splits["train"][0]
    assert (row["text"], pixels(row), row["view_positions"]) == ("Clear.", [0, 1], None)
    assert (
        "iu_xray train: 1 of 2 studies are left out: 0 without an image that can be read, 1 without a report."
        in warnings
    )


@pytest.mark.parametrize("images", ["images/images_normalized", "images", "."])
def test_two_tables(tmp_path, warnings, images):
    tables(tmp_path, images)
    train = load_iu_xray(tmp_path)["train"]
    assert train["study_id"][:] == ["1", "5"]
    assert train["text"][:] == ["The lungs, clear. Normal.", "No acute disease."]
    assert [pixels(row) for row in train] == [[0, 1], [4]]
    assert train["view_positions"][:] == [["Frontal", "Lateral"], ["Frontal"]]
    (said,) = warnings
    assert said.startswith(
        "iu_xray train: 2 of 4 studies are left out: 1 without an image that can be read, 1 without a "
    )
    assert said.endswith(f"1 image files are missing or damaged, the first is {tmp_path / images / '5_gone.dcm.png'}.")


@pytest.mark.parametrize("images", ["NLMCXR_png", "images", "."])
@pytest.mark.parametrize("reports", ["ecgen-radiology", "NLMCXR_reports/ecgen-radiology"])
def test_xml(tmp_path, warnings, images, reports):
    xml(tmp_path, images, reports)
    (row,) = load_iu_xray(tmp_path)["train"]
    assert (row["study_id"], row["text"], pixels(row)) == ("CXR1", "Heart < 50 %. Normal chest.", [0, 1])
    (said,) = warnings
    assert "2 of 3 studies are left out: 1 without an image that can be read, 1 without a report" in said


def test_what_is_not_read_beside_another_form_is_named(tmp_path, warnings):
    annotation(tmp_path)
    tables(tmp_path)
    assert list(load_iu_xray(tmp_path)) == ["train", "validation"]
    assert warnings[0] == f"iu_xray: {tmp_path / 'annotation.json'} is read, and indiana_reports.csv beside it is not."


@pytest.mark.parametrize(
    ("write", "published"),
    [(annotation, "train: 2 rows, published 2069"), (tables, "train: 4 rows, published 3851"), (xml, "3955")],
)
def test_counts_are_compared_by_form(tmp_path, write, published):
    write(tmp_path)
    with pytest.raises(ValueError, match=published):
        load_iu_xray(tmp_path, strict=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], r"annotation\.json is no dictionary of the splits train, val and test: \[1\]"),
        ({"train": [], "extra": []}, "is no dictionary of the splits"),
        (
            {"train": [{"id": "a", "report": "x"}]},
            "train, row 0 .* is .*: give an object with id, report",
        ),
        ({"val": [{"id": "a", "report": "x", "image_path": [3, None]}]}, "val, row 0 .*: the image is None"),
        ({"val": [{"id": "a", "report": ["x"], "image_path": "a.png"}]}, r"val, row 0 .*: \['x'\] is neither text nor"),
    ],
)
def test_wrong_annotations(tmp_path, content, said):
    (tmp_path / "annotation.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        load_iu_xray(tmp_path)


def test_wrong_tables_and_xml(tmp_path):
    write_table(tmp_path / "indiana_reports.csv", REPORTS)
    with pytest.raises(FileNotFoundError, match=r"looked in .* for indiana_projections\.csv and found none"):
        load_iu_xray(tmp_path)
    write_table(tmp_path / "indiana_projections.csv", [row[:2] for row in PROJECTIONS])
    with pytest.raises(ValueError, match=r"indiana_projections\.csv has no column 'projection'; it has uid, filename"):
        load_iu_xray(tmp_path)
    (tmp_path / "indiana_reports.csv").unlink()
    xml(tmp_path)
    (tmp_path / "ecgen-radiology" / "2.xml").write_text("<eCitation>")
    with pytest.raises(ValueError, match=r"2\.xml cannot be read as XML .*: give a complete file"):
        load_iu_xray(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"for annotation\.json or indiana_reports\.csv or ecgen-radiology"):
        load_iu_xray(tmp_path / "NLMCXR_png")
