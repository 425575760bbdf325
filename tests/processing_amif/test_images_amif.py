import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from amif.processing_amif import to_rgb, unique_images

RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)


def _image(height=4, width=6):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def _assert_patch(image, color):
    assert image.mode == "RGB"
    assert image.getpixel((1, 1)) == color


def test_8_bit_colours_are_untouched():
    image = _image()
    result = to_rgb(image)
    assert result.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(result), np.asarray(image))


def test_8_bit_grey_is_untouched_in_value():
    grey = np.arange(40, 64, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.fromarray(grey))), np.stack([grey] * 3, axis=-1))


def test_1_bit():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    result = to_rgb(image)
    assert [result.getpixel((0, 0)), result.getpixel((1, 0))] == [BLACK, WHITE]


def test_cmyk():
    _assert_patch(to_rgb(Image.new("CMYK", (3, 3), (0, 255, 255, 0))), RED)


def test_palette():
    image = Image.new("P", (3, 3), 1)
    image.putpalette([*BLUE, *GREEN])
    _assert_patch(to_rgb(image), GREEN)


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (3, 3), 1)
    image.putpalette([*BLUE, *WHITE])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "p.png", transparency=1)
    result = to_rgb(tmp_path / "p.png")
    _assert_patch(result, BLACK)
    assert result.getpixel((0, 0)) == BLUE


@pytest.mark.parametrize(("alpha", "expected"), [(255, (200, 100, 50)), (0, BLACK), (51, (40, 20, 10))])
def test_transparency_lies_on_black(alpha, expected):
    _assert_patch(to_rgb(Image.new("RGBA", (3, 3), (200, 100, 50, alpha))), expected)


def test_grey_with_transparency():
    _assert_patch(to_rgb(Image.new("LA", (3, 3), (200, 0))), BLACK)
    _assert_patch(to_rgb(Image.new("LA", (3, 3), (200, 255))), (200, 200, 200))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, tmp_path):
    turned_back = {
        1: lambda image: image,
        2: ImageOps.mirror,
        3: lambda image: image.rotate(180),
        4: ImageOps.flip,
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.rotate(-90, expand=True),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.rotate(90, expand=True),
    }
    image, exif = _image(), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "p.png", exif=exif)
    expected = turned_back[orientation](image)
    np.testing.assert_array_equal(np.asarray(to_rgb(tmp_path / "p.png")), np.asarray(expected))


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1000, 2000], [3000, 4000]], np.uint16),
        np.array([[1000, 2000], [3000, 4000]], ">u2"),
        np.array([[-1000, 0], [1000, 2000]], np.int32),
        np.array([[0.1, 0.2], [0.3, 0.4]], np.float32),
    ],
)
@pytest.mark.parametrize("as_image", [False, True])
def test_wide_values_are_stretched_from_their_own_range(values, as_image):
    result = np.asarray(to_rgb(Image.fromarray(values) if as_image else values))
    np.testing.assert_array_equal(result, np.array([[0, 85], [170, 255]])[..., None].repeat(3, -1))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_file(suffix, tmp_path):
    values = np.array([[0, 1365], [2730, 4095]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"p.{suffix}")
    assert np.asarray(to_rgb(tmp_path / f"p.{suffix}"))[..., 0].tolist() == [[0, 85], [170, 255]]


@pytest.mark.filterwarnings("error")
def test_constant_wide_image_is_black():
    _assert_patch(to_rgb(np.full((3, 3), 900, np.uint16)), BLACK)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value):
    with pytest.raises(ValueError, match=r"nan_to_num"):
        to_rgb(np.array([[0.0, value]]))


def test_array_channels():
    values = np.asarray(_image())
    np.testing.assert_array_equal(np.asarray(to_rgb(values)), values)
    np.testing.assert_array_equal(np.asarray(to_rgb(values[..., :1])), values[..., :1].repeat(3, -1))
    assert np.asarray(to_rgb(values[..., 0] > 300)).max() == 0


