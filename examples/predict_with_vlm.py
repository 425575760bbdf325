r"""Answer a data set with any image-text-to-text model of transformers: MedGemma, Qwen-VL, LLaVA and their kind.

    python examples/predict_with_vlm.py --model google/medgemma-4b-it --dataset slake --data_dir DIR --output_dir OUT
    python examples/evaluate_predictions.py --dataset slake --data_dir DIR --predictions OUT/predictions.jsonl \
        --protocol generate --extract true --output_dir SCORES

It leaves `predictions.jsonl`, `metrics.json` and `report.html`, as run_vqa.py does. `--protocol clean` compares the
likelihoods of the answers of other splits, `--protocol choices` those of each question's own options; `--ablate_image
blank` and `shuffle` show other images. The same command goes on where an interrupted one stopped. docs/evaluation.md
says more.
"""

import logging
import sys
from pathlib import Path

from amif_command import arguments_first

with arguments_first():
    from amif.training.chat_models.arguments import ChatModelArguments
    from amif.training.command_line import plain_errors
    from amif.training.evaluation.result_files import (
        append_test_evaluation,
        check_output_folder,
        write_json,
        write_jsonl,
    )
    from amif.training.recipes import parse_arguments


@plain_errors()
def main() -> None:
    """Answer in a folder that no other run writes to; where memory runs out, say what to change."""
    # 1. Arguments, and a folder of its own
    args = parse_arguments(ChatModelArguments, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_output_folder(args.output_dir)
    # Not before: help and a wrong word need not wait for them.
    import torch
    from transformers.utils.logging import enable_progress_bar

    from amif.training.distributed import only_run_in, use_free_cpu_cores

    enable_progress_bar()  # reading the weights of such a model takes minutes
    use_free_cpu_cores()
    try:
        with only_run_in(args.output_dir):
            run(args)
    except torch.OutOfMemoryError as error:
        sys.exit(
            f"Memory ran out ({str(error).partition('. ')[0]}): start the same command with a smaller --batch_size. "
            "With another batch size questions are answered anew."
        )


def run(args: ChatModelArguments) -> None:
    """Leave predictions.jsonl, metrics.json and report.html; partial predictions go once all are written."""
    from amif.training.chat_models.evaluation import answer_and_evaluate
    from amif.training.checkpoints.model_files import local_folder
    from amif.training.evaluation.partial_predictions import remove_partial_predictions
    from amif.training.reports.html_report import write_html_report
    from amif.training.reports.tables import format_table

    # 2. Answers and measures
    rows, metrics, asked = answer_and_evaluate(args)

    # 3. Results, and a record of any look at a test split
    output = Path(args.output_dir)
    if metrics.split == "test" and metrics.scores.overall is not None:
        append_test_evaluation(output, metrics, local_folder(args.model))
    write_jsonl(output / "predictions.jsonl", rows)
    write_json(output / "metrics.json", metrics)
    write_html_report(output / "report.html", rows, metrics, images=asked)
    print(format_table(metrics))
    remove_partial_predictions(output)  # the last step, for until then the same command goes on from them


if __name__ == "__main__":
    main()
