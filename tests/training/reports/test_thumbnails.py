import io

import numpy as np
from PIL import Image

from amif.training.data.schema import build_vqa_dataset
from amif.training.reports.thumbnails import thumbnails


def data(**files):
    """Two questions about each image."""
    return build_vqa_dataset([{"image": str(path), "image_id": name} for name, path in files.items() for _ in "ab"])


def noise(path, size):
    values = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def opened(content):
    return Image.open(io.BytesIO(content))


def test_each_image_once_at_its_own_proportions_and_no_larger_than_it_is(tmp_path):
    for name, size in {"wide": (1200, 300), "small": (30, 40)}.items():
        Image.linear_gradient("L").resize(size).save(tmp_path / f"{name}.png")
    made = thumbnails(data(**{name: tmp_path / f"{name}.png" for name in ("small", "wide")}))
    assert {name: opened(content).size for name, content in made.items()} == {"small": (30, 40), "wide": (512, 128)}
    shown = np.asarray(opened(made["small"]).convert("L"), dtype=float)
    assert np.abs(shown - np.asarray(Image.open(tmp_path / "small.png"))).mean() < 3


def test_even_noise_keeps_to_the_budget(tmp_path):
    """No image is harder to compress than noise; each has its share."""
    dataset = data(**{str(number): noise(tmp_path / f"{number}.png", (300, 200)) for number in range(4)})
    made = thumbnails(dataset, budget=20_000)
    assert len(made) == 4
    assert all(1000 < len(content) <= 5000 for content in made.values())


def test_nothing_of_a_file_but_its_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "DOE^JANE", 6
    path = tmp_path / "image.jpg"
    Image.linear_gradient("L").resize((40, 20)).save(path, comment=b"DOE^JANE", exif=exif, icc_profile=b"DOE^JANE")
    assert path.read_bytes().count(b"DOE^JANE") == 3
    content = thumbnails(data(one=path))["one"]
    assert b"JANE" not in content
    assert opened(content).size == (20, 40), "upright"


def test_a_broken_image_spoils_no_other(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:40])
    (tmp_path / "text.png").write_text("no image")
    names = ["cut", "gone", "text", "whole"]
    made = thumbnails(data(**{name: tmp_path / f"{name}.png" for name in names}))
    assert [name for name, content in made.items() if content is None] == names[:3]
