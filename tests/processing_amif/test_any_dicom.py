"""Damaged DICOM files and random tables: the right image or an error of ours, which names the file."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from our_errors import examples, result_or_our_error

pydicom = pytest.importorskip("pydicom")
from pydicom.data import get_testdata_file  # noqa: E402

from amif.processing_amif import read_dicom  # noqa: E402

FILES = (
    *("CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_rle.dcm"),
    *("examples_palette.dcm", "examples_overlay.dcm", "image_dfl.dcm", "rtplan.dcm", "test-SR.dcm", "liver_1frame.dcm"),
)
NUMBERS = st.one_of(
    st.none(),
    st.integers(-(2**15), 2**15),
    st.floats(-1e6, 1e6).map(lambda number: f"{number:.9g}"),
    st.sampled_from(["", "0", "1e308", "-1e308", "NaN", "inf", "abc", ["1", "2"]]),
)
TAGS = {
    **dict.fromkeys(("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"), (("DS", "LO"), NUMBERS)),
    "NumberOfFrames": (("IS", "LO"), NUMBERS),
    "VOILUTFunction": (("CS",), st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID", "", "CUBIC"])),
    "PhotometricInterpretation": (
        ("CS",),
        st.sampled_from(["MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL_422", "", "CMYK"]),
    ),
    **dict.fromkeys(
        ("BitsStored", "HighBit", "BitsAllocated", "SamplesPerPixel", "PlanarConfiguration", "PixelRepresentation"),
        (("US",), st.sampled_from([0, 1, 2, 3, 7, 8, 12, 16, 32, 64, 65535])),
    ),
    **dict.fromkeys(("Rows", "Columns"), (("US",), st.integers(0, 65535))),
    "PixelPaddingValue": (("US", "LO"), st.integers(0, 65535)),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "any.dcm"


@pytest.fixture(scope="module")
def bundled():
    return {name: open(get_testdata_file(name, download=False), "rb").read() for name in FILES}


def right_or_refused(path, size=None, **arguments):
    """The image of a file, of any right size, or None where it is refused by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = result_or_our_error(lambda: named_read(path, arguments))
    if image is not None:
        assert image.mode in ("L", "RGB")
        assert size in (None, image.size)
    return image


def named_read(path, arguments):
    try:
        return read_dicom(path, **arguments)
    except ValueError as error:
        if path.name in str(error):
            raise
        raise AssertionError("the file is not named") from error


@examples(60)
@given(st.data())
def test_files_with_wrong_bytes(path, bundled, data):
    content = bytearray(bundled[data.draw(st.sampled_from(FILES))])
    # Half of the changes fall on the tags before the pixels.
    places = st.one_of(st.integers(0, min(len(content), 2500) - 1), st.integers(0, len(content) - 1))
    for place in data.draw(st.lists(places, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    kept = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path.write_bytes(content[:kept])
    right_or_refused(path)


@examples(60)
@given(st.data())
def test_files_with_wrong_tags(path, data):
    name = data.draw(st.sampled_from([FILES[place] for place in (0, 4, 5, 6)]))
    header = pydicom.dcmread(get_testdata_file(name, download=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword in data.draw(st.lists(st.sampled_from(list(TAGS)), min_size=1, max_size=3, unique=True)):
            kinds, values = TAGS[keyword]
            try:
                header.add(pydicom.DataElement(keyword, data.draw(st.sampled_from(kinds)), data.draw(values)))
            except (ValueError, OverflowError):
                return  # pydicom does not write it
        try:
            header.save_as(path)
        except Exception:
            return
    right_or_refused(path, (header.Columns, header.Rows), frame=data.draw(st.sampled_from([None, 0, 1, -1])))


def table_item(table, first, bits, words):
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(table) % 2**16, first, bits])
    item.add_new("LUTData", "OW", stored(table, words))
    return item


def stored(table, words):
    content = np.asarray(table, "<u2" if words else "u1").tobytes()
    return content + bytes(len(content) % 2)


@examples(60)
@given(st.data())
def test_random_tables_as_one_value_after_another(path, data):
    """Against a loop over the pixels, by PS3.3 C.11.1, C.11.2 and C.7.6.3.1.5."""
    kind = np.dtype(data.draw(st.sampled_from(["u1", "<u2", "<i2"])))
    limits = np.iinfo(kind)
    first = data.draw(st.integers(max(limits.min, -300), 300))
    values = data.draw(
        st.lists(
            st.one_of(st.integers(int(limits.min), int(limits.max)), st.integers(int(limits.min), 255)),
            min_size=4,
            max_size=4,
        )
    )
    bits = data.draw(st.sampled_from([8, 16]))
    words = bits == 16 or data.draw(st.booleans())
    table = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=2, max_size=600))
    where = data.draw(st.sampled_from(["VOILUTSequence", "PALETTE COLOR"]))
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    del header.RescaleSlope, header.RescaleIntercept
    header.Rows = header.Columns = 2
    header.BitsAllocated = header.BitsStored = 8 * kind.itemsize
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, int(kind.kind == "i")
    header.add_new("PixelData", "OW", np.array(values, kind).tobytes())
    if where == "VOILUTSequence":
        header.VOILUTSequence = pydicom.Sequence([table_item(table, first, bits, words)])
    else:
        header.PhotometricInterpretation = where
        for color in ("Red", "Green", "Blue"):
            described = "SS" if kind.kind == "i" else "US"
            header.add_new(f"{color}PaletteColorLookupTableDescriptor", described, [len(table), abs(first), bits])
            header.add_new(f"{color}PaletteColorLookupTableData", "OW", stored(table, words))
        first = abs(first)
    if kind.kind == "u" and first < 0:
        header.VOILUTSequence[0].add_new("LUTDescriptor", "SS", [len(table), first, bits])
    header.save_as(path)
    image = right_or_refused(path, (2, 2))
    entries = [table[min(max(value - first, 0), len(table) - 1)] for value in values]
    expected = [entry * 255 / (2**bits - 1) for entry in entries]
    np.testing.assert_allclose(np.asarray(image.convert("L")).ravel(), expected, atol=0.51)
