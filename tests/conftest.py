import os
from pathlib import Path

# Set before anything imports huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

SHARED = Path(__file__).parents[1] / ".." / "shared"


def _folder_or_skip(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set {variable} to the folder")
    return folder


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Folder of the real pretrained encoders."""
    return _folder_or_skip("AMIF_MODELS", SHARED / "models")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets."""
    return _folder_or_skip("AMIF_DATA", SHARED / "data")