@pytest.mark.parametrize(("dtype", "full"), [(np.uint16, 65535), (np.float32, 1)])
def test_opacity_of_a_wide_array_has_its_own_scale(dtype, full):
    values = np.zeros((2, 2, 4), dtype)
    values[0, 0, 0] = full / 4
    values[..., 3] = full
    assert to_rgb(values).getpixel((0, 0)) == RED
    values[..., 3] = 0
    assert to_rgb(values).getpixel((0, 0)) == BLACK


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tensor_equals_array(channels):
    values = np.random.default_rng(1).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    expected = to_rgb(values.transpose(1, 2, 0))
    np.testing.assert_array_equal(np.asarray(to_rgb(torch.from_numpy(values))), np.asarray(expected))


def test_bfloat16_tensor_is_stretched():
    assert np.asarray(to_rgb(torch.tensor([[[0.0, 1.0]]], dtype=torch.bfloat16)))[..., 0].tolist() == [[0, 255]]


@pytest.mark.parametrize(
    "image", [np.zeros((2, 3, 4, 3), np.uint8), np.zeros((3, 4, 5)), np.zeros((0, 3)), torch.zeros(4, 5)]
)
def test_other_shapes(image):
    with pytest.raises(ValueError, match=r"shape .* as a list"):
        to_rgb(image)


@pytest.mark.parametrize("image", [None, 3, [_image()], np.array([["a"]])])
def test_other_types(image):
    with pytest.raises(TypeError, match="an image"):
        to_rgb(image)


@pytest.mark.parametrize("url", ["https://host/a.png", "http://host/a.png", "s3://bucket/a.png", "file:///a.png"])
def test_url_is_refused(url):
    with pytest.raises(ValueError, match="save the image and pass its local path"):
        to_rgb(url)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("opened", [False, True])
def test_truncated_file(suffix, opened, tmp_path):
    path = tmp_path / f"p.{suffix}"
    _image(64, 64).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if suffix != "tif" else 4000])
    if not opened:
        with pytest.raises(ValueError, match="pass a complete image file") as error:
            to_rgb(path)
    else:
        with Image.open(path) as image, pytest.raises(ValueError, match="pass a complete image file") as error:
            to_rgb(image)
    assert str(path) in str(error.value)
    assert error.value.__cause__ is None


def test_file_that_is_no_image(tmp_path):
    path = tmp_path / "p.png"
    path.write_text("not an image")
    with pytest.raises(ValueError, match="cannot read the image") as error:
        to_rgb(str(path))
    assert str(path) in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="cannot read the image"):
        to_rgb(tmp_path / "absent.png")


def test_decompression_bomb(tmp_path, monkeypatch):
    _image(20, 20).save(tmp_path / "p.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="cannot read the image"):
        to_rgb(tmp_path / "p.png")


def test_unique_images_goes_by_object_and_path():
    first, twin = _image(), _image()
    unique, index = unique_images([first, "a.png", twin, first, Path("a.png"), "b.png"])
    assert index == [0, 1, 2, 0, 1, 3]
    assert unique[0] is first
    assert unique[2] is twin
    assert unique[1::2] == ["a.png", "b.png"]


def test_real_radiograph(data_dir):
    path = next((data_dir / "vqa_rad" / "images").glob("*.jpg"))
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(to_rgb(path)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("values", "suffix"), [(np.uint16, "tif"), (np.float32, "tif"), (np.uint8, "tif")])
@pytest.mark.parametrize("orientation", [1, 3])
def test_tiff_in_which_white_is_zero(values, suffix, orientation, tmp_path):
    stored = np.array([[0, 85], [170, 255]], values)
    path = tmp_path / f"p.{suffix}"
    Image.fromarray(stored).save(path, tiffinfo={262: 0, 274: orientation})
    # Pillow's own writer has turned 8-bit values already.
    expected = (stored if values == np.uint8 else 255 - stored)[:: -1 if orientation == 3 else 1]
    expected = expected[:, ::-1] if orientation == 3 else expected
    np.testing.assert_array_equal(np.asarray(to_rgb(path))[..., 0], expected)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(to_rgb(image))[..., 0], expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e308, 1.7e308, 1.0, 1e-300, 5e-324])
def test_floats_of_any_size(scale):
    shown = np.asarray(to_rgb(np.array([[-1.0, 0.0, 1.0]]) * scale))[..., 0]
    assert shown.tolist() == [[0, 128, 255]]


def test_float64_tensor_keeps_its_values():
    assert np.asarray(to_rgb(torch.tensor([[[0.0, 1e200]]], dtype=torch.float64)))[..., 0].tolist() == [[0, 255]]


