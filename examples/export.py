"""Write a checkpoint that answers as `torch.export` programs and as ONNX files.

    pip install "amif[export]"
    python examples/export.py --model amif-vqa --output_dir exported

Its image encoder, its joint encoder (text, co-attention and knowledge fusion) and one step of its decoder take any
number of images and questions of any length. docs/export.md says how to answer with them.
"""

import argparse


def main() -> None:
    """Write the parts and the processor, and print each file; a checkpoint that cannot answer ends it with status 1."""
    arguments = parse_arguments()
    # Not before: torch and transformers take seconds, which help and a wrong word need not wait for.
    from amif import AmifForVisualQuestionAnswering
    from amif.training.checkpoints.exported_parts import export_parts
    from amif.training.checkpoints.model_files import is_pretrained_only, load_checkpoint
    from amif.training.command_line import only_process, plain_errors
    from amif.training.evaluation.result_files import check_output_folder

    with plain_errors():
        only_process()
        if is_pretrained_only(arguments.model):
            raise ValueError(f"{arguments.model} comes from pre-training and cannot answer: fine-tune it first.")
        check_output_folder(arguments.output_dir)
        model, processor = load_checkpoint(arguments.model, AmifForVisualQuestionAnswering)
        for file in export_parts(model, arguments.output_dir):
            print(file)
        processor.save_pretrained(arguments.output_dir)


def parse_arguments() -> argparse.Namespace:
    """The words of the command line, read before torch is imported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="amif-vqa", help="Checkpoint, a folder or a name on the Hub.")
    parser.add_argument("--output_dir", default="exported", help="Folder of the files and the processor.")
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
