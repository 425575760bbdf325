import re
from pathlib import Path

import pytest
import torch
from small_models import small_config, small_inputs

from amif import AmifConfig, AmifForVisualQuestionAnswering, modeling_amif
from amif.modeling_amif.configuration_amif import heads_for


def test_a_configuration_imports_no_network():
    paths = sorted(Path(modeling_amif.__path__[0]).glob("configuration_*.py"))
    assert len(paths) == 3
    for path in paths:
        code = path.read_text(encoding="utf-8")
        assert not re.search(r"^(import|from) torch", code, flags=re.MULTILINE)
        assert all(name.startswith("configuration_") for name in re.findall(r"^from \.(\w+)", code, flags=re.MULTILINE))


def test_unknown_fusion_and_heads_are_refused():
    with pytest.raises(ValueError, match="knowledge_fusion='sum'"):
        small_config(knowledge_fusion="sum")
    with pytest.raises(ValueError, match="does not divide"):
        small_config(num_attention_heads=5)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (3, r"vision_feature_layer=3: .* of 2 blocks has 0 to 2; -1 is the last one"),
        ([-1, -4], r"vision_feature_layer=\[-1, -4\]: give places"),
        (["last"], r"vision_feature_layer=\['last'\]: give places"),
        (True, "vision_feature_layer=True: give places"),
        ([], r"vision_feature_layer=\[\] leaves out the last state"),
        ([0, 1], r"vision_feature_layer=\[0, 1\] leaves out the last state: add -1, or keep only the first blocks"),
    ],
)
def test_hidden_states_that_the_image_encoder_has_not_are_refused(layers, said):
    with pytest.raises(ValueError, match=said):
        small_config(vision_feature_layer=layers)


@pytest.mark.parametrize(("layers", "width"), [(None, 32), (-1, 32), ((0, 2), 64)])
def test_the_width_of_image_states_is_that_of_all_hidden_states_read(tmp_path, layers, width):
    model = AmifForVisualQuestionAnswering(small_config(vision_feature_layer=layers)).eval()
    assert model.config.image_states_size == width
    model.save_pretrained(tmp_path)
    again = AmifForVisualQuestionAnswering.from_pretrained(tmp_path)
    assert again.config.vision_feature_layer == {None: None, -1: [-1], (0, 2): [0, 2]}[layers]
    logits = [one(**small_inputs(), labels=torch.tensor([[101, 5, 102]] * 4)).logits for one in (model, again)]
    torch.testing.assert_close(*logits)


@pytest.mark.parametrize(
    ("width", "heads"), [(32, 1), (256, 4), (384, 6), (512, 8), (768, 12), (1_024, 16), (312, 6), (80, 2)]
)
def test_heads_divide_every_width_and_have_64_values_where_that_works(width, heads):
    config = small_config(hidden_size=width, num_attention_heads=None, num_co_attention_layers=1)
    model = AmifForVisualQuestionAnswering(config).eval()
    model.set_knowledge(torch.arange(3, 10))
    output = model(**small_inputs(), labels=torch.tensor([[101, 5, 102]] * 4), output_attentions=True)
    assert output.knowledge_attentions.shape[1] == heads
    assert {weights.shape[1] for weights in output.text_attentions} == {heads}
    assert torch.isfinite(output.loss)


def test_no_divisor_up_to_64_is_more_than_the_heads_own():
    for width in range(1, 1_300):
        size = width // heads_for(width)
        assert size * heads_for(width) == width
        assert not [other for other in range(size + 1, 65) if width % other == 0]


def test_heads_are_the_papers_at_its_size_and_those_that_are_given():
    assert AmifConfig().num_attention_heads == 12
    assert small_config(hidden_size=384, num_attention_heads=12).num_attention_heads == 12
