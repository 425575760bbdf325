"""Time of ranking by ONNX Runtime, as docs/export.md does it, and by PyTorch, on one thread.

Weights are random, which changes no amount of work but the search's: it leaves out more where a model is sure.
"""

import numpy as np
import pytest
import torch
from small_models import padded
from transformers import BertConfig, ViTConfig

from amif import AmifConfig, AmifForVisualQuestionAnswering
from amif.training.checkpoints.exported_parts import export_parts

onnxruntime = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.slow

WIDTH = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4}
SMALL = {
    "vision_config": ViTConfig(image_size=96, num_hidden_layers=4, **WIDTH),
    "text_config": BertConfig(vocab_size=2_000, num_hidden_layers=1, **WIDTH),
    "decoder_config": BertConfig(vocab_size=2_000, num_hidden_layers=2, **WIDTH),
    "num_co_attention_layers": 2,
    "num_attention_heads": 4,
}
QUESTIONS, CANDIDATES, KNOWLEDGE_TOKENS = 4, 64, 500


@pytest.fixture(scope="module", params=[SMALL, {}], ids=["small", "paper"])
def case(request, tmp_path_factory):
    """A model, its exported parts, and what both are asked."""
    torch.manual_seed(0)
    model = AmifForVisualQuestionAnswering(AmifConfig(**request.param)).eval()
    model.set_knowledge(torch.randint(200, 2_000, (KNOWLEDGE_TOKENS,)))
    folder = tmp_path_factory.mktemp("exported")
    export_parts(model, folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    names = ("image_encoder", "joint_encoder", "decoder_step")
    sessions = [onnxruntime.InferenceSession(folder / f"{name}.onnx", options) for name in names]
    size = model.config.vision_config.image_size
    ids = torch.randint(200, 2_000, (QUESTIONS, 12))
    inputs = {"pixel_values": torch.randn(QUESTIONS, 3, size, size), "input_ids": ids}
    inputs |= {"attention_mask": torch.ones_like(ids), "image_index": torch.arange(QUESTIONS)}
    return model, sessions, inputs, padded(torch.randint(200, 2_000, (CANDIDATES, 4)).tolist())


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_onnx_runtime(benchmark, case):
    _, (image_encoder, joint_encoder, decoder_step), inputs, answers = case
    texts = {name: value.numpy() for name, value in inputs.items()}
    pixel_values, ids = texts.pop("pixel_values"), answers["input_ids"].numpy()
    layers, _, heads, _, width = decoder_step.get_inputs()[-1].shape
    nothing = np.zeros((layers, CANDIDATES, heads, 0, width), dtype=np.float32)

    def rank():
        (states,) = image_encoder.run(None, {"pixel_values": pixel_values})
        joint = joint_encoder.run(None, {"image_states": states} | texts)
        fixed = dict(zip(("joint_mask", "joint_keys", "joint_values"), joint, strict=True))
        fixed |= {"answer_ids": ids, "past_keys": nothing, "past_values": nothing}
        for question in range(QUESTIONS):
            (logits,) = decoder_step.run(["logits"], fixed | {"question_index": np.full(CANDIDATES, question)})
            yield torch.from_numpy(logits[:, :-1]).log_softmax(-1).gather(2, answers["input_ids"][:, 1:, None]).sum()

    assert torch.stack(benchmark.pedantic(lambda: list(rank()), rounds=3, warmup_rounds=1)).isfinite().all()


@pytest.mark.parametrize("method", ["exhaustive", "search"])
def test_pytorch(benchmark, case, method):
    model, _, inputs, answers = case
    ranking = benchmark.pedantic(
        lambda: model.rank_answers(**inputs, answers=answers, method=method), rounds=3, warmup_rounds=1
    )
    assert ranking.scores.isfinite().all()
