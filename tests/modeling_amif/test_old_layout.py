"""Checkpoints whose code stands in another layout of files, as before `vqa_amif.py` was one.

`old_layout.zip` was saved by commit 9bb6e4d: small models with random weights, one for answering with its knowledge,
processor and answers, and one for pre-training. `old_layout.json` holds what they said then.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from remote_loading import run_without_amif
from transformers import AutoModel, AutoModelForVisualQuestionAnswering, pipeline

from amif import AmifForPreTraining, AmifForVisualQuestionAnswering

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "old_layout.json").read_text(encoding="utf-8"))

REMOTE = """
import json, torch
from transformers import AutoModel, AutoProcessor, pipeline
folder, questions = sys.argv[1], json.loads(sys.argv[2])
images = [f"{folder}/{seed}.png" for seed in range(len(questions))]
answer = pipeline("medical-vqa", model=folder + "/vqa", trust_remote_code=True)
model = AutoModel.from_pretrained(folder + "/pretraining", trust_remote_code=True).eval()
for part in (answer.model, answer.processor, model):
    assert type(part).__module__.startswith("transformers_modules"), type(part)
inputs = answer.processor(images=images, text=questions)
del inputs["image_index"]
with torch.no_grad():
    output = model(**inputs)
similarities = output.image_embeds[0] @ output.text_embeds.T
print(json.dumps([answer(images, questions, top_k=5), similarities.tolist()]))
"""


def save_images(folder):
    """The images of the recorded answers; of the image processor's own size, so that no resizing plays a part."""
    paths = [folder / f"{seed}.png" for seed in range(len(EXPECTED["questions"]))]
    for seed, path in enumerate(paths):
        values = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)
    return paths


@pytest.fixture
def folder(tmp_path):
    with zipfile.ZipFile(HERE / "old_layout.zip") as checkpoints:
        checkpoints.extractall(tmp_path / "old")
    return tmp_path / "old"


def check(answers, similarities):
    assert [[answer["answer"] for answer in of_one] for of_one in answers] == EXPECTED["answers"]
    scores = [[answer["score"] for answer in of_one] for of_one in answers]
    np.testing.assert_allclose(scores, EXPECTED["scores"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(similarities, EXPECTED["similarities"], rtol=0, atol=1e-5)


def check_where_amif_is_installed(folder):
    answer = pipeline("medical-vqa", model=str(folder / "vqa"))
    model = AutoModel.from_pretrained(folder / "pretraining").eval()
    assert (type(answer.model), type(model)) == (AmifForVisualQuestionAnswering, AmifForPreTraining)
    images = save_images(folder)
    inputs = answer.processor(images=images, text=EXPECTED["questions"])
    generated = answer.model.generate(**inputs, max_new_tokens=4)
    assert answer.processor.batch_decode(generated) == EXPECTED["generated"]
    del inputs["image_index"]
    with torch.no_grad():
        output = model(**inputs)
    check(answer(images, EXPECTED["questions"], top_k=5), (output.image_embeds[0] @ output.text_embeds.T).tolist())


def check_where_it_is_not(folder):
    save_images(folder)
    said = run_without_amif(REMOTE, folder, json.dumps(EXPECTED["questions"]))
    check(*json.loads(said.splitlines()[-1]))


def test_they_load_and_answer_where_amif_is_installed(folder):
    config = json.loads((folder / "vqa" / "config.json").read_text())
    assert config["auto_map"]["AutoModel"] == "modeling_amif.AmifForVisualQuestionAnswering", "it is the old layout"
    check_where_amif_is_installed(folder)
    for auto in (AutoModel, AutoModelForVisualQuestionAnswering):
        assert type(auto.from_pretrained(folder / "vqa")) is AmifForVisualQuestionAnswering


def test_they_load_and_answer_where_amif_is_not_installed(folder):
    check_where_it_is_not(folder)


def test_saved_anew_they_have_the_layout_of_today(folder, tmp_path):
    anew = tmp_path / "anew"
    pipeline("medical-vqa", model=str(folder / "vqa")).save_pretrained(anew / "vqa")
    AutoModel.from_pretrained(folder / "pretraining").save_pretrained(anew / "pretraining")
    config = json.loads((anew / "vqa" / "config.json").read_text())
    assert {path.split(".")[0] for path in config["auto_map"].values()} == {"configuration_amif", "vqa_amif"}
    assert not (anew / "vqa" / "outputs_amif.py").exists()
    check_where_amif_is_installed(anew)
    check_where_it_is_not(anew)
