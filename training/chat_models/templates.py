"""Templates of what a chat model is asked, checked where the command line is read."""

from string import Formatter

DEFAULT_PROMPT = "{question}\nAnswer with one word or a short phrase."
DEFAULT_CHOICES_PROMPT = "{question}\n{choices}\nAnswer with the letter of the right option."


def check_prompt(prompt: str, with_choices: bool) -> None:
    """Make sure that a template holds the question, and the options where there are such.

    Raises:
        ValueError: If a field is missing, or another one is named.
    """
    wanted = {"question", "choices"} if with_choices else {"question"}
    try:
        fields = {name for _, name, _, _ in Formatter().parse(prompt) if name is not None}
    except ValueError as error:
        raise ValueError(f"--prompt {prompt!r} is no template ({error}): write {{{{ for a brace.") from None
    if fields != wanted:
        named = " and ".join(f"{{{name}}}" for name in sorted(wanted, reverse=True))
        raise ValueError(f"--prompt {prompt!r} must hold {named}, and no other field: write {{{{ for a brace.")
