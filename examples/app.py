"""Ask questions about images in the browser, on this machine alone.

    python examples/app.py --model amif-vqa

opens http://127.0.0.1:7860. Nothing is fetched from the internet or sent there. Uploaded files are deleted after some
minutes; DICOM files give their pixels and nothing else. Requests under another name than this machine's are refused,
unless it is given:

    python examples/app.py --model amif-vqa --allowed_host demo.example.org
"""

import argparse
import html
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import torch
from PIL import Image

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr
from gradio.components import Component
from gradio.themes import Base
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from amif import AmifForVisualQuestionAnswering
from amif.processing_amif import read_dicom, to_rgb
from amif.processing_amif.dicom_amif import DICOM_SUFFIXES, is_dicom
from amif.processing_amif.nifti_amif import NIFTI_SUFFIXES
from amif.processing_amif.windows_amif import WINDOW_PRESETS
from amif.training.checkpoints.model_files import is_pretrained_only, load_checkpoint
from amif.training.checkpoints.provenance import datasets_of
from amif.training.command_line import only_process, plain_errors
from amif.training.data.phantom.datasets import load_phantom_vqa
from amif.training.reports.answer_html import Answered, Checkpoint, answer_panel, map_note, viewer
from amif.training.reports.word_maps import maps_of_words, words_read

STYLE = Path(__file__).with_name("app.css")
OWN_WINDOW = "as the file says"
WHOLE_QUESTION = "whole question"
SHOWN_ANSWERS = 5
THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
# Seconds that an upload may wait to be read, and between two looks for old ones.
UPLOADS_KEPT, UPLOADS_SWEPT = 300, 30
# Questions of phantom's test split among which examples are looked for, and what stands below one.
EXAMPLES_TRIED = 64
MOST_EXAMPLES = 4
LOOKED_THERE, RIGHT, WRONG = "right, map on it", "right", "wrong"
ABOUT_THE_FINDING = ("abnormality", "presence", "position", "size")
Changes = dict[Component, Any]
# What changes there a screen reader reads, as soon as it is silent.
READ_OUT = "element.setAttribute('aria-live', 'polite');"
# gradio names examples "Thumbnail 1 of 4", and the choice of words not at all.
NAME_PARTS = """() => {
    document.getElementById('map').setAttribute('aria-label', 'Map of');
    document.querySelectorAll('#examples button').forEach(
        (button, place) => button.setAttribute('aria-label', `Example ${place + 1}: ${button.innerText}`));
}"""
SET_OPACITY = "(value) => { document.documentElement.style.setProperty('--map-opacity', value / 100); }"


class Answerer:
    """A checkpoint that answers one question at a time, and says where it looked."""

    def __init__(self, name_or_path: str) -> None:
        if is_pretrained_only(name_or_path):
            raise ValueError(f"{name_or_path} is a pre-training checkpoint and cannot answer: fine-tune it first.")
        self.model, self.processor = load_checkpoint(
            name_or_path, AmifForVisualQuestionAnswering, attn_implementation="eager"
        )
        if not self.processor.answers:
            raise ValueError(
                f"{name_or_path} brings no answers to choose from: give a folder or checkpoint that run_vqa.py "
                "wrote, or one whose processor was saved with answers."
            )
        self.answers = self.processor.answers
        self.candidates = self.processor.encode_candidates()
        self.checkpoint = Checkpoint(
            name=Path(name_or_path).name,
            learned_from=datasets_of(self.model.config),
            number_of_answers=len(self.answers),
            abstention_threshold=self.processor.abstention_threshold,
        )

    @torch.no_grad()
    def __call__(self, image: Image.Image, question: str) -> Answered:
        """Answer a question about an image."""
        started = time.perf_counter()
        inputs = dict(self.processor(images=image, text=question))
        inputs["image_states"] = self.model.model.encode_images(inputs.pop("pixel_values"))
        ranking = self.model.rank_answers(**inputs, answers=self.candidates, top_k=SHOWN_ANSWERS)
        maps = maps_of_words(self.model, inputs, words_read(self.processor, question))
        answers = [self.answers[index] for index in ranking.indices[0].tolist()]
        return Answered(
            ranking=list(zip(answers, ranking.scores[0].tolist(), strict=True)),
            names=[WHOLE_QUESTION, *maps.words],
            maps=[maps.text_attention, *maps.transport],
            seconds=time.perf_counter() - started,
        )


