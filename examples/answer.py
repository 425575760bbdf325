"""Ask a question about an image, or about each image of a folder.

    python examples/answer.py IMAGE QUESTION --model amif-vqa

IMAGE is PNG, JPEG, TIFF .., or DICOM or NIfTI, of which frame or slice and window can be chosen:

    python examples/answer.py ct.dcm "is there a fracture?" --model amif-vqa --window bone --top_k 3
    python examples/answer.py brain.nii.gz "is there a tumour?" --model amif-vqa --plane coronal --montage 9

A question may be about up to four images:

    python examples/answer.py before.png after.png "did it grow?" --model amif-vqa

Of a folder, each image in it and in the folders below is asked about, in the order of the paths. The answers are a CSV
table: file, answer and score, and what is shown where a file has several frames or slices. Without --output it is
printed:

    python examples/answer.py series/ "is there a fracture?" --model amif-vqa --output answers.csv
"""

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

# How many of the files that are passed over are named.
NAMED = 10


class Shown(NamedTuple):
    """What a question is about: files, their images in RGB, and in words what is shown of several frames or slices."""

    paths: Sequence[Path]
    images: "list[Image.Image]"
    frames: str


Answered = tuple[Shown, list[dict[str, str | float | None]]]


def main() -> None:
    """Answer about all images that can be read; where one cannot, the status is 1 all the same."""
    arguments = parse_arguments()
    # Not before: torch and transformers take seconds, which help and a wrong word need not wait for.
    from amif.training.command_line import only_process, plain_errors

    count = 0
    with plain_errors():
        only_process()
        check_arguments(arguments)
        asked = files_of(arguments.images)
        # Of all, so that a library that is missing is named before anything else is done.
        several = any([has_several_frames(path, arguments.plane) for paths in asked for path in paths])
        shown = readable(asked, arguments)
        # An image is read before the model, which takes longer.
        first = next(shown, None)
        if first is not None:
            answered = ask(chain([first], shown), load_answerer(arguments), arguments.question)
            table = arguments.output or os.path.isdir(arguments.images[0])
            count = write_table(answered, several, arguments) if table else print_answers(answered)
        if count < len(asked):
            left_out = len(asked) - count
            raise ValueError(f"{left_out} of {len(asked)} images could not be read, and {count} are answered.")


def files_of(images: Sequence[str]) -> list[list[Path]]:
    """The files of each question: all that are given, or each image of a folder; what else it holds is named."""
    from amif.processing_amif.images_amif import views_of
    from amif.training.data.image_folders import find_images

    folders = [image for image in images if os.path.isdir(image)]
    if folders and len(images) > 1:
        raise ValueError(f"{folders[0]} is a folder, whose images are asked about one by one: give it alone.")
    if not folders:
        views_of(images)
        return [[Path(image) for image in images]]
    found, others = find_images(Path(folders[0]))
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        print(f"No images, passed over: {', '.join(map(str, others[:NAMED]))}{more}.", file=sys.stderr)
    if not found:
        raise ValueError(f"{folders[0]} holds no image: give a folder of DICOM, NIfTI or other image files.")
    return [[path] for path in found]


def readable(asked: Sequence[list[Path]], arguments: argparse.Namespace) -> Iterator[Shown]:
    """What each question is about; of several questions those whose image cannot be read are named and left out."""
    for paths in asked:
        try:
            images, frames = zip(*(show(path, arguments) for path in paths), strict=True)
            yield Shown(paths, list(images), "; ".join(filter(None, frames)))
        except ValueError as error:
            if len(asked) == 1:
                raise
            print(f"Left out: {error}", file=sys.stderr)


def has_several_frames(path: Path, plane: str | None) -> bool:
    """Whether a file has several frames or slices; False also where it cannot be read, of which `show` says why.

    Raises:
        ImportError: If it is DICOM or NIfTI, and pydicom or nibabel is not installed.
    """
    from amif.processing_amif.dicom_amif import count_frames, is_dicom
    from amif.processing_amif.nifti_amif import NiftiVolume, is_nifti

    if is_dicom(path):
        return count_frames(path) > 1
    try:
        return is_nifti(path) and NiftiVolume(path, plane).frames > 1
    except ValueError:
        return False


