import io

import pytest
from PIL import Image

from amif.training.data.images import open_image


def test_every_form_of_a_cell(tmp_path):
    image = Image.new("L", (3, 2), 7)
    file = io.BytesIO()
    image.save(file, format="PNG")
    image.save(tmp_path / "a.png")
    assert open_image(image) is image
    for cell in ({"path": str(tmp_path / "a.png"), "bytes": None}, {"path": "gone.png", "bytes": file.getvalue()}):
        assert open_image(cell).tobytes() == bytes([7] * 6)


@pytest.mark.parametrize(
    ("name", "cure"), [("a.png", "give a complete image file"), ("a.dcm", r"amif\.processing_amif\.read_dicom")]
)
def test_what_is_no_image_is_named_with_the_cure(tmp_path, name, cure):
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(ValueError, match=rf"cannot read the image .*{name} \(it is no image, .*\): .*{cure}"):
        open_image({"path": str(tmp_path / name), "bytes": None})
