"""Ask a question about an image.

    python examples/answer.py IMAGE QUESTION --model amif-vqa

IMAGE is PNG, JPEG, TIFF .. or DICOM, of which a frame and a window can be chosen:

    python examples/answer.py ct.dcm "is there a fracture?" --model amif-vqa --window bone --top_k 3

A question may be about up to four images:

    python examples/answer.py before.png after.png "did it grow?" --model amif-vqa
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main() -> None:
    arguments = parse_arguments()
    # Not before: torch and transformers take seconds, which help and a wrong word need not wait for.
    from amif.training.distributed import only_process

    try:
        only_process()
        answers = ask(arguments)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    for given in answers:
        print(f"{given['score']:9.4f}  {'no answer: not sure enough' if given['answer'] is None else given['answer']}")


def ask(arguments: argparse.Namespace) -> list[dict[str, str | float | None]]:
    from transformers import pipeline

    import amif
    from amif.processing_amif import read_dicom
    from amif.processing_amif.dicom_amif import is_dicom
    from amif.training.checkpoints.model_files import load_checkpoint

    images = arguments.images
    if arguments.frame is not None or arguments.window is not None:
        if others := [image for image in images if not is_dicom(image)]:
            raise ValueError(f"--frame and --window are of DICOM files, and {others[0]} is none: leave them out.")
        images = [read_dicom(image, arguments.frame, window_of(arguments.window)) for image in images]
    model, processor = load_checkpoint(arguments.model, amif.AmifForVisualQuestionAnswering)
    # The stub of `pipeline` knows no registered task.
    answer = pipeline(  # pyright: ignore[reportCallIssue]
        "medical-vqa",  # pyright: ignore[reportArgumentType]
        model=model,
        processor=processor,
    )
    if not (arguments.candidates or arguments.generate or processor.answers):
        raise ValueError(
            f"{arguments.model} brings no answers to choose from: name some with --candidates, or give --generate."
        )
    return answer(
        {"image": images, "question": arguments.question},
        top_k=arguments.top_k,
        candidates=arguments.candidates,
        generate=arguments.generate,
        abstain=arguments.abstain,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="File of the image, DICOM included; up to four of one question."
    )
    parser.add_argument("question", metavar="QUESTION", help="What to ask.")
    parser.add_argument("--model", default="amif-vqa", help="Checkpoint, a folder or a name on the Hub.")
    parser.add_argument("--top_k", type=int, default=1, help="How many answers to print, with log-likelihoods.")
    parser.add_argument("--candidates", nargs="+", help="Answers to choose from; default: the checkpoint's.")
    parser.add_argument("--generate", action="store_true", help="Generate freely instead of choosing.")
    parser.add_argument("--abstain", action="store_true", help="Give no answer below the checkpoint's threshold.")
    parser.add_argument("--frame", type=int, help="Frame of a DICOM file, from 0; default: the middle one.")
    parser.add_argument(
        "--window",
        nargs="+",
        help="Window of a DICOM file: abdomen, bone, brain, liver, lung, mediastinum; or centre and width; or the "
        "number of one of its own windows. Default: the file's.",
    )
    arguments = parser.parse_args()
    if arguments.generate and arguments.abstain:
        parser.error("--abstain: the checkpoint's threshold is of ranked answers, leave it or --generate out")
    return arguments


def window_of(words: Sequence[str] | None) -> int | str | tuple[float, float] | None:
    if words is None:
        return None
    try:
        if len(words) == 2:
            return float(words[0]), float(words[1])
    except ValueError:
        pass
    if len(words) > 1:
        raise ValueError(f"--window {' '.join(words)}: give one word, or centre and width as numbers.")
    return int(words[0]) if words[0].isdecimal() else words[0]


if __name__ == "__main__":
    main()