def read_images(path: str) -> dict[str, Image.Image]:
    """An uploaded file's image, and of a CT one for each window preset.

    The file stays as it is: gradio names uploads by their content, so others may be about to read the same one.

    Raises:
        ImportError: If the file is DICOM or NIfTI, and pydicom or nibabel is missing.
        ValueError: If it cannot be read.
    """
    # A copy, because no name of a file, which may be a patient's, reaches a message or a log.
    suffix = next((suffix for suffix in (*DICOM_SUFFIXES, *NIFTI_SUFFIXES) if path.lower().endswith(suffix)), "")
    with TemporaryDirectory(dir=os.environ.get("GRADIO_TEMP_DIR")) as folder:
        neutral = Path(folder) / f"image{suffix}"
        try:
            shutil.copyfile(path, neutral)
            images = {OWN_WINDOW: to_rgb(neutral)}
            if is_dicom(neutral):
                with suppress(ValueError):  # presets are for CT alone
                    images |= {name: read_dicom(neutral, window=name).convert("RGB") for name in WINDOW_PRESETS}
        except FileNotFoundError:
            raise ValueError(f"the file was deleted after {UPLOADS_KEPT} seconds: drop it again.") from None
        except (OSError, TypeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)  # an OSError's own words name the upload
            for words, ours in (
                (f"the image {neutral}", "the file"),
                (str(neutral), "the file"),
                (", or drop the row", ""),
            ):
                reason = reason.replace(words, ours)
            raise ValueError(reason) from None
    return images


@dataclass(frozen=True)
class Example:
    """A generated image, a question about it, and how the model answers it."""

    image: Image.Image
    question: str
    verdict: str


def phantom_examples(answerer: Answerer) -> list[Example]:
    """Generated images, each of another study: the first question of each verdict, and a second that is right."""
    questions = load_phantom_vqa(num_studies=180)["test"]
    wanted, examples = [LOOKED_THERE, RIGHT, WRONG, RIGHT], dict[str, Example]()
    for place in range(EXAMPLES_TRIED):
        row = questions[place]
        if not wanted or row["image_id"] in examples:
            continue
        verdict = verdict_on(answerer(row["image"], row["question"]), row)
        if verdict in wanted:
            wanted.remove(verdict)
            examples[row["image_id"]] = Example(row["image"], row["question"], verdict)
    return list(examples.values())


def verdict_on(answered: Answered, row: Mapping[str, Any]) -> str:
    """Whether phantom's answer was given, and the map of a question on the finding is heaviest where its middle is."""
    if answered.ranking[0][0] != row["answer"]:
        return WRONG
    if row["box"] is None or row["question_type"] not in ABOUT_THE_FINDING:
        return RIGHT
    (x0, y0, x1, y1), (width, height), weights = row["box"], row["image"].size, answered.maps[0]
    rows, columns = weights.shape
    middle = int((y0 + y1) / 2 / height * rows), int((x0 + x1) / 2 / width * columns)
    return LOOKED_THERE if divmod(int(weights.argmax()), columns) == middle else RIGHT


