"""The server of docs/serving.md, as the page has it."""

import base64
import io
import re
from pathlib import Path
from types import ModuleType

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from small_models import save_small_checkpoint
from transformers import pipeline

import amif  # noqa: F401

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


@pytest.fixture
def client(tmp_path, monkeypatch):
    save_small_checkpoint(tmp_path / "amif-vqa")
    monkeypatch.chdir(tmp_path)
    source = re.findall(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    assert len(source.splitlines()) <= 40
    module = ModuleType("serve")
    exec(compile(source, "serve.py", "exec"), module.__dict__)
    with TestClient(module.app) as client:
        yield client


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_one_request_answers_as_the_pipeline_does_one_by_one(client):
    images = [Image.new("RGB", (32, 32), color) for color in ("navy", "white")]
    questions = [(images[0], "is there a mass?"), (images[1], "is there a mass?"), (images[0], "what organ is shown?")]
    rows = [{"image": encoded(image), "question": question} for image, question in questions]
    answered = client.post("/answers", params={"top_k": 2}, json=rows)
    assert answered.status_code == 200
    alone = pipeline("medical-vqa", model="amif-vqa")
    for got, (image, question) in zip(answered.json(), questions, strict=True):
        expected = alone(image=image, question=question, top_k=2)
        assert [row["answer"] for row in got] == [row["answer"] for row in expected]
        assert [row["score"] for row in got] == pytest.approx([row["score"] for row in expected], abs=1e-4)


@pytest.mark.parametrize("image", ["no base64 at all", base64.b64encode(b"no image").decode()])
def test_what_is_no_image_is_refused(client, image):
    answered = client.post("/answers", json=[{"image": image, "question": "is there a mass?"}])
    assert answered.status_code == 422
    assert "base64 of a PNG or JPEG file" in answered.json()["detail"]