def test_masked_arrays():
    image = np.ma.masked_array(np.asarray(_image()), mask=False)
    np.testing.assert_array_equal(np.asarray(to_rgb(image)), np.asarray(image))
    image[0, 0] = np.ma.masked
    with pytest.raises(ValueError, match=r"3 pixels .* masked.*filled"):
        to_rgb(image)


@pytest.mark.parametrize("tensor", [torch.zeros(1, 2, 2).to_sparse(), torch.zeros(1, 2, 2, device="meta")])
def test_tensors_without_plain_values(tensor):
    with pytest.raises(TypeError, match="must be dense"):
        to_rgb(tensor)


@pytest.mark.parametrize("image", [Image.new("RGB", (0, 3))])
def test_pil_images_that_are_no_rgb(image):
    with pytest.raises(ValueError, match="the given PIL image"):
        to_rgb(image)


def _encoded(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        _encoded(Image.effect_noise((128, 128), 60), format="JPEG"),
        _encoded(Image.effect_noise((128, 128), 60).convert("RGB"), format="JPEG", optimize=True),
        _encoded(Image.effect_noise((128, 128), 60), format="JPEG", restart_marker_rows=1),
        _encoded(Image.effect_noise((128, 128), 60), format="PNG"),
    ],
)
@pytest.mark.parametrize("opened", [False, True])
def test_zeroed_bytes(content, opened, tmp_path):
    path = tmp_path / "p"
    path.write_bytes(content)
    to_rgb(path)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(40) + content[middle + 40 :])
    with pytest.raises(ValueError, match="pass a complete image file") as error:
        to_rgb(Image.open(path) if opened else path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"comment": bytes(200)}])
def test_zeros_that_mean_an_even_area(options, tmp_path):
    black = Image.new("RGB", (2000, 2000))
    black.paste(Image.effect_noise((64, 64), 60), (900, 900))
    black.save(tmp_path / "p.jpg", **options)
    assert (bytes(32) in (tmp_path / "p.jpg").read_bytes()) == bool(options)
    to_rgb(tmp_path / "p.jpg")


def test_a_flipped_byte_in_png(tmp_path):
    content = bytearray(_encoded(Image.effect_noise((64, 64), 60), format="PNG", compress_level=0))
    content[len(content) // 2] ^= 1
    (tmp_path / "p.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"p\.png"):
        to_rgb(tmp_path / "p.png")


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"])
def test_formats_that_are_read(kind, tmp_path):
    _image(16, 24).save(tmp_path / "p", format=kind)
    assert to_rgb(tmp_path / "p").size == (24, 16)


@pytest.mark.parametrize("kind", ["EPS", "ICO", "PCX", "TGA", "PDF", "SGI"])
def test_other_formats_are_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was called"))
    _image(16, 24).save(tmp_path / "p", format=kind)
    with pytest.raises(ValueError, match=r"none of BMP, GIF"):
        to_rgb(tmp_path / "p")
    if kind != "PDF":
        with Image.open(tmp_path / "p") as image, pytest.raises(ValueError, match=f"format {kind}, not of BMP"):
            to_rgb(image)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", "cannot read the image in base64 of 34 characters"),
        ("iVBORw0KGgo" * 1000, "cannot read the image in base64 of 11000 characters"),
        ("data:image/png,%89PNG", "is no path, nor an image in base64"),
        ("?" * 5000, "is no path, nor an image in base64"),
    ],
)
def test_a_damaged_image_in_base64_is_named_shortly(text, message):
    with pytest.raises(ValueError, match=message) as error:
        to_rgb(text)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("head", ["data:image/any;base64,", ""])
def test_an_image_in_base64_is_read_as_its_file(head, format_, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8))
    image.save(tmp_path / "file", format=format_)
    text = head + base64.encodebytes((tmp_path / "file").read_bytes()).decode()
    assert np.array_equal(to_rgb(text), to_rgb(tmp_path / "file"))


def test_a_file_named_as_base64_begins_is_read_as_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (3, 2), 9).save("UklGRg", format="PNG")
    assert to_rgb("UklGRg").size == (3, 2)
    with pytest.raises(ValueError, match="cannot read the image SUkqxx"):
        to_rgb("SUkqxx")
