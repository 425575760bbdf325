"""What docs/export.md says is done as it says it: its own code answers with what `examples/export.py` writes."""

import re
import runpy
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from small_models import small_config, small_inputs
from small_models import small_model as small_checkpoint
from transformers import ViTConfig

from amif import AmifForPreTraining
from amif.training.checkpoints.exported_parts import ImageEncoder, JointEncoder, export_parts
from amif.training.data import load_vqa_dataset
from amif.training.processors import small_processor
from amif.training.small_model import small_model

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]


def export(monkeypatch, **arguments):
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["export.py", *words])
    runpy.run_path(str(ROOT / "examples" / "export.py"), run_name="__main__")


@pytest.fixture(scope="module")
def rows():
    split = load_vqa_dataset("phantom", num_studies=12)["test"]
    assert isinstance(split, Dataset)
    return split


@pytest.fixture(scope="module")
def exported(rows, tmp_path_factory):
    """A folder with a checkpoint of a small model, what was exported of it, and the names that the page defines."""
    folder = tmp_path_factory.mktemp("export")
    processor = small_processor([*rows["question"], *rows["answer"]], image_size=32)
    processor.answers = sorted(set(rows["answer"]))
    torch.manual_seed(0)
    vision = ViTConfig(image_size=32, num_hidden_layers=1, hidden_size=32, intermediate_size=64, num_attention_heads=4)
    model = small_model(processor, 32, hidden_size=32, vision_config=vision, num_co_attention_layers=1).eval()
    answers = processor.encode_answers()
    model.set_knowledge(answers["input_ids"][answers["attention_mask"].bool()])
    model.save_pretrained(folder / "amif-vqa")
    processor.save_pretrained(folder / "amif-vqa")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        export(monkeypatch, model="amif-vqa", output_dir="exported")
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
        names = {}
        for block in blocks:
            if "chest.png" not in block:
                exec(block, names)
    return model, processor, names


def test_ranking_by_onnx_runtime_is_pytorch_s(exported, rows):
    model, processor, page = exported
    images, questions = rows["image"][:8], rows["question"][:8]
    joint = page["read"](images, questions)
    candidates = processor.encode_candidates(processor.answers)
    ranking = model.rank_answers(**processor(images=images, text=questions), answers=candidates, top_k=len(candidates))
    for question in range(8):
        scores = page["rank"](joint, question, processor.answers)
        assert scores[ranking.indices[question]] == pytest.approx(ranking.scores[question], abs=1e-4)


def test_generating_by_onnx_runtime_is_pytorch_s(exported, rows):
    model, processor, page = exported
    images, questions = rows["image"][:4], rows["question"][:4]
    joint = page["read"](images, questions)
    tokens = model.generate(**processor(images=images, text=questions), max_new_tokens=5)
    expected = processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    assert [page["generate"](joint, question, 5) for question in range(4)] == expected


def test_a_program_of_torch_export_takes_any_number_of_images(exported):
    model, _, page = exported
    for images in (1, 3):
        pixel_values = torch.randn(images, 3, 32, 32)
        (found,) = page["image_encoder"](pixel_values=pixel_values)
        torch.testing.assert_close(found, model.model.encode_images(pixel_values))


def test_a_program_reads_the_hidden_states_that_its_model_reads():
    model = small_checkpoint(vision_feature_layer=[0, -1])
    dynamic = ({0: torch.export.Dim("images")},)
    program = torch.export.export(ImageEncoder(model), (torch.randn(2, 3, 32, 32),), dynamic_shapes=dynamic).module()
    pixel_values = torch.randn(3, 3, 32, 32)
    (found,) = program(pixel_values)
    torch.testing.assert_close(found, model.model.encode_images(pixel_values))


def test_a_program_carries_the_weights_that_it_reads(exported):
    model, _, page = exported
    carried = sum(weight.numel() for weight in page["image_encoder"].parameters())
    assert carried == model.model.vision_model.num_parameters()


def test_what_cannot_answer_is_refused(monkeypatch, tmp_path, capsys):
    AmifForPreTraining(small_config()).save_pretrained(tmp_path)
    with pytest.raises(SystemExit):
        export(monkeypatch, model=tmp_path, output_dir=tmp_path / "exported")
    assert "cannot answer: fine-tune it first" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_of_several_images_takes_any_number_of_them(tmp_path):
    """`image_index` is then a matrix, -1 behind the last image of a question."""
    model = small_checkpoint(view_embedding=True)
    export_parts(model, tmp_path)
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "joint_encoder.onnx")
    inputs = small_inputs(4, images=3)
    with torch.no_grad():
        inputs["image_states"] = model.model.encode_images(inputs.pop("pixel_values"))
        for views in ([[2, 0, 1], [1, 2, -1], [0, -1, -1], [1, 1, -1]], [[0], [1], [2], [0]]):
            inputs["image_index"] = torch.tensor(views)
            found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
            for values, expected in zip(found, JointEncoder(model)(**inputs), strict=True):
                torch.testing.assert_close(torch.from_numpy(values), expected, rtol=1e-4, atol=1e-5)
