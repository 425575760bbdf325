import re

import pytest

from amif.training.chat_models.templates import check_prompt


@pytest.mark.parametrize(
    ("prompt", "with_choices", "wrong"),
    [
        ("{question} {{x}}", False, None),
        ("{question}: {choices}", True, None),
        ("what?", False, "must hold {question}, and no other field"),
        ("{question} {answer}", False, "must hold {question}, and no other field"),
        ("{question}", True, "must hold {question} and {choices}"),
        ("{question} {", False, "is no template"),
    ],
)
def test_a_template_holds_its_fields(prompt, with_choices, wrong):
    if wrong is None:
        check_prompt(prompt, with_choices)
        return
    with pytest.raises(ValueError, match=re.escape(wrong)):
        check_prompt(prompt, with_choices)
