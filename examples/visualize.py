r"""Draw what a checkpoint does: the paper's Figures 4 and 5, and the architecture from the model's own modules.

    python examples/visualize.py transport --models without=STAGE_TWO with=STAGE_TWO2 --image IMAGE --text REPORT \
        --words "mass" "left" --output_dir figures
    python examples/visualize.py attention --models "no gate=VQA" gate=VQA2 --image IMAGE --text QUESTION --words mass
    python examples/visualize.py attention --models VQA --image BEFORE AFTER --text QUESTION --words mass
    python examples/visualize.py architecture --models amif-vqa
    python examples/visualize.py localization --models STAGE_TWO amif-vqa

`transport` is Figure 4: where the plan of equation 10 sends each chosen word, a row a checkpoint. `attention` is Figure
5: the chosen words' attention, and beside it the gate's own values. Both take any checkpoint, of pre-training with a
report or of answering with a question, which may be about several images. `--phantom N` takes the N-th generated test
study with a finding in place of an image and a text, and draws its true box; `--phantom 0 1 2` draws several.
`localization` measures, over the generated test studies, how much of the map of a finding's words lies in its true box,
and how often its peak does, against chance. Figures are written as PNG and SVG, what `localization` measures as JSON.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.figure import Figure
    from PIL import Image

    from amif import AmifProcessor
    from amif.training.reports.word_maps import Model

KINDS = ("transport", "attention", "architecture", "localization")


def main() -> None:
    """Draw or measure what is asked for; a fault that the user can mend is one line, and status 1."""
    arguments = parse_arguments()
    # Not before: torch and transformers take seconds, which help and a wrong word need not wait for.
    from amif.training.command_line import only_process, plain_errors
    from amif.training.evaluation.result_files import check_output_folder

    with plain_errors():
        only_process()
        check_output_folder(arguments.output_dir)
        draw = {"architecture": draw_architectures, "localization": measure_localization}
        draw.get(arguments.kind, draw_maps)(arguments)


def draw_maps(arguments: argparse.Namespace) -> None:
    """One figure of all checkpoints over one image, or over each of some generated studies."""
    from amif.processing_amif import to_rgb
    from amif.processing_amif.images_amif import views_of

    # Before the models, which take longer.
    own = [to_rgb(image) for image in views_of(arguments.image)] if arguments.image else []
    from amif.training.reports.map_figures import MappedStudy, word_map_figure
    from amif.training.reports.word_maps import view_maps

    models = {name: load(path) for name, path in named(arguments.models).items()}
    answering = all(can_answer(model) for model, _ in models.values())
    studies = []
    for images, text, words, box in subjects(arguments, own, answering):
        maps = {name: view_maps(*loaded, images, text) for name, loaded in models.items()}
        for view, image in enumerate(images):
            label = text if len(images) == 1 else f"{text} (image {view + 1})"
            studies.append(MappedStudy(image, label, words, {name: of[view] for name, of in maps.items()}, box))
    save(word_map_figure(studies, arguments.kind), arguments, arguments.kind)


def draw_architectures(arguments: argparse.Namespace) -> None:
    """One figure a checkpoint."""
    from PIL import Image

    from amif.training.reports.architecture_figure import architecture_figure, read_blocks

    for name, path in named(arguments.models).items():
        model, processor = load(path)
        inputs = processor(images=Image.new("RGB", (64, 64)), text="is there a mass?")
        if not can_answer(model):
            del inputs["image_index"]
            inputs["hard_negatives"] = -inputs["input_ids"].new_ones(1, 3)
        save(architecture_figure(model, read_blocks(model, inputs)), arguments, f"architecture-{file_name(name)}")


def measure_localization(arguments: argparse.Namespace) -> None:
    """A table and a JSON file of all checkpoints."""
    from amif.training.evaluation.result_files import write_json
    from amif.training.pretraining.ground_truth import finding_localization, finding_question
    from amif.training.reports.console import print_table
    from amif.training.reports.tables import Table

    studies = phantom_studies(arguments)
    measured = {}
    for name, path in named(arguments.models).items():
        model, processor = load(path)
        text = finding_question if can_answer(model) else (lambda study: study["text"])
        measured[name] = asdict(finding_localization(model, processor, studies, text)) | {"model": path}
    write_json(Path(arguments.output_dir) / "localization.json", measured)
    cells = [
        (
            f"{name}, {kind}",
            *(f"{of_model[kind][figure]:.3f}" for figure in ("mass", "hit", "chance")),
            str(of_model["n"]),
        )
        for name, of_model in measured.items()
        for kind in ("transport", "attention")
    ]
    header = ("words of the finding", "mass in box", "pointing game", "chance of both", "studies")
    print_table(Table("Localization on phantom test studies", header, cells))


def load(path: str) -> "tuple[Model, AmifProcessor]":
    """A checkpoint that keeps its attention weights, and its processor."""
    from amif import AmifForPreTraining, AmifForVisualQuestionAnswering
    from amif.training.checkpoints.model_files import load_checkpoint

    return load_checkpoint(path, AmifForPreTraining, AmifForVisualQuestionAnswering, attn_implementation="eager")


def can_answer(model: "Model") -> bool:
    """Whether the model takes questions; one of pre-training takes reports."""
    from amif import AmifForVisualQuestionAnswering

    return isinstance(model, AmifForVisualQuestionAnswering)


def named(models: list[str]) -> dict[str, str]:
    """Paths by the names given as name=path; without one, by the folder's name."""
    pairs = [("", "", model) if Path(model).exists() else model.rpartition("=") for model in models]
    paths = {name or Path(path).name: path for name, _, path in pairs}
    if len(paths) < len(models):
        raise ValueError(f"--models {' '.join(models)} has two of one name: give each its own as name=path.")
    return paths


