import io

from PIL import Image

from amif.training.data.images import open_image


def test_every_form_of_a_cell(tmp_path):
    picture = Image.new("L", (3, 2), 7)
    file = io.BytesIO()
    picture.save(file, format="PNG")
    picture.save(tmp_path / "a.png")
    assert open_image(picture) is picture
    for cell in ({"path": str(tmp_path / "a.png"), "bytes": None}, {"path": "gone.png", "bytes": file.getvalue()}):
        assert open_image(cell).tobytes() == bytes([7] * 6)
