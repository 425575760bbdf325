"""The Space's program, with the variables that a Space sets."""

import os
import re
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest
from small_models import save_small_checkpoint

SPACE = Path(__file__).parents[3] / "examples" / "space"


@pytest.mark.slow
def test_it_answers_under_the_spaces_name_alone(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    checkpoint = save_small_checkpoint(tmp_path / "my-vqa")
    variables = {"AMIF_MODEL": str(checkpoint), "SPACE_HOST": "user-name.hf.space", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(SPACE / "app.py"), "--port", str(port)]
    space = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | variables, cwd=tmp_path)
    try:
        assert any("AMiF answers at" in line for line in space.stdout)
        assert status(port, "user-name.hf.space") == 200
        assert status(port, "other.hf.space") == 403
    finally:
        space.terminate()
        space.wait(timeout=60)


def status(port: int, host: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/gradio_api/info", headers={"Host": host})
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_card_names_the_program_and_the_requirements_the_package():
    card = (SPACE / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^app_file: app\.py$", card, flags=re.MULTILINE)
    assert (SPACE / "requirements.txt").read_text(encoding="utf-8").startswith("amif[demo,dicom,nifti]")
