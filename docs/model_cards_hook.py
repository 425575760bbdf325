"""Brings the model cards, which stand beside docs/, into the site; a link to code becomes plain text."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
CARDS = ("amif-slake.md", "amif-vqa-med-2019.md", "amif-vqa-rad-refit.md")
TABLE_CODE = re.compile(r"(?<=[ |(])`[^`\n]*\\\|[^`\n]*`")
CODE_LINK = re.compile(r"\[([^]]*)\]\(\.\./(?:[\w-]+/)*[\w-]+\.(?:py|ya?ml|jsonl?|ipynb)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds each card, and its image, as model_cards/NAME."""
    for name in CARDS:
        text = (ROOT / "model_cards" / name).read_text(encoding="utf-8")
        files.append(File.generated(config, f"model_cards/{name}", content=text.replace("](../docs/", "](../")))
    for image in (ROOT / "model_cards").glob("*.png"):
        files.append(File.generated(config, f"model_cards/{image.name}", content=image.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links to cards at the site's, and leaves of a link to code, which the site has not, its words.

    A bar in the code of a table is escaped for GitHub; the site would show the escape.
    """
    markdown = TABLE_CODE.sub(lambda code: code[0].replace("\\|", "|"), markdown)
    if page.file.src_uri.startswith("model_cards/"):
        return CODE_LINK.sub(r"\1", markdown)
    return CODE_LINK.sub(r"\1", markdown.replace("](../model_cards/", "](model_cards/"))
