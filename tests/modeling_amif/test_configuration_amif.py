import re
from pathlib import Path

import pytest
from small_models import small_config

from amif import modeling_amif


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
