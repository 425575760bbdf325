import subprocess
import sys

import pytest

import amif


def test_import_registers_and_stays_light():
    """In a fresh process, and without the training libraries that the Auto classes do not need."""
    code = (
        "import sys, amif; from transformers import AutoConfig, AutoModel, AutoProcessor;"
        "print(type(AutoConfig.for_model('amif')).__name__,"
        "[n for n in ('datasets', 'evaluate', 'open_clip', 'ot') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split(maxsplit=1) == ["AmifConfig", "[]\n"]


def test_public_names():
    for name in amif.__all__:
        assert getattr(amif, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = amif.Nothing