class Page:
    """The page's parts, made inside `gr.Blocks`, and what happens on it: handlers return the parts that change."""

    def __init__(self, answerer: Answerer, examples: list[Example]) -> None:
        self.answerer, self.examples = answerer, examples
        self.images, self.image, self.answered = gr.State({}), gr.State(None), gr.State(None)
        gr.HTML(
            "<header><h1>AMiF</h1><p>Questions about radiology images. For research only: not a medical device, "
            "no answer may enter a diagnosis.</p></header>"
        )
        with gr.Row():
            with gr.Column(scale=3):
                self.screen = gr.HTML(viewer(None))
                with gr.Row():
                    self.map = gr.Radio([(WHOLE_QUESTION, 0)], value=0, label="Map of", scale=3, elem_id="map")
                    self.opacity = gr.Slider(0, 100, 50, step=1, label="Opacity, %", scale=2, elem_id="opacity")
                self.note = gr.HTML()
            with gr.Column(scale=2):
                self.file = gr.File(label="Image: PNG, JPEG, TIFF, DICOM, NIfTI", height=104, elem_id="file")
                gr.HTML('<p class="hint">Or an example (generated), and how the model answers it:</p>')
                self.gallery = gr.Gallery(
                    [(example.image, example.verdict) for example in examples],
                    label="Examples",
                    show_label=False,
                    columns=MOST_EXAMPLES,  # of fewer, wider ones the height would cut the captions off
                    height=104,
                    allow_preview=False,
                    buttons=[],
                    elem_id="examples",
                )
                self.window = gr.Dropdown([OWN_WINDOW], value=OWN_WINDOW, label="CT window", visible=False)
                with gr.Row(equal_height=True):
                    self.question = gr.Textbox(
                        label="Question", placeholder="is there a mass?", max_lines=2, scale=4, elem_id="question"
                    )
                    self.button = gr.Button("Ask", variant="primary", scale=1, min_width=80, elem_id="ask")
                self.panel = gr.HTML(elem_id="panel", js_on_load=READ_OUT)

    def listen(self) -> None:
        """Call the handlers when something happens."""
        shown = [self.image, self.screen, self.answered, self.panel, self.note, self.map]
        self.file.upload(
            self.on_upload,
            self.file,
            [*shown, self.images, self.window, self.file, self.question],
            api_visibility="private",
        )
        self.window.input(self.on_window, [self.window, self.images], shown, api_visibility="private")
        asking = [self.button.click, self.question.submit]
        # One question at a time for the whole model, whoever asks: tokenizers bear no second thread.
        gr.on(
            asking,
            self.on_ask,
            [self.image, self.question, self.images],
            shown,
            api_visibility="private",
            concurrency_id="model",
        )
        self.map.input(
            self.on_map, [self.map, self.image, self.answered], [self.screen, self.note], api_visibility="private"
        )
        self.gallery.select(
            self.on_example,
            None,
            [*shown, self.images, self.question, self.window],
            api_visibility="private",
            concurrency_id="model",
        )
        self.opacity.input(None, self.opacity, None, js=SET_OPACITY)

    def show(self, image: Image.Image | None, message: str | None = None) -> Changes:
        """A new image, or a message in its place, about which nothing has been asked."""
        whole_question = gr.Radio(choices=[(WHOLE_QUESTION, 0)], value=0)
        unasked = {self.answered: None, self.panel: "", self.note: "", self.map: whole_question}
        return {self.image: image, self.screen: viewer(image, message=message)} | unasked

    def on_upload(self, path: str) -> Changes:
        """A file's images, the one of its own window first; or why it cannot be read."""
        try:
            images = read_images(path)
        except (ImportError, ValueError) as error:
            nothing = {self.images: {}, self.file: None, self.window: gr.Dropdown(visible=False), self.question: ""}
            return self.show(None, str(error)) | nothing
        windows = gr.Dropdown(choices=list(images), value=OWN_WINDOW, visible=len(images) > 1)
        return self.show(images[OWN_WINDOW]) | {self.images: images, self.window: windows, self.file: None}

    def on_window(self, window: str, images: dict[str, Image.Image]) -> Changes:
        """The same slice with other greys."""
        return self.show(images[window])

    def on_example(self, event: gr.SelectData) -> Changes:
        """An example's image, and the answers to its question."""
        example = self.examples[event.index]
        chosen = {self.images: {}, self.question: example.question, self.window: gr.Dropdown(visible=False)}
        return self.show(example.image) | self.on_ask(example.image, example.question, {}) | chosen

    def on_ask(self, image: Image.Image | None, question: str, uploaded: dict[str, Image.Image]) -> Changes:
        """The answers and the map of the whole question; an image that was not uploaded is an example's."""
        try:
            if image is None or not question.strip():
                raise ValueError("Choose an image first." if image is None else "Type a question first.")
            answered = self.answerer(image, question)
        except ValueError as error:  # the answer to the question before must not stand beside this one
            message = f'<div class="answers"><p role="alert">{html.escape(str(error))}</p></div>'
            return self.show(image) | {self.panel: message}
        return {
            self.answered: answered,
            self.panel: answer_panel(answered, self.answerer.checkpoint, generated=not uploaded),
            self.screen: viewer(image, answered.maps[0]),
            self.map: gr.Radio(choices=[(name, place) for place, name in enumerate(answered.names)], value=0),
            self.note: map_note(None),
        }

    def on_map(self, place: int, image: Image.Image | None, answered: Answered | None) -> Changes:
        """The map of another word."""
        if answered is None:
            return {}
        word = answered.names[place] if place else None
        return {self.screen: viewer(image, answered.maps[place]), self.note: map_note(word)}