def file_name(name: str) -> str:
    """The name with a hyphen for each sign that is neither letter nor digit, as "a/b" would lead elsewhere."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def subjects(
    arguments: argparse.Namespace, own: "list[Image.Image]", answering: bool
) -> "Iterator[tuple[list[Image.Image], str, list[str], list[float] | None]]":
    """Image or images, text, chosen words and, if known, the box, of one's own image or of each chosen study."""
    from amif.training.pretraining.ground_truth import finding_question

    if arguments.phantom is None:
        yield own, arguments.text, arguments.words, arguments.box
        return
    studies = phantom_studies(arguments)
    for number in arguments.phantom:
        if not 0 <= number < len(studies):
            raise ValueError(f"--phantom {number}: there are {len(studies)} such studies, from 0.")
        study = studies[number]
        text = finding_question(study) if answering else study["text"]
        yield [study["images"][0]], text, arguments.words or [study["finding"]], study["box"][0]


def phantom_studies(arguments: argparse.Namespace) -> "Dataset":
    """The generated test studies with a finding."""
    from datasets import Dataset

    from amif.training.data import load_pretraining_dataset

    studies = load_pretraining_dataset("phantom", num_studies=arguments.num_studies)["test"]
    assert isinstance(studies, Dataset), "phantom is no stream"
    return studies.select([place for place, finding in enumerate(studies["finding"]) if finding is not None])


def save(figure: "Figure", arguments: argparse.Namespace, name: str) -> None:
    """Write the figure as PNG, at 300 dots an inch, and SVG, without a margin, and print both paths."""
    for suffix in ("png", "svg"):
        path = Path(arguments.output_dir) / f"{name}.{suffix}"
        figure.savefig(path, dpi=300, bbox_inches="tight")
        print(path)


def parse_arguments() -> argparse.Namespace:
    """The words of the command line; those that the kind does not use, or lacks, end the script with status 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS, help="What to draw or measure.")
    parser.add_argument("--models", nargs="+", required=True, help="Checkpoints, each a folder or name=folder.")
    parser.add_argument("--image", nargs="+", help="File of the image, also DICOM or NIfTI; of a question up to four.")
    parser.add_argument("--text", help="Report or question.")
    parser.add_argument("--words", nargs="+", help="Words or phrases of the text; with --phantom the finding's.")
    parser.add_argument("--box", nargs=4, type=float, help="x0 y0 x1 y1 in pixels of what the words name, if known.")
    parser.add_argument(
        "--phantom", nargs="+", type=int, help="Take these generated test studies with a finding, from 0."
    )
    parser.add_argument("--num_studies", type=int, default=600, help="How many studies phantom generates.")
    parser.add_argument("--output_dir", default="figures", help="Folder of the figures.")
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    arguments = parser.parse_args()
    idle = () if arguments.phantom is None else ("image", "text", "box")
    if arguments.kind in ("architecture", "localization"):
        idle = ("image", "text", "box", "words", "phantom")
    if unused := [f"--{name}" for name in idle if getattr(arguments, name) is not None]:
        parser.error(f"{', '.join(unused)}: not used by {arguments.kind}, or beside --phantom; leave it out")
    if not idle and not (arguments.image and arguments.text and arguments.words):
        parser.error("give --image, --text and --words, or --phantom N")
    if arguments.box is not None:
        left, upper, right, lower = arguments.box
        if len(arguments.image) > 1:
            parser.error("--box says where it is in one image: leave it out beside several")
        if not (0 <= left < right < math.inf and 0 <= upper < lower < math.inf):
            parser.error(f"--box {' '.join(map(str, arguments.box))}: give x0 y0 x1 y1, the upper left corner first")
    return arguments


if __name__ == "__main__":
    main()
