import torch
from small_models import small_config, small_inputs, small_model

from amif import AmifForPreTraining
from amif.training.reports.architecture_figure import architecture_figure, read_blocks


def drawn_texts(figure):
    return "\n".join(text.get_text() for text in figure.axes[0].texts)


def test_every_parameter_is_in_one_block_and_the_figure_says_so():
    model = small_model(knowledge=7).eval()
    blocks = read_blocks(model, small_inputs())
    assert [block.name for block in blocks] == [
        "model.vision_model",
        "model.text_model",
        "model.image_projection",
        "model.text_projection",
        "model.co_attention",
        "knowledge_fusion",
        *(["decoder_projection"] if isinstance(model.decoder_projection, torch.nn.Linear) else []),
        "decoder",
    ]
    assert sum(block.parameters for block in blocks) == sum(p.numel() for p in model.parameters())
    co_attention = next(block for block in blocks if block.name == "model.co_attention")
    layers = model.config.num_co_attention_layers
    assert co_attention.stacks == {"text_layers": layers, "image_layers": layers}
    text, image = co_attention.shapes
    assert text[1] == small_inputs()["input_ids"].shape[1]
    assert text[-1] == image[-1] == model.config.hidden_size
    texts = drawn_texts(architecture_figure(model, blocks))
    assert "knowledge vocabulary" in texts
    assert "not drawn" not in texts


def test_what_a_model_lacks_is_not_drawn_and_the_rest_closes_up():
    model = small_model(knowledge_fusion="none", knowledge=0).eval()
    blocks = read_blocks(model, small_inputs())
    assert "knowledge_fusion" not in {block.name for block in blocks}
    figure = architecture_figure(model, blocks)
    assert "knowledge" not in drawn_texts(figure)
    assert sum(text.arrow_patch is not None for text in figure.axes[0].texts if hasattr(text, "arrow_patch")) == (
        len(blocks) + 1
    ), "an arrow into each block, two into the co-attention"


def test_what_is_outside_of_all_blocks_is_said():
    """The temperatures of pre-training are in no block."""
    torch.manual_seed(0)
    model = AmifForPreTraining(small_config()).eval()
    inputs = {name: value for name, value in small_inputs().items() if name in ("input_ids", "attention_mask")}
    pixels = torch.rand(len(inputs["input_ids"]), 3, 32, 32)
    negatives = -torch.ones(len(pixels), 3, dtype=torch.long)
    blocks = read_blocks(model, {**inputs, "pixel_values": pixels, "hard_negatives": negatives})
    head = blocks[-1]
    assert (head.name, head.shapes) == ("matching_head", [(2 * len(pixels), 2)])
    assert "not drawn: 3 further parameters" in drawn_texts(architecture_figure(model, blocks))
