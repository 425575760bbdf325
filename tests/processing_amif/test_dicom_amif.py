"""On the files that come with pydicom, and on changed copies of them."""

import io
import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
from pydicom.data import get_testdata_file  # noqa: E402
from pydicom.pixels import get_decoder  # noqa: E402
from pydicom.uid import JPEGLSLossless  # noqa: E402

from amif.processing_amif import read_dicom, to_rgb  # noqa: E402

IDENTIFIERS = ("Doe^Jane", "4711-0815", "19610203", "Dr^Who", "Somewhere Hospital")


def bundled(name):
    return get_testdata_file(name, download=False)


def pixels(*arguments, **options):
    return np.asarray(read_dicom(*arguments, **options))


def changed(tmp_path, name, **elements):
    data = pydicom.dcmread(bundled(name))
    for keyword, value in elements.items():
        if isinstance(value, pydicom.DataElement):
            data.add(value)
        else:
            setattr(data, keyword, value)
    path = tmp_path / "changed.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path)
    return path


def naive_window(values, center, width):
    """DICOM PS3.3 C.11.2.1.2.1, one value after another."""

    def one(x):
        if x <= center - 0.5 - (width - 1) / 2:
            return 0
        if x > center - 0.5 + (width - 1) / 2:
            return 255
        return ((x - (center - 0.5)) / (width - 1) + 0.5) * 255

    return np.array([round(one(x)) for x in values.ravel().tolist()]).reshape(values.shape)


def test_ct_is_rescaled_and_windowed():
    hounsfield = pydicom.dcmread(bundled("CT_small.dcm")).pixel_array.astype(float) - 1024
    for window, numbers in (
        (None, (40, 400)),
        ("lung", (-600, 1500)),
        ("bone", (400, 1800)),
        ((100.0, 50.0), (100, 50)),
    ):
        shown = pixels(bundled("CT_small.dcm"), window=window)
        assert shown.dtype == np.uint8
        np.testing.assert_allclose(shown, naive_window(hounsfield, *numbers), atol=1)


def test_one_image_in_every_transfer_syntax():
    stored = pydicom.dcmread(bundled("MR_small.dcm")).pixel_array
    for name in ("", "_RLE", "_bigendian", "_implicit", "_jp2klossless", "_padded"):
        shown = pixels(bundled(f"MR_small{name}.dcm"))
        np.testing.assert_allclose(shown, naive_window(stored, 600, 1600), atol=1, err_msg=name)


def test_the_windows_of_the_file_by_number():
    path = bundled("examples_overlay.dcm")
    stored = pydicom.dcmread(path).pixel_array
    np.testing.assert_allclose(pixels(path), naive_window(stored, 450, 790), atol=1)
    np.testing.assert_allclose(pixels(path, window=1), naive_window(stored, 200, 443), atol=1)
    with pytest.raises(ValueError, match="no window 2: it has 2"):
        read_dicom(path, window=2)


