"""On small volumes that the tests write, in every order of the axes."""

import gzip
import io
import itertools
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from our_errors import examples, result_or_our_error
from PIL import Image
from written_dicom import ct, write_dicom

nibabel = pytest.importorskip("nibabel")
from written_nifti import PATIENT, write_nifti  # noqa: E402

from amif.processing_amif import read_dicom, read_nifti, to_rgb  # noqa: E402
from amif.processing_amif.nifti_amif import NiftiVolume, is_nifti, logger  # noqa: E402

SHAPE = (6, 8, 10)


@pytest.fixture
def volume():
    """Values of 16 bits (right, front, head), each voxel's its own."""
    return np.random.default_rng(0).permutation(480).reshape(SHAPE).astype(np.int16)


def pixels(*arguments, **options):
    return np.asarray(read_nifti(*arguments, **options))


def opened(values, low, high):
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)


def seen(volume, plane, frame):
    """A slice as radiologists look at it, one pixel after another; x leads to the right, y to the front, z up."""
    right, front, head = volume.shape
    if plane == "axial":  # the patient's right on the left, the front above
        rows = [[volume[right - 1 - c, front - 1 - r, frame] for c in range(right)] for r in range(front)]
    elif plane == "coronal":  # the patient's right on the left, the head above
        rows = [[volume[right - 1 - c, frame, head - 1 - r] for c in range(right)] for r in range(head)]
    else:  # the face on the left, the head above
        rows = [[volume[frame, front - 1 - c, head - 1 - r] for c in range(front)] for r in range(head)]
    return np.array(rows)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_all_48_orders_of_the_axes_are_one_image(tmp_path, volume, axes):
    for flips in itertools.product((1, -1), repeat=3):
        path = write_nifti(tmp_path / "a.nii", volume, axes=axes, flips=flips, cal_max=480)
        for plane, frame in (("axial", 7), ("coronal", 2), ("sagittal", 1)):
            shown = pixels(path, frame, plane=plane)
            np.testing.assert_allclose(shown, opened(seen(volume, plane, frame), 0, 480), atol=1)


