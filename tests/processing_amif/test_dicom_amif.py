"""On the files that come with pydicom, and on changed copies of them."""

import io
import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
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


def stored_as(values):
    """The elements that describe the pixels `values`."""
    kind = values.dtype
    return {
        "PixelData": pydicom.DataElement("PixelData", "OW", values.tobytes()),
        **{name: 8 * kind.itemsize for name in ("BitsAllocated", "BitsStored")},
        "HighBit": 8 * kind.itemsize - 1,
        "PixelRepresentation": int(kind.kind == "i"),
        "Rows": values.shape[0],
        "Columns": values.shape[1],
    }


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


def test_an_index_beyond_the_palette_is_its_last_colour(tmp_path):
    """Also where an entry has fewer bits than a pixel: the index 300 of 256 colours is no 44."""
    stored = np.array([[0, 44, 255, 256], [300, 511, 4095, 65535]], np.uint16)
    shades = np.arange(256, dtype=np.uint8)
    tables = {"Red": shades, "Green": shades[::-1], "Blue": shades // 2}
    data = {
        f"{color}PaletteColorLookupTable{part}": pydicom.DataElement(f"{color}PaletteColorLookupTable{part}", *value)
        for color, table in tables.items()
        for part, value in (("Descriptor", ("US", [256, 0, 8])), ("Data", ("OW", table.tobytes())))
    }
    path = changed(tmp_path, "CT_small.dcm", **stored_as(stored), PhotometricInterpretation="PALETTE COLOR", **data)
    places = stored.clip(0, 255)
    np.testing.assert_array_equal(pixels(path), np.stack([table[places] for table in tables.values()], axis=-1))


def test_a_palette_of_8_bits_in_words_of_16(tmp_path):
    stored = np.array([[0, 1], [2, 9]], np.uint8)
    names = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
    data = {name + "Descriptor": pydicom.DataElement(name + "Descriptor", "US", [3, 0, 8]) for name in names}
    words = np.array([0, 100, 255], "<u2").tobytes()
    data |= {name + "Data": pydicom.DataElement(name + "Data", "OW", words) for name in names}
    path = changed(tmp_path, "CT_small.dcm", **stored_as(stored), PhotometricInterpretation="PALETTE COLOR", **data)
    assert pixels(path)[..., 0].tolist() == [[0, 100], [255, 255]]


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(
    ("values", "first"),
    [
        (np.array([[0, 1], [299, 65535]], np.uint16), 0),
        (np.array([[-32768, -5], [290, 32767]], np.int16), -10),
        (np.array([[0, 7], [20, 255]], np.uint8), 5),
    ],
)
def test_values_beyond_a_table_take_its_ends(tmp_path, sequence, values, first):
    """A table of 300 entries of 8 bits, which no index of 8 bits reaches."""
    table = np.arange(300) * 255 // 299
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS", [300, first, 8])
    item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    parts = stored_as(values) | {sequence: pydicom.Sequence([item])}
    without = {"RescaleSlope": None, "RescaleIntercept": None}
    path = changed(tmp_path, "CT_small.dcm", Modality="MR", **parts, **without)
    expected = [[int(table[min(max(value - first, 0), 299)]) for value in row] for row in values.tolist()]
    shown = pixels(path).astype(int)
    if sequence == "ModalityLUTSequence":  # stretched, as without a window
        low, high = min(map(min, expected)), max(map(max, expected))
        expected = [[(value - low) * 255 / (high - low) for value in row] for row in expected]
    np.testing.assert_allclose(shown, expected, atol=0.51)


def test_frames():
    path = bundled("examples_ybr_color.dcm")
    for frame in (0, 3, 29):
        np.testing.assert_array_equal(pixels(path, frame=frame), pydicom.dcmread(path).pixel_array[frame])
    np.testing.assert_array_equal(pixels(path), pixels(path, frame=15))
    for frame in (30, -1):
        with pytest.raises(ValueError, match=f"no frame {frame}: it has 30"):
            read_dicom(path, frame=frame)


def group(name, **elements):
    """An item of functional groups."""
    item, outer = pydicom.Dataset(), pydicom.Dataset()
    for keyword, value in elements.items():
        item.add(value) if isinstance(value, pydicom.DataElement) else setattr(item, keyword, value)
    setattr(outer, name, pydicom.Sequence([item]))
    return outer


def test_enhanced_files_keep_rescaling_and_window_in_groups(tmp_path):
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


def test_pydicom_stays_silent_until_the_last_thread_has_read(tmp_path, monkeypatch, recwarn):
    """A reader that ends must not let pydicom speak while another one still reads."""
    path = changed(tmp_path, "CT_small.dcm", WindowCenter=pydicom.DataElement("WindowCenter", "LO", "87654321"))
    path.write_bytes(path.read_bytes().replace(b"87654321", IDENTIFIERS[0].encode()))
    dcmread, (one, both, ended) = pydicom.dcmread, (threading.Event() for _ in range(3))

    def slowly(file, **options):
        (both if file == path else one).set()
        assert (ended if file == path else both).wait(60)
        return dcmread(file, **options)

    monkeypatch.setattr(pydicom, "dcmread", slowly)
    before = pydicom.config.settings.reading_validation_mode, pydicom.config.logger.disabled
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(read_dicom, bundled("MR_small.dcm"))
        assert one.wait(60)
        second = threads.submit(read_dicom, path)
        first.result()
        ended.set()
        assert isinstance(second.exception(), ValueError)
    assert not [warning for warning in recwarn if IDENTIFIERS[0] in str(warning.message)]
    assert (pydicom.config.settings.reading_validation_mode, pydicom.config.logger.disabled) == before


NAMED = IDENTIFIERS[0]
# A number as long, which pydicom writes where it would not write a name.
PLACE = "87654321"


def named(keyword, vr="LO"):
    """A tag in which, once it is written, a name stands in place of what belongs there."""
    return {keyword: pydicom.DataElement(keyword, vr, PLACE)}


@pytest.mark.parametrize(
    "elements",
    [
        *[
            named(keyword)
            for keyword in (
                *("PhotometricInterpretation", "NumberOfFrames", "Rows", "SamplesPerPixel", "BitsStored", "PixelData"),
                *("BitsAllocated", "PixelRepresentation", "RescaleSlope", "WindowCenter"),
                *("VOILUTSequence", "ModalityLUTSequence", "PerFrameFunctionalGroupsSequence"),
            )
        ],
        {"PhotometricInterpretation": "PALETTE COLOR"},
        named("RedPaletteColorLookupTableDescriptor") | {"PhotometricInterpretation": "PALETTE COLOR"},
        *[named(keyword, "DS") for keyword in ("RescaleSlope", "WindowCenter", "WindowWidth")],
        named("NumberOfFrames", "IS"),
        named("SpecificCharacterSet", "CS") | {"PhotometricInterpretation": "none"},
        named("VOILUTFunction") | {"WindowCenter": 40, "WindowWidth": 400},
        {"SharedFunctionalGroupsSequence": [group("FrameVOILUTSequence", **named("WindowCenter"))]},
        {"SharedFunctionalGroupsSequence": [group("FrameVOILUTSequence", **named("VOILUTSequence"))]},
        {"SharedFunctionalGroupsSequence": [group("PixelValueTransformationSequence", **named("RescaleSlope"))]},
        {"PerFrameFunctionalGroupsSequence": [group("FrameVOILUTSequence", **named("WindowWidth", "DS"))]},
    ],
    ids=str,
)
def test_what_pydicom_quotes_is_never_repeated(tmp_path, elements, caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    path = changed(tmp_path, "CT_small.dcm", **elements)
    path.write_bytes(path.read_bytes().replace(PLACE.encode(), NAMED.encode()))
    with pytest.raises(ValueError, match=r"changed\.dcm") as error:
        read_dicom(path)
    said = [str(error.value), caplog.text, *(str(warning.message) for warning in recwarn)]
    assert not [text for text in said if NAMED in text]


def test_the_name_of_a_transfer_syntax_is_never_repeated(tmp_path, recwarn):
    data = pydicom.dcmread(bundled("CT_small.dcm"))
    path = tmp_path / "changed.dcm"
    data.save_as(path)
    syntax = str(data.file_meta.TransferSyntaxUID).encode()
    path.write_bytes(path.read_bytes().replace(syntax, NAMED.encode().ljust(len(syntax), b".")[: len(syntax)], 1))
    with pytest.raises(ValueError, match=r"changed\.dcm") as error:
        read_dicom(path)
    assert not [text for text in (str(error.value), *(str(w.message) for w in recwarn)) if NAMED in text]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[({"frame": frame}, "frame is a") for frame in ("0", 1.0, True, [0])],
        *[({"window": window}, "window is") for window in (1.5, True, {}, (), ("40", 400), (40, True), b"brain")],
    ],
)
def test_arguments_of_other_types(arguments, message):
    with pytest.raises(TypeError, match=message):
        read_dicom(bundled("CT_small.dcm"), **arguments)


@pytest.mark.parametrize("window", [(40,), (40, 400, 1), (40, 0), (float("nan"), 5), [40, float("inf")]])
def test_windows_that_are_none(window):
    with pytest.raises(ValueError, match=r"is not \(centre, width\)"):
        read_dicom(bundled("CT_small.dcm"), window=window)


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
        *[
            ({"SOPClassUID": ("UI", f"1.2.840.10008.5.1.4.1.1.{number}")}, f"kind {kind} Storage")
            for number, kind in (
                ("66.4", "Segmentation"),
                ("481.2", "RT Dose"),
                ("481.3", "RT Structure Set"),
                ("88.11", "Basic Text SR"),
                ("88.59", "Key Object Selection Document"),
                ("11.1", "Grayscale Softcopy Presentation State"),
                ("104.1", "Encapsulated PDF"),
                ("9.1.1", "12-lead ECG Waveform"),
            )
        ],
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