def build_app(answerer: Answerer) -> gr.Blocks:
    """The page for a checkpoint."""
    examples = phantom_examples(answerer)
    with gr.Blocks(title="AMiF", analytics_enabled=False) as app:
        Page(answerer, examples).listen()
        app.load(None, js=NAME_PARTS)
    return app


class KnownHosts:
    """Refuses requests under, and from pages of, names that are not this server's.

    Without it any web site could have its visitors' browsers ask this server: from its own page, or under a name of its
    own that it lets point to this machine (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            asked = [f"//{host}" for host in headers.getlist("host")]
            # The address that the request has come to: all of the machine's where it listens on 0.0.0.0.
            known = {*self.names, *(scope.get("server") or ())[:1]}
            if not asked or any(host_of(url) not in known for url in asked + headers.getlist("origin")):
                text = "Refused: the page is open under this machine's own name, and those given by --allowed_host."
                await PlainTextResponse(text, status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def host_of(url: str) -> str | None:
    """The name or address of a URL in small letters; None where there is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def delete_old_uploads(folder: Path, kept: set[Path]) -> None:
    """Delete uploads that were read long since, or never: gradio forgets those that broke off."""
    for path in set(folder.rglob("*")) - kept:
        with suppress(OSError):  # another request may be about to replace it
            if path.is_file() and time.time() - path.stat().st_ctime > UPLOADS_KEPT:
                path.unlink()


def serve(arguments: argparse.Namespace) -> None:
    """Show the page until the process is ended; what gradio has kept on disk goes with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    names = [*THIS_MACHINE, arguments.host.lower(), *arguments.allowed_host]
    with TemporaryDirectory(prefix="amif-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        app = build_app(Answerer(arguments.model))
        _, url, _ = app.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            share=False,
            run_history=False,  # would keep questions and answers in the browser
            ssr_mode=False,
            mcp_server=False,
            show_error=True,
            max_file_size="500mb",
            footer_links=[],
            app_kwargs={"middleware": [Middleware(KnownHosts, names=names)]},
            # Fonts of the system: gradio's own would come from the internet.
            theme=Base(
                primary_hue="amber", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
            ),
            css_paths=STYLE,
            js="() => document.body.classList.add('dark')",
            quiet=True,
            prevent_thread_lock=True,
        )
        examples = set(Path(folder).rglob("*"))
        print(f"AMiF answers at {url}. Ctrl+C ends it.", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(UPLOADS_SWEPT)
                delete_old_uploads(Path(folder), examples)
        app.close()


def parse_arguments() -> argparse.Namespace:
    """The words of the command line; an impossible port ends the script with status 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="amif-vqa", help="Checkpoint, a folder or a name on the Hub.")
    parser.add_argument("--host", default="127.0.0.1", help="Address to listen on; by default this machine alone.")
    parser.add_argument("--port", type=int, default=7860, help="Port to listen on.")
    parser.add_argument(
        "--allowed_host",
        type=host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="Further name under which the page may be opened: a proxy's, a Space's. Can be given several times.",
    )
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    arguments = parser.parse_args()
    if not 0 < arguments.port < 2**16:
        parser.error(f"--port {arguments.port}: give one from 1 to 65535")
    return arguments


def host_name(text: str) -> str:
    """A name as requests bear it, in small letters."""
    if host_of(f"//{text}") != text.lower():
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a host: give one like demo.example.org.")
    return text.lower()


@plain_errors()
def main() -> None:
    """Serve until SIGTERM or Ctrl+C."""
    arguments = parse_arguments()
    only_process()
    serve(arguments)


if __name__ == "__main__":
    main()