def test_monochrome1_is_inverted(tmp_path):
    path = changed(tmp_path, "CT_small.dcm", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(pixels(path), 255 - pixels(bundled("CT_small.dcm")))


def test_voi_lut_goes_before_the_window(tmp_path):
    item = pydicom.Dataset()
    table = (np.arange(4096) ** 2 // 257).astype(np.uint16)
    item.add_new("LUTDescriptor", "SS", [4096, -1024, 16])
    item.add_new("LUTData", "OW", table.tobytes())
    sequence = pydicom.Sequence([item])
    path = changed(tmp_path, "CT_small.dcm", VOILUTSequence=sequence, WindowCenter=40, WindowWidth=400)
    stored = pydicom.dcmread(bundled("CT_small.dcm")).pixel_array
    np.testing.assert_allclose(pixels(path), table[stored] / 65535 * 255, atol=1)
    np.testing.assert_array_equal(pixels(path, window=0), pixels(bundled("CT_small.dcm")))


def test_without_a_window(tmp_path):
    eight_bits = bundled("image_dfl.dcm")
    np.testing.assert_array_equal(pixels(eight_bits), pydicom.dcmread(eight_bits).pixel_array)
    stored = pydicom.dcmread(bundled("MR_small.dcm")).pixel_array.astype(float)
    padding = pydicom.DataElement("PixelPaddingValue", "SS", int(stored.min()))
    # A padding value far below would leave little grey for the rest; a width of 0 is no window.
    path = changed(tmp_path, "MR_small.dcm", WindowWidth=0, PixelPaddingValue=padding)
    low, high = np.unique(stored)[1], stored.max()
    np.testing.assert_allclose(pixels(path), np.clip((stored - low) / (high - low), 0, 1) * 255, atol=1)


def test_pixels_of_floating_point(tmp_path):
    data = pydicom.dcmread(bundled("MR_small.dcm"))
    stored = data.pixel_array.astype("<f4") / 7
    for name in ("PixelData", "PixelRepresentation", "BitsStored", "HighBit", "WindowWidth", "WindowCenter"):
        if name in data:
            delattr(data, name)
    data.BitsAllocated, data.FloatPixelData = 32, stored.tobytes()
    data.save_as(tmp_path / "float.dcm")
    expected = (stored - stored.min()) / (stored.max() - stored.min()) * 255
    np.testing.assert_allclose(pixels(tmp_path / "float.dcm"), expected, atol=1)
    stored[0, 0] = np.nan
    data.FloatPixelData = stored.tobytes()
    data.save_as(tmp_path / "nan.dcm")
    with pytest.raises(ValueError, match=r"nan\.dcm holds pixels that are no finite numbers"):
        read_dicom(tmp_path / "nan.dcm")


def test_colors_of_8_and_16_bits_and_palettes():
    rgb = pydicom.dcmread(bundled("SC_rgb_rle.dcm")).pixel_array
    np.testing.assert_array_equal(pixels(bundled("SC_rgb_rle.dcm")), rgb)
    np.testing.assert_array_equal(pixels(bundled("SC_rgb_rle_16bit.dcm")), rgb)
    data = pydicom.dcmread(bundled("examples_palette.dcm"))
    tables = [getattr(data, f"{name}PaletteColorLookupTableData") for name in ("Red", "Green", "Blue")]
    palette = np.stack([np.frombuffer(table, "<u2") for table in tables], axis=1)
    np.testing.assert_allclose(pixels(bundled("examples_palette.dcm")), palette[data.pixel_array] / 257, atol=1)
    # Stored as luminance and chrominance; the corners of the image are red and black.
    assert pixels(bundled("SC_rgb_dcmtk_+eb+cy+np.dcm"))[0, 0].tolist() == [254, 0, 0]


def test_frames():
    path = bundled("examples_ybr_color.dcm")
    for frame in (0, 3, 29):
        np.testing.assert_array_equal(pixels(path, frame=frame), pydicom.dcmread(path).pixel_array[frame])
    np.testing.assert_array_equal(pixels(path), pixels(path, frame=15))
    for frame in (30, -1):
        with pytest.raises(ValueError, match=f"no frame {frame}: it has 30"):
            read_dicom(path, frame=frame)


def test_enhanced_files_keep_rescaling_and_window_in_groups(tmp_path):
    def group(name, **elements):
        item, outer = pydicom.Dataset(), pydicom.Dataset()
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        setattr(outer, name, pydicom.Sequence([item]))
        return outer

    shared = group("PixelValueTransformationSequence", RescaleSlope=2, RescaleIntercept=-1000)
    each = [group("FrameVOILUTSequence", WindowCenter=center, WindowWidth=600) for center in (100, 900)]
    stored = pydicom.dcmread(bundled("MR_small.dcm")).pixel_array
    path = changed(
        tmp_path,
        "MR_small.dcm",
        NumberOfFrames=2,
        PixelData=np.stack([stored, stored]).tobytes(),
        SharedFunctionalGroupsSequence=pydicom.Sequence([shared]),
        PerFrameFunctionalGroupsSequence=pydicom.Sequence(each),
    )
    for frame, center in enumerate((100, 900)):
        expected = naive_window(2.0 * stored - 1000, center, 600)
        np.testing.assert_allclose(pixels(path, frame=frame), expected, atol=1)


def test_to_rgb_reads_dicom_with_and_without_the_suffix(tmp_path):
    bare = tmp_path / "IM000001"
    bare.write_bytes(Path(bundled("CT_small.dcm")).read_bytes())
    for path in (bundled("CT_small.dcm"), bare):
        image = to_rgb(path)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image)[..., 1], pixels(bundled("CT_small.dcm")))


def test_a_patient_is_never_named(tmp_path, caplog, capfd, monkeypatch):
    read, dcmread = [], pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *args, **options: read.append(dcmread(*args, **options)) or read[-1])
    caplog.set_level(logging.DEBUG)
    who = dict(zip(("PatientName", "PatientID", "PatientBirthDate"), IDENTIFIERS, strict=False))
    who |= {"ReferringPhysicianName": IDENTIFIERS[3], "InstitutionName": IDENTIFIERS[4], "BurnedInAnnotation": "YES"}
    path = changed(tmp_path, "CT_small.dcm", **who)
    written = io.BytesIO()
    image = read_dicom(path)
    image.save(written, "PNG")
    said = [repr(image.info), written.getvalue().decode("latin-1")]
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(ValueError, match=r"cut\.dcm") as error:
        read_dicom(cut)
    said += [str(error.value), caplog.text, *capfd.readouterr()]
    said += [str(header) for header in read[1:]]
    assert "text is burned into" in caplog.text
    assert len(read) == 3
    assert not [name for name in IDENTIFIERS if any(name in text for text in said)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MR_truncated.dcm", r"cannot decode the pixels of .*MR_truncated\.dcm .*less than expected"),
        ("rtplan.dcm", "holds no DICOM image"),
        ("test-SR.dcm", "holds no DICOM image"),
    ],
)
def test_files_without_a_whole_image(name, message):
    with pytest.raises(ValueError, match=message):
        to_rgb(bundled(name))


