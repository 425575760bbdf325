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