def show(path: Path, arguments: argparse.Namespace) -> "tuple[Image.Image, str]":
    """A file's image, of DICOM and NIfTI as the options say, and which of its frames or slices that is.

    Raises:
        ImportError: If it is DICOM or NIfTI, and pydicom or nibabel is not installed.
        ValueError: If it cannot be read, or options are given that such a file has not.
    """
    from amif.processing_amif import read_dicom, to_rgb
    from amif.processing_amif.dicom_amif import count_frames, is_dicom
    from amif.processing_amif.montage_amif import spaced_frames, tile
    from amif.processing_amif.nifti_amif import NiftiVolume, is_nifti

    window = window_of(arguments.window)
    if is_dicom(path):
        if arguments.plane:
            raise ValueError(f"--plane is of NIfTI volumes, and {path} is none: leave it out")
        frames, kind, draw = count_frames(path), "frame", partial(read_dicom, path, window=window)
    elif is_nifti(path):
        volume = NiftiVolume(path, arguments.plane)
        frames, kind, draw = volume.frames, f"{volume.plane} slice", partial(volume.draw, window=window)
    else:
        if any(option is not None for option in (arguments.frame, window, arguments.montage, arguments.plane)):
            options = "--frame, --window, --montage and --plane"
            raise ValueError(f"{options} are of DICOM or NIfTI files, and {path} is none: leave them out")
        return to_rgb(path), ""
    places = spaced_frames(frames, arguments.montage or 1) if arguments.frame is None else [arguments.frame]
    image = tile([draw(place).convert("RGB") for place in places])
    shown = kind if len(places) == 1 else f"montage of the {kind}s"
    return image, f"{shown} {', '.join(map(str, places))} of {frames}, from 0" if frames > 1 else ""


def load_answerer(arguments: argparse.Namespace) -> Any:
    """The pipeline of the checkpoint, which answers as the options say."""
    from transformers import pipeline

    import amif
    from amif.training.checkpoints.model_files import load_checkpoint

    model, processor = load_checkpoint(arguments.model, amif.AmifForVisualQuestionAnswering)
    if not (arguments.candidates or arguments.generate or processor.answers):
        raise ValueError(
            f"{arguments.model} brings no answers to choose from: name some with --candidates, or give --generate."
        )
    # The stub of `pipeline` knows no registered task.
    return pipeline(  # pyright: ignore[reportCallIssue]
        "medical-vqa",  # pyright: ignore[reportArgumentType]
        model=model,
        processor=processor,
        top_k=arguments.top_k,
        candidates=arguments.candidates,
        generate=arguments.generate,
        abstain=arguments.abstain,
    )


def ask(shown: Iterable[Shown], answerer: Any, question: str) -> Iterator[Answered]:
    """Images and answers to the question about each, in batches, as they come."""
    asked, kept = tee(shown)
    answers = answerer(
        {"image": one.images if len(one.images) > 1 else one.images[0], "question": question} for one in asked
    )
    return zip(kept, answers, strict=True)


def print_answers(answered: Iterable[Answered]) -> int:
    """Print the answers to one image, and return how many images that is."""
    for shown, answers in answered:
        for one in answers:
            print(f"{one['score']:9.4f}  {'no answer: not sure enough' if one['answer'] is None else one['answer']}")
        if shown.frames:
            print(f"({shown.frames})")
    return 1


def write_table(answered: Iterable[Answered], several: bool, arguments: argparse.Namespace) -> int:
    """Write the answers as they come, best first for each image, and return how many images have them."""
    count, output = 0, arguments.output
    folder = Path(arguments.images[0]) if os.path.isdir(arguments.images[0]) else None
    with open(output, "w", newline="", encoding="utf-8") if output else nullcontext(sys.stdout) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "answer", "score", "shown"][: 4 if several else 3])
        for shown, answers in answered:
            count += 1
            name = " ".join((path.relative_to(folder) if folder else path).as_posix() for path in shown.paths)
            for one in answers:
                row = [name, one["answer"], f"{one['score']:.4f}", shown.frames]
                table.writerow(row[: 4 if several else 3])
    return count