def test_an_oblique_volume_is_drawn_as_nibabel_turns_it(tmp_path, volume):
    affine = np.array([[-0.6, 0, 0.8, 5], [0.8, 0, 0.6, 1], [0, -1, 0, 2], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(volume, affine)
    image.header["cal_max"] = 480
    nibabel.save(image, tmp_path / "a.nii")
    turned = np.asarray(nibabel.as_closest_canonical(image).dataobj)
    shown = pixels(tmp_path / "a.nii", 3, plane="axial")
    np.testing.assert_allclose(shown, opened(seen(turned, "axial", 3), 0, 480), atol=1)


@pytest.mark.parametrize(
    ("shape", "spacing", "plane"),
    [
        (SHAPE, (1, 1, 1), "axial"),
        (SHAPE, (0.7, 0.7, 5), "axial"),
        (SHAPE, (4, 0.5, 0.5), "sagittal"),
        (SHAPE, (0.9, 3, 0.9), "coronal"),
        (SHAPE, (1.2, 1, 1), "axial"),
        ((1, 8, 10), (1, 1, 1), "sagittal"),
        ((6, 1, 10), (1, 1, 2), "coronal"),
        ((6, 8), (1, 1, 1), "axial"),
    ],
)
def test_the_plane_is_the_one_of_the_scan(tmp_path, shape, spacing, plane):
    path = write_nifti(tmp_path / "a.nii", np.zeros(shape, np.uint8), spacing)
    assert (NiftiVolume(path).plane, NiftiVolume(path).frames) == (plane, (*shape, 1)[("s", "c", "a").index(plane[0])])
    chosen = NiftiVolume(path, "coronal")
    assert (chosen.plane, chosen.frames) == ("coronal", shape[1])


def test_the_middle_slice_is_shown_and_that_is_said_once(tmp_path, volume, caplog):
    path = write_nifti(tmp_path / "a.nii", volume)
    logger.warning_once.cache_clear()
    np.testing.assert_array_equal(pixels(path), pixels(path, 5))
    assert [record.getMessage() for record in caplog.records] == [
        "Of NIfTI volumes the middle slice is shown, and no other."
    ]


def test_pixels_are_as_wide_as_high(tmp_path, volume):
    """The longer side of a voxel gets more of them; a square in mm stays one."""
    path = write_nifti(tmp_path / "a.nii", volume, (0.5, 1, 2))
    sizes = [read_nifti(path, plane=plane).size for plane in ("axial", "coronal", "sagittal")]
    assert sizes == [(6, 16), (6, 40), (8, 20)]
    plain = read_nifti(write_nifti(tmp_path / "b.nii", volume), 3, plane="sagittal")
    np.testing.assert_array_equal(
        pixels(path, 3, plane="sagittal"), np.asarray(plain.resize((8, 20), Image.Resampling.BILINEAR))
    )


def test_what_is_black_and_what_is_white(tmp_path, volume):
    """The whole volume's percentiles, so that slices are alike; or what the header says, after its slope."""
    shown = seen(volume, "axial", 4)
    low, high = np.percentile(volume, (0.5, 99.5))
    np.testing.assert_allclose(pixels(write_nifti(tmp_path / "a.nii", volume), 4), opened(shown, low, high), atol=1)
    path = write_nifti(tmp_path / "b.nii", volume, scl_slope=-2, scl_inter=100, cal_min=-500, cal_max=50)
    np.testing.assert_allclose(pixels(path, 4), opened(100 - 2.0 * shown, -500, 50), atol=1)
    np.testing.assert_array_equal(pixels(path, 4, window=0), pixels(path, 4))
    np.testing.assert_allclose(pixels(path, 4, (0, 401)), opened(100 - 2.0 * shown, -200.5, 200.5), atol=1)
    rare = np.zeros(SHAPE, np.uint8)
    rare[2, 3, 4] = 1
    assert pixels(write_nifti(tmp_path / "c.nii", rare), 4).tolist() == (255 * seen(rare, "axial", 4)).tolist()
    assert not pixels(write_nifti(tmp_path / "d.nii", np.full(SHAPE, 7.5, np.float32))).any()


def test_large_volumes_are_judged_by_a_part_of_their_voxels(tmp_path, volume, monkeypatch):
    path = write_nifti(tmp_path / "a.nii", volume)
    whole = pixels(path, 4).astype(int)
    monkeypatch.setattr("amif.processing_amif.nifti_amif._SAMPLE", 100)
    assert 0 < np.abs(pixels(path, 4) - whole).max() < 25


def test_a_window_shows_what_it_shows_of_dicom(tmp_path):
    hounsfield = np.random.default_rng(1).integers(-1024, 2000, (6, 8, 1)).astype(np.int16)
    path = write_nifti(tmp_path / "ct.nii.gz", hounsfield)
    same = write_dicom(tmp_path / "ct.dcm", (seen(hounsfield, "axial", 0) + 1024).astype(np.uint16), **ct())
    for window in ("abdomen", "bone", "lung"):
        np.testing.assert_array_equal(pixels(path, window=window), np.asarray(read_dicom(same, window=window)))


def test_a_window_on_shares_is_as_narrow_as_they_are(tmp_path):
    shares = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8, 1)
    path, shown = write_nifti(tmp_path / "a.nii", shares), seen(shares, "axial", 0)
    for center, width in ((0.5, 1.0), (0.5, 1.5), (0.25, 0.125)):
        wanted = opened(shown, center - width / 2, center + width / 2)
        np.testing.assert_allclose(pixels(path, window=(center, width)), wanted, atol=1)


@pytest.mark.parametrize("kind", ["i1", "u1", ">i2", "<u2", "i4", "u8", "f4", ">f8"])
def test_numbers_of_any_kind(tmp_path, kind):
    values = np.random.default_rng(0).integers(0, 100, SHAPE).astype(kind)
    path = write_nifti(tmp_path / "a.nii", values, cal_max=100)
    np.testing.assert_allclose(pixels(path, 4), opened(seen(values, "axial", 4).astype(float), 0, 100), atol=1)


def test_colours_stay_as_they_are(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    stored = colors.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    path = write_nifti(tmp_path / "a.nii", stored, flips=(-1, 1, 1))
    wanted = np.stack([seen(colors[..., color], "axial", 4) for color in range(3)], axis=-1)
    np.testing.assert_array_equal(pixels(path, 4), wanted)
    with pytest.raises(ValueError, match=r"a\.nii is in colour, which has no windows"):
        read_nifti(path, window="lung")


def test_a_file_is_known_by_its_first_bytes_or_its_name(tmp_path, volume):
    path = write_nifti(tmp_path / "a.nii.gz", volume)
    wanted = np.asarray(read_nifti(path).convert("RGB"))
    for name in ("b.nii.gz", "IM1", "c.nii"):
        path = path.rename(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(to_rgb(path)), wanted)
    content = path.read_bytes()
    for stored in (content, gzip.decompress(content)):
        file = io.BytesIO(stored)
        assert is_nifti(file)
        np.testing.assert_array_equal(pixels(file), wanted[..., 0])
        assert file.read() == stored
    second = nibabel.Nifti2Image(volume, np.eye(4)).to_bytes()
    np.testing.assert_array_equal(pixels(io.BytesIO(second)), wanted[..., 0])
    for other in (b"", content[:20], gzip.compress(b"notes"), b"\x1f\x8b broken", b"\x89PNG"):
        assert not is_nifti(io.BytesIO(other))
    assert not is_nifti(tmp_path / "gone.nii")


def headless(content, place, new):
    return content[:place] + new + content[place + len(new) :]


DAMAGED = {
    "its end": (lambda content: content[:-100], "its end is missing"),
    "all of it": (lambda content: b"", "begins otherwise than a volume"),
    "the magic": (lambda content: headless(content, 344, b"ni1\0"), "begins otherwise than a volume"),
    "the compressed end": (lambda content: gzip.compress(content)[:-40], "its end is missing"),
    "compressed bytes": (lambda content: headless(gzip.compress(content), 60, b"\xff" * 40), "as NIfTI"),
    "the data type": (lambda content: headless(content, 70, b"\x07\x07"), "HeaderDataError"),
    "complex numbers": (lambda content: headless(content, 70, b"\x20\0\x40\0"), "neither real numbers nor RGB"),
    "no size": (lambda content: headless(content, 42, b"\0\0"), "0 x 8 x 10 voxels, none or more"),
    "huge sizes": (lambda content: headless(content, 42, b"\xff\x7f" * 3), "32767 x 32767 x 32767 voxels"),
    "much for its bytes": (lambda content: headless(content, 42, b"\0\1\0\1\0\1"), "its end is missing"),
    "negative sizes": (lambda content: headless(content, 42, b"\xff\xff" * 3), "none or more than 2 GiB"),
    "no orientation": (lambda content: headless(content, 252, b"\0" * 4), "no orientation .* left and right"),
    "a zero affine": (lambda content: headless(content, 280, b"\0" * 48), "axes lead nowhere"),
    "one axis twice": (lambda content: headless(content, 296, content[280:296]), "axes lead nowhere"),
    "an affine of NaN": (lambda content: headless(content, 280, np.float32(np.nan).tobytes()), "axes lead nowhere"),
    "flat voxels": (lambda content: headless(content, 280, np.float32(1e-9).tobytes()), "give no image"),
    "the intercept": (lambda content: headless(content, 112, np.float32([1, np.inf]).tobytes()), "HeaderDataError"),
    "an overflow": (lambda content: headless(content, 112, np.float32([3e38, 3e38]).tobytes()), None),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_files_are_named_with_the_cure_and_without_the_patient(tmp_path, volume, what):
    damage, said = DAMAGED[what]
    path = tmp_path / "a.nii"
    path.write_bytes(damage(write_nifti(path, volume).read_bytes()))
    if said is None:
        assert read_nifti(path).size == (6, 8)
        return
    with pytest.raises(ValueError, match=rf"a\.nii.*{said}.*: \w+|{said}.*a\.nii.*: \w+") as error:
        read_nifti(path)
    assert PATIENT[:8] not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_refused(tmp_path, wrong):
    values = np.zeros(SHAPE, np.float32)
    values[0, 0, 0] = wrong
    path = write_nifti(tmp_path / "a.nii", values)
    for options in ({}, {"window": (0, 10), "frame": 0}):
        with pytest.raises(ValueError, match=r"a\.nii holds voxels that are no finite numbers: replace them"):
            read_nifti(path, **options)
    read_nifti(path, frame=5, window=(0, 10))


def test_several_volumes_are_refused_and_one_in_four_axes_is_not(tmp_path, volume):
    stacked = np.stack([volume] * 5, axis=3)
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(stacked, np.eye(4)), path)
    with pytest.raises(ValueError, match=r"a\.nii holds 5 volumes, not one: save .*slicer\[\.\.\., 0\]"):
        read_nifti(path)
    nibabel.save(nibabel.Nifti1Image(stacked[..., :1], np.eye(4)), path)
    np.testing.assert_array_equal(pixels(path), pixels(write_nifti(tmp_path / "b.nii", volume)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frame": 10}, "no axial slice 10: it has 10, counted from 0"),
        ({"frame": -1}, "no axial slice -1"),
        ({"plane": "coronal", "frame": 8}, "no coronal slice 8: it has 8"),
        ({"plane": "oblique"}, "no plane 'oblique': it is one of sagittal, coronal, axial"),
        ({"window": "lungs"}, r"no window 'lungs' for .*a\.nii: for CT"),
        ({"window": 0}, "no window 0: it has none"),
        ({"window": (0, 0)}, "width above 0"),
    ],
)
def test_what_a_volume_has_not(tmp_path, volume, options, said):
    path = write_nifti(tmp_path / "a.nii", volume)
    with pytest.raises(ValueError, match=said):
        read_nifti(path, **options)
    with pytest.raises(TypeError, match="frame is a float"):
        read_nifti(path, frame=1.0)
    with pytest.raises(ValueError, match="no window 1: 0 is its only one"):
        read_nifti(write_nifti(path, volume, cal_max=3), window=1)


def test_without_nibabel_the_extra_is_named(tmp_path, volume, monkeypatch):
    path = write_nifti(tmp_path / "a.nii", volume)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert is_nifti(path)
    with pytest.raises(ImportError, match=r'pip install "amif\[nifti\]"'):
        to_rgb(path)


@examples(60)
@given(st.data())
def test_files_with_wrong_bytes(tmp_path_factory, data):
    values = np.random.default_rng(0).integers(0, 100, SHAPE).astype(data.draw(st.sampled_from(["u1", "<i2", "f4"])))
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(write_nifti(folder / "any.nii", values).read_bytes())
    places = st.one_of(st.integers(0, 347), st.integers(0, len(content) - 1))
    for place in data.draw(st.lists(places, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    content = bytes(content) if data.draw(st.booleans()) else bytearray(gzip.compress(content))
    kept = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    (folder / "any.nii").write_bytes(content[:kept])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = result_or_our_error(lambda: read_nifti(folder / "any.nii"))
    assert image is None or image.mode in ("L", "RGB")
