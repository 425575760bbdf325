"""DICOM files of small images, each with a patient's identifiers, which nothing may repeat."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

IDENTIFIERS = {
    "PatientName": "Doe^Jane",
    "PatientID": "MRN4711",
    "PatientBirthDate": "19610203",
    "AccessionNumber": "ACC0815",
    "InstitutionName": "Somewhere Hospital",
    "ReferringPhysicianName": "Dr^Who",
    "StudyDescription": "Follow-up of J. Doe",
}


def write_dicom(path: Path, values: np.ndarray, **elements: Any) -> Path:
    """Write whole numbers as pixels, uint8 or uint16, (H, W) or (frames, H, W); of `elements` None is left out."""
    frames = values.shape[0] if values.ndim == 3 else None
    bits = 8 * values.dtype.itemsize
    described = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "Modality": "OT",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": values.shape[-2],
        "Columns": values.shape[-1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "NumberOfFrames": frames,
    }
    data = Dataset()
    for name, value in (IDENTIFIERS | described | elements).items():
        if value is not None:
            setattr(data, name, value)
    data.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    content = np.ascontiguousarray(values).tobytes()
    data.add_new("PixelData", "OB" if bits == 8 else "OW", content + bytes(len(content) % 2))
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    return path


def ct(**elements: Any) -> dict[str, Any]:
    """The elements of a CT whose stored values are Hounsfield units plus 1024."""
    return {"SOPClassUID": CTImageStorage, "Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024} | elements


def dicom_and_pixels(folder: Path) -> dict[str, np.ndarray]:
    """Write three kinds of files, one without a suffix, and return by name the pixels that a viewer shows, uint8."""
    values = np.random.default_rng(0).integers(0, 256, (3, 40, 40))
    write_dicom(folder / "mono1.dcm", values[0].astype(np.uint8), PhotometricInterpretation="MONOCHROME1")
    # By PS3.3 C.11.2.1.2.1 this window opens 0 to 255 as they are.
    write_dicom(folder / "IM000001", 2 * values[0].astype(np.uint16), WindowCenter=128, WindowWidth=256)
    write_dicom(folder / "cine.DCM", values.astype(np.uint8))
    shown = {"mono1.dcm": 255 - values[0], "IM000001": np.minimum(2 * values[0], 255), "cine.DCM": values[1]}
    return {name: pixels.astype(np.uint8) for name, pixels in shown.items()}


def named_patients(*texts: str) -> list[str]:
    """Which identifiers occur in the texts."""
    return [value for value in IDENTIFIERS.values() if any(value in text for text in texts)]
