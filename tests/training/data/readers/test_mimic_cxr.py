import gzip
import zipfile

import pytest
from small_sets import mimic_cxr_place, write_mimic_cxr

from amif.training.data import AmifPreTrainingCollator, PretrainingRows, load_pretraining_dataset
from amif.training.data.readers import mimic_cxr
from amif.training.data.readers.mimic_cxr import load_mimic_cxr
from amif.training.processors import small_processor

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // eval ?pneumonia

 COMPARISON:  None.

 FINDINGS:

 PA AND LATERAL VIEWS:  There is no focal consolidation,
 pleural effusion or pneumothorax.

 IMPRESSION:

 No acute process.
"""

# dicom, subject, study, split, view position
IMAGES = [
    ("d1", "10000032", "50414267", "train", "PA"),
    ("d2", "10000032", "50414267", "train", "LATERAL"),
    ("d3", "10000764", "57375967", "train", "AP"),
    ("d4", "11000001", "50000004", "validate", ""),
    ("d5", "12000001", "50000005", "test", "LL"),
    ("d6", "12000001", "50000006", "train", "PA"),
    ("d7", "12000002", "50000007", "train", "PA"),
]

NO_REPORT, NO_SECTION = "50000006", "50000007"


@pytest.fixture
def folder(tmp_path):
    reports = {study: REPORT.replace("No acute", f"No {study}") for _, _, study, *_ in IMAGES if study != NO_REPORT}
    return write_mimic_cxr(tmp_path, IMAGES, reports | {NO_SECTION: " WET READ: seen.\n"})


def test_official_folders(folder):
    splits = load_pretraining_dataset("mimic_cxr", folder)
    assert {name: split["study_id"][:] for name, split in splits.items()} == {
        "train": ["50414267", "57375967"],
        "validation": ["50000004"],
        "test": ["50000005"],
    }
    row = splits["train"][0]
    assert row["view_positions"] == ["PA", "LATERAL"]
    assert row["subject_id"] == "10000032"
    assert [image.getpixel((0, 0)) for image in row["images"]] == [0, 10]
    assert row["text"] == (
        "PA AND LATERAL VIEWS: There is no focal consolidation, pleural effusion or pneumothorax. No 50414267 process."
    )
    assert splits["validation"]["view_positions"][:] == [[None]]


def test_two_positions_make_the_two_views(folder):
    rows = PretrainingRows(load_mimic_cxr(folder)["train"])
    collate = AmifPreTrainingCollator(small_processor(["no"], 8))
    pixels = collate([rows[0], rows[1]])["pixel_values"][:, 0, 0, 0]
    assert ((pixels * 0.25 + 0.25) * 255).round().tolist() == [0, 20, 10, 20]


@pytest.mark.parametrize("where", ["reports", "mimic-cxr-reports", "mimic-cxr-reports.zip", "elsewhere"])
def test_reports_may_lie_apart(folder, where, tmp_path_factory):
    expected = load_mimic_cxr(folder)["train"]["text"][:]
    texts = sorted(folder.rglob("*.txt"))
    if where.endswith(".zip"):
        with zipfile.ZipFile(folder / where, "w") as archive:
            for text in texts:
                archive.write(text, text.relative_to(folder))
    root = tmp_path_factory.mktemp("reports") if where == "elsewhere" else folder / where
    for text in texts:
        if not where.endswith(".zip"):
            target = root / text.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text.read_text())
        text.unlink()
    found = load_mimic_cxr(folder, reports_dir=root if where == "elsewhere" else None)
    assert found["train"]["text"][:] == expected


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(mimic_cxr.logger, "warning", said.append)
    return said


def test_reports_without_headings_are_used_and_counted(folder, warnings):
    text = " WET READ: seen.\r\n\r\n Heart size is normal.\r\n Clear lungs.\r\n"
    (folder / f"{mimic_cxr_place('12000002', NO_SECTION)}.txt").write_text(text, newline="")
    train = load_mimic_cxr(folder)["train"]
    assert train["text"][-1] == "Heart size is normal. Clear lungs."
    assert [said.split(";")[0] for said in warnings] == ["mimic_cxr: 1 reports have neither FINDINGS nor IMPRESSION"]


def test_dicom_release_is_named_with_the_cure(folder):
    for image in folder.rglob("*.jpg"):
        image.rename(image.with_suffix(".dcm"))
    (folder / "mimic-cxr-2.0.0-split.csv.gz").unlink()  # which it has not
    with pytest.raises(FileNotFoundError, match=r"/s\d+ holds DICOM files.* MIMIC-CXR-JPG: .*read_dicom"):
        load_mimic_cxr(folder)


def test_errors(folder):
    with pytest.raises(ValueError, match="mimic_cxr train: 4 rows, published 222758"):
        load_mimic_cxr(folder, strict=True)
    with pytest.raises(FileNotFoundError, match=r"no reports in .*nowhere.*mimic-cxr-reports\.zip"):
        load_mimic_cxr(folder, reports_dir=folder / "nowhere")
    (folder / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    with pytest.raises(FileNotFoundError, match="split"):
        load_mimic_cxr(folder)
    with pytest.raises(ValueError, match="give data_dir"):
        load_pretraining_dataset("mimic_cxr")


def test_what_is_damaged_is_named(folder):
    split = folder / "mimic-cxr-2.0.0-split.csv.gz"
    whole = split.read_bytes()
    split.write_bytes(whole[:-12])
    with pytest.raises(ValueError, match=r"split\.csv\.gz cannot be unpacked .*: download it again"):
        load_mimic_cxr(folder)
    split.write_bytes(gzip.compress(gzip.decompress(whole).replace(b"validate", b"dev")))
    with pytest.raises(ValueError, match="the split of image d4 'dev', which is none of train, validate, test"):
        load_mimic_cxr(folder)
    split.write_bytes(whole)
    report = folder / f"{mimic_cxr_place('12000002', NO_SECTION)}.txt"
    report.write_bytes(b" FINDINGS:\n Clear\xff.\n")
    with pytest.raises(ValueError, match=rf"s{NO_SECTION}\.txt: line 2 is no UTF-8"):
        load_mimic_cxr(folder)
