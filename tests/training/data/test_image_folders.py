import numpy as np
import pytest
from PIL import Image
from written_dicom import write_dicom
from written_nifti import write_nifti

from amif.training.data import image_folders
from amif.training.data.image_folders import find_images


def test_images_by_name_and_first_bytes_in_the_order_of_their_paths(tmp_path):
    for folder in ("b/2", ".hidden", "c"):
        (tmp_path / folder).mkdir(parents=True)
    values = np.zeros((4, 4), np.uint8)
    for name in ("b/2/IM2", "b/2/IM1", "DICOMDIR", ".hidden/IM3", "c/last.Dcm"):
        write_dicom(tmp_path / name, values)
    Image.fromarray(values).save(tmp_path / "a.png")
    write_nifti(tmp_path / "IM5", values)
    for name in ("a.JPEG", "brain.nii.gz", "b/notes.txt", "IM4", ".DS_Store"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    images, others = find_images(tmp_path)
    names = ["IM5", "a.JPEG", "a.png", "b/2/IM1", "b/2/IM2", "b/gone.png", "brain.nii.gz", "c/last.Dcm"]
    assert [image.relative_to(tmp_path).as_posix() for image in images] == names
    assert [other.relative_to(tmp_path).as_posix() for other in others] == ["IM4", "b/notes.txt"]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = image_folders.os.scandir

    def refuse(place):
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(image_folders.os, "scandir", refuse)
    with pytest.raises(PermissionError, match="closed"):
        find_images(tmp_path)
