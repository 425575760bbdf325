import io
import zipfile

import numpy as np
import pytest
from datasets import Image as CellFeature
from PIL import EpsImagePlugin, Image
from written_dicom import named_patients, write_dicom
from written_nifti import write_nifti

from amif.training.data import (
    AmifPreTrainingCollator,
    AmifVqaCollator,
    LateralitySafeAugmentation,
    PretrainingRows,
    VqaRows,
    replace_images,
)
from amif.training.data.image_overlap import image_prints
from amif.training.data.images import open_image, path_cell, unreadable_images
from amif.training.data.pretraining_schema import begins_like_an_image, build_pretraining_dataset
from amif.training.data.same_images import same_images
from amif.training.data.schema import build_vqa_dataset
from amif.training.data.zipped_images import image_file_state
from amif.training.processors import small_processor


def test_every_form_of_a_cell(tmp_path):
    image = Image.new("L", (3, 2), 7)
    file = io.BytesIO()
    image.save(file, format="PNG")
    image.save(tmp_path / "a.png")
    assert open_image(image) is image
    for cell in ({"path": str(tmp_path / "a.png"), "bytes": None}, {"path": "gone.png", "bytes": file.getvalue()}):
        assert open_image(cell).tobytes() == bytes([7] * 6)


def test_dicom_in_every_form_of_a_cell(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (6, 4), dtype=np.uint8)
    path = write_dicom(tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1")
    bare = path.rename(tmp_path / "IM000001")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(bare, "s/1")
    # Mirrors give embedded bytes any name.
    embedded = {"path": "a.png", "bytes": bare.read_bytes()}
    for cell in (path_cell(str(bare)), path_cell(f"zip://s/1::{tmp_path / 'images.zip'}"), embedded):
        np.testing.assert_array_equal(np.asarray(open_image(cell)), 255 - values)
        assert unreadable_images(["key"], lambda _, cell=cell: cell) == {}


def test_nifti_in_every_form_of_a_cell(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    path = write_nifti(tmp_path / "a.nii.gz", values, cal_max=255)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(path, "s/1")
    embedded = {"path": "a.png", "bytes": path.read_bytes()}
    for cell in (path_cell(str(path)), path_cell(f"zip://s/1::{tmp_path / 'images.zip'}"), embedded):
        np.testing.assert_array_equal(np.asarray(open_image(cell)), values[::-1, ::-1, 1].T)
        assert unreadable_images(["key"], lambda _, cell=cell: cell) == {}
    (tmp_path / "b.nii.gz").write_bytes(path.read_bytes()[:-20])
    (reason,) = unreadable_images(["key"], lambda _: path_cell(str(tmp_path / "b.nii.gz"))).values()
    assert reason.startswith(f"cannot read {tmp_path / 'b.nii.gz'} as NIfTI (its end is missing): ")


def test_objects_of_dicom_that_are_no_images_are_named_without_the_patient(tmp_path):
    path = write_dicom(tmp_path / "a", np.zeros((4, 4), np.uint16), SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2")
    for cell in (path_cell(str(path)), {"path": "b.dcm", "bytes": path.read_bytes()}):
        (reason,) = unreadable_images(["key"], lambda _, cell=cell: cell).values()
        assert reason.startswith(f"{cell['path']} holds no DICOM image, but an object of the kind RT Dose Storage")
        assert not named_patients(reason)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.png", r"cannot read the image .*a\.png \(it is none of .*\): pass"), ("a.dcm", "DICOM")],
)
def test_what_is_no_image_is_named_with_the_cure(tmp_path, name, reason):
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(ValueError, match=reason) as error:
        open_image({"path": str(tmp_path / name), "bytes": None})
    assert name in str(error.value)


@pytest.mark.parametrize("kind", ["EPS", "ICO", "PCX", "TGA", "PDF"])
def test_formats_that_are_read_nowhere_are_refused(tmp_path, kind, monkeypatch):
    """Whatever the file's name; EPS would call Ghostscript, so that not even its head is looked at."""
    path = tmp_path / "image.png"
    Image.new("RGB", (8, 8)).save(path, format=kind)
    opened = []
    monkeypatch.setattr(EpsImagePlugin.EpsImageFile, "_open", lambda self: opened.append(self))
    cells = [{"path": str(path), "bytes": None}, {"path": None, "bytes": path.read_bytes()}]
    for cell in cells:
        with pytest.raises(ValueError, match=r"it is none of BMP, GIF"):
            open_image(cell)
    assert not any(map(begins_like_an_image, (path, path.read_bytes())))
    assert opened == []


def vqa_batch(rows, **options):
    processor = small_processor(["is it"], 16)
    AmifVqaCollator(processor, **options)([VqaRows(rows)[row] for row in range(3)])


def pretraining_batch(rows, **options):
    pairs = build_pretraining_dataset(
        [{"images": [row["image"]["path"]], "text": "a mass", "study_id": row["image_id"]} for row in undecoded(rows)]
    )
    processor = small_processor(["a mass"], 16)
    AmifPreTrainingCollator(processor, **options)([PretrainingRows(pairs)[row] for row in range(3)])


def undecoded(rows):
    return rows.cast_column("image", CellFeature(decode=False))


@pytest.mark.parametrize(
    ("use", "names"),
    [
        (vqa_batch, "row 2 .*image id 'i2'"),
        (lambda rows: vqa_batch(rows, augmentation=LateralitySafeAugmentation(16)), "row 2 .*image id 'i2'"),
        (pretraining_batch, r"study 'i2' \(row 2"),
        (lambda rows: pretraining_batch(rows, augmentation=LateralitySafeAugmentation(16)), r"study 'i2' \(row 2"),
        (image_prints, "row 2 .*image id 'i2'"),
        (lambda rows: replace_images(rows, "blank"), "row 2 .*image id 'i2'"),
        (lambda rows: same_images({"test": rows}), "test, image id 'i2'"),
        (lambda rows: [image_file_state(row["image"]["path"]) for row in undecoded(rows)], "cannot be found"),
    ],
)
def test_an_image_that_has_vanished_names_its_file_and_row(tmp_path, use, names):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.new("L", (16, 16)).save(path)
    rows = build_vqa_dataset(
        [{"image": str(p), "question": "Is it?", "answer": "yes", "image_id": f"i{n}"} for n, p in enumerate(paths)]
    )
    use(rows)
    paths[2].unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=names) as error:
        use(rows)
    assert str(paths[2]) in str(error.value)
    assert "put it back" in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"images": []}, "study 's' .*0 images"),
        ({"view_positions": ["PA", "LATERAL"]}, "study 's' .*1 images, and 2 view positions"),
        ({"images": [{"path": "a.png", "bytes": None}] * 2, "view_positions": "PA"}, "2 images, and 1 view positions"),
        ({"text": " . "}, r"study 's' \(row 7"),
        ({"text": None}, r"study 's' \(row 7"),
        ({"images": [None]}, "study 's' .*there is no image"),
    ],
)
def test_studies_that_cannot_be_used_are_named(tmp_path, row, message):
    Image.new("L", (16, 16)).save(tmp_path / "a.png")
    good = {"images": [{"path": str(tmp_path / "a.png"), "bytes": None}], "text": "a", "study_id": "s", "row": 7}
    collate = AmifPreTrainingCollator(small_processor(["a mass"], 16))
    collate([good | {"epoch": 0}, good | {"epoch": 0, "view_positions": "PA"}])
    with pytest.raises(ValueError, match=message):
        collate([good | {"epoch": 0, "study_id": "other"}, good | {"epoch": 0} | row])