def test_what_is_no_dicom_at_all(tmp_path):
    for content in (b"", b"not an image", bytes(range(256)) * 9):
        path = tmp_path / "x.dcm"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.dcm"):
            to_rgb(path)
    with pytest.raises(ValueError, match=r"missing\.dcm"):
        to_rgb(tmp_path / "missing.dcm")


@pytest.mark.skipif(get_decoder(JPEGLSLossless).is_available, reason="a decoder of JPEG-LS is installed")
def test_a_missing_decoder_is_named():
    with pytest.raises(ValueError, match=r"JPEG-LS Lossless.*pip install python-gdcm"):
        read_dicom(bundled("MR_small_jpeg_ls_lossless.dcm"))


def test_unknown_windows_are_refused():
    with pytest.raises(ValueError, match=r"'lungs' for .*CT.*'brain'"):
        read_dicom(bundled("CT_small.dcm"), window="lungs")
    with pytest.raises(ValueError, match=r"'lung' for .*\(MR\)"):
        read_dicom(bundled("MR_small.dcm"), window="lung")


def test_without_pydicom_the_extra_is_named(monkeypatch):
    path = bundled("CT_small.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImportError, match=r'pip install "amif\[dicom\]"'):
        to_rgb(path)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"WindowCenter": ("DS", "NaN")}, "WindowCenter"),
        ({"WindowCenter": ("LO", "abc"), "WindowWidth": ("DS", "5")}, "WindowCenter|cannot"),
        ({"RescaleSlope": ("DS", None)}, "RescaleSlope"),
        ({"RescaleSlope": ("DS", "0")}, "RescaleSlope"),
        (
            {"VOILUTFunction": ("CS", "CUBIC"), "WindowCenter": ("DS", "5"), "WindowWidth": ("DS", "9")},
            "VOILUTFunction",
        ),
        ({"WindowCenter": ("DS", ["5", "6"]), "WindowWidth": ("DS", "9")}, "do not pair"),
        ({"VOILUTSequence": ("SQ", [pydicom.Dataset()])}, "VOILUTSequence"),
        ({"ModalityLUTSequence": ("SQ", [pydicom.Dataset()])}, "ModalityLUTSequence"),
        ({"PhotometricInterpretation": ("CS", "CMYK")}, "PhotometricInterpretation"),
        ({"Modality": ("CS", "RTDOSE")}, "kind RT Dose"),
        ({"SOPClassUID": ("UI", "1.2.840.10008.5.1.4.1.1.66.4")}, "kind Segmentation Storage"),
    ],
)
def test_tags_that_cannot_be_used(tmp_path, elements, message):
    parts = {name: pydicom.DataElement(name, *element) for name, element in elements.items()}
    path = (
        changed(tmp_path, "CT_small.dcm", WindowWidth=40, **parts)
        if "WindowWidth" not in parts
        else changed(tmp_path, "CT_small.dcm", **parts)
    )
    with pytest.raises(ValueError, match=message) as error:
        read_dicom(path)
    assert "changed.dcm" in str(error.value)


@pytest.mark.parametrize(("function", "width"), [("LINEAR_EXACT", 400.0), ("LINEAR_EXACT", 0.5), ("SIGMOID", 400.0)])
def test_windows_that_open_otherwise(tmp_path, function, width):
    """DICOM PS3.3 C.11.2.1.3."""
    path = changed(tmp_path, "CT_small.dcm", WindowCenter=40, WindowWidth=width, VOILUTFunction=function)
    x = (pydicom.dcmread(path).pixel_array - 1024.0 - 40) / width
    expected = np.clip(x + 0.5, 0, 1) if function == "LINEAR_EXACT" else 1 / (1 + np.exp(np.clip(-4 * x, -700, 700)))
    np.testing.assert_allclose(pixels(path), expected * 255, atol=1)


def test_a_window_on_colours_is_refused():
    for name in ("SC_rgb_rle.dcm", "examples_palette.dcm"):
        with pytest.raises(ValueError, match="colour image"):
            read_dicom(bundled(name), window=(40, 400))