def parse_arguments() -> argparse.Namespace:
    """The words of the command line; options that exclude each other end the script with status 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="File of the image, also DICOM or NIfTI; up to four of a question; or a folder, each asked about.",
    )
    parser.add_argument("question", metavar="QUESTION", help="What to ask.")
    parser.add_argument("--model", default="amif-vqa", help="Checkpoint, a folder or a name on the Hub.")
    parser.add_argument("--output", metavar="FILE.csv", help="Where to write the table of answers.")
    parser.add_argument("--top_k", type=int, default=1, help="How many answers to an image, with log-likelihoods.")
    parser.add_argument("--candidates", nargs="+", help="Answers to choose from; default: the checkpoint's.")
    parser.add_argument("--generate", action="store_true", help="Generate freely instead of choosing.")
    parser.add_argument("--abstain", action="store_true", help="Give no answer below the checkpoint's threshold.")
    frames = parser.add_mutually_exclusive_group()
    frames.add_argument("--frame", type=int, help="Frame of DICOM or slice of NIfTI, from 0; default: the middle one.")
    frames.add_argument("--montage", type=int, metavar="N", help="Show N evenly spaced frames or slices as one image.")
    parser.add_argument(
        "--plane",
        choices=("axial", "coronal", "sagittal"),
        help="Plane of a NIfTI volume's slices; default: the one it was scanned in.",
    )
    parser.add_argument(
        "--window",
        nargs="+",
        help="Window of DICOM or NIfTI: abdomen, bone, brain, liver, lung, mediastinum; or centre and width; or the "
        "number of one of the file's own. Default: the file's; of NIfTI without one, all but its rarest values.",
    )
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    arguments = parser.parse_args()
    if arguments.generate and arguments.candidates:
        parser.error("--generate writes answers freely and reads no --candidates: leave out one of them")
    if arguments.generate and arguments.abstain:
        parser.error("--abstain: the checkpoint's threshold is of ranked answers, leave it or --generate out")
    return arguments


def check_arguments(arguments: argparse.Namespace) -> None:
    """Find before anything is loaded what cannot be answered or written.

    Raises:
        ValueError: If there is such.
    """
    from amif.processing_amif import normalize_answer
    from amif.processing_amif.answer_normalization_amif import plain_characters

    window_of(arguments.window)
    for name, lowest in (("top_k", 1), ("montage", 1), ("frame", 0)):
        if (given := getattr(arguments, name)) is not None and given < lowest:
            raise ValueError(f"--{name} {given}: give at least {lowest}")
    if not plain_characters(arguments.question).strip():
        raise ValueError("the QUESTION is empty: type what to ask")
    for candidate in arguments.candidates or ():
        try:
            normalize_answer(candidate)
        except ValueError:
            raise ValueError(f"--candidates {candidate!r}: it holds no word or number, leave it out") from None
    if arguments.output is not None:
        output = Path(arguments.output)
        if output.suffix.lower() != ".csv" or output.is_dir() or not output.parent.is_dir():
            raise ValueError(f"--output {output}: give a file with the suffix .csv, in a folder that exists")


def window_of(words: Sequence[str] | None) -> int | str | tuple[float, float] | None:
    """The window as readers of DICOM and NIfTI take it; centre and width are in the units of the file's values.

    Raises:
        ValueError: If the words are no preset, no number of one of the file's own, and no centre and width.
    """
    from amif.processing_amif.windows_amif import WINDOW_PRESETS

    if words is None:
        return None
    try:
        if len(words) == 2:
            return float(words[0]), float(words[1])
    except ValueError:
        pass
    if len(words) > 1:
        raise ValueError(f"--window {' '.join(words)}: give one word, or centre and width as numbers.")
    if not (words[0] in WINDOW_PRESETS or words[0].isdecimal()):
        raise ValueError(f"--window {words[0]}: give {', '.join(WINDOW_PRESETS)}, a number, or centre and width.")
    return int(words[0]) if words[0].isdecimal() else words[0]


if __name__ == "__main__":
    main()
