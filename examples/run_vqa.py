r"""Fine-tune and evaluate AMiF on medical visual question answering.

Without arguments it trains a small model on the generated data set `phantom` and leaves it in `amif-vqa/`:

    accelerate launch examples/run_vqa.py

With pretrained encoders on a real data set:

    accelerate launch examples/run_vqa.py --dataset vqa_rad --data_dir DIR \
        --vision_model openai/clip-vit-base-patch16 --text_model emilyalsentzer/Bio_ClinicalBERT --output_dir OUT

Arguments may come from a JSON or YAML file, and those on the command line override it:

    accelerate launch examples/run_vqa.py examples/recipes/slake.yaml --data_dir DIR --output_dir OUT

It leaves the checkpoint with its card, `metrics.json`, `predictions.jsonl`, and `report.html`, a page of the figures
and of the questions with their images.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from datasets import Dataset, DatasetDict, IterableDataset
from transformers import EarlyStoppingCallback

from amif import AmifForVisualQuestionAnswering, AmifProcessor, AmifVqaArguments, AmifVqaTrainer
from amif.training.checkpoints.lora import finish_lora
from amif.training.checkpoints.model_card import training_facts, write_model_card
from amif.training.checkpoints.model_files import local_folder
from amif.training.checkpoints.provenance import datasets_of, note_trained_on
from amif.training.checkpoints.resumable_files import plan_run
from amif.training.checkpoints.run_settings import RunSettings
from amif.training.checkpoints.stream_progress import go_without_validation
from amif.training.command_line import plain_errors
from amif.training.data.image_replacement import check_replacement
from amif.training.data.mixtures import mix_rows, places_by_set
from amif.training.data.references import acceptable_answers_of
from amif.training.data.schema import INPUT_COLUMNS
from amif.training.data.views import asks_about_several
from amif.training.distributed import explained_worker_deaths, only_run_in, start_process
from amif.training.evaluation.metrics import Metrics
from amif.training.evaluation.partial_predictions import remove_partial_predictions
from amif.training.evaluation.protocols import candidate_answers
from amif.training.evaluation.result_files import (
    append_test_evaluation,
    check_output_folder,
    write_answers_csv,
    write_json,
    write_jsonl,
)
from amif.training.fine_tuning.argument_checks import check_arguments
from amif.training.fine_tuning.arguments import UNUSED, FineTuningDataArguments, VqaModelArguments
from amif.training.fine_tuning.evaluation import Evaluation, evaluate, set_abstention_threshold
from amif.training.fine_tuning.knowledge import entries_that_answer
from amif.training.fine_tuning.model import adapt, build_model
from amif.training.fine_tuning.splits import (
    RunData,
    load_run_data,
    note_validation,
    with_new_questions,
    with_readable_answers,
)
from amif.training.recipes import parse_with_recipe, warn_of_unused
from amif.training.reports.html_report import write_html_report
from amif.training.reports.tables import Table, format_table, grounding_table, knowledge_table

ARGUMENTS = (VqaModelArguments, FineTuningDataArguments, AmifVqaArguments)
DEFAULT_RECIPE = Path(__file__).parent / "recipes" / "phantom.yaml"


@plain_errors()
def main() -> None:
    """Check the arguments before anything is computed, and run in a folder that no other run writes to."""
    # 1. Arguments
    model_args, data_args, training_args = parse_with_recipe(
        ARGUMENTS, sys.argv[1:], DEFAULT_RECIPE, __doc__, do_train=True
    )
    check_arguments(model_args, data_args, training_args)

    # 2. Logging, threads, seed, and a folder of its own
    start_process(training_args)
    warn_of_unused(UNUSED, (model_args, data_args, training_args))
    check_output_folder(training_args.output_dir)
    with only_run_in(training_args.output_dir, training_args), explained_worker_deaths():
        run(model_args, data_args, training_args)


def run(model_args: VqaModelArguments, data_args: FineTuningDataArguments, training_args: AmifVqaArguments) -> None:
    """Do what is left to do of training and evaluation."""
    plan = plan_run(training_args, model_args.model_name_or_path)

    # 3. Data, and whether they and the arguments are those of the run that is gone on with
    data = load_run_data(data_args, plan.arguments_of(training_args), training_args.do_train)
    if data_args.streaming and plan.has_ended:
        go_without_validation(training_args, data.splits)  # as the run did whose settings are compared
    settings = RunSettings.of(training_args, [model_args, data_args], data.training, data.splits.get("validation"))
    if plan.has_ended:
        settings.check(training_args.output_dir)

    # 4. Model and processor
    built = replace(model_args, model_name_or_path=plan.start)
    model, processor = build_model(built, data_args, data.splits, plan.trains)
    data = with_readable_answers(data, model, processor, data_args.on_bad_row, data_args.max_answer_length)
    asked = questions_to_ask(data, data_args, model, processor)
    note_validation(model, data_args, plan.trains, data.eval_split)
    if plan.trains:
        built.warn_of_unlike(model.config)
        note_trained_on(model.config, data_args.trained_sets)
        if data.training is not None and asks_about_several(data.training):
            model.model.add_view_embedding()
        adapt(model, built, training_args.freeze_vision_encoder)

    # 5. Trainer
    trainer = build_trainer(model, processor, plan.arguments_of(training_args), data_args, data, plan.trains)
    trainer.run_settings, trainer.acceptable = settings, acceptable_answers_of(data_args.name)

    # 6. Training
    if plan.has_ended:
        trainer.recall_training()
    if plan.trains:
        train(trainer, data.splits)
    # What is learned of a checkpoint stands in its own folder, but for the Hub's cache and a disk that is only read.
    folder = plan.result if os.access(plan.result, os.W_OK) else training_args.output_dir
    if data_args.abstention_error_rate is not None:
        set_abstention_threshold(trainer, data.splits, data_args.name, data_args.abstention_error_rate)
        if trainer.is_world_process_zero():
            processor.save_pretrained(folder)

    # 7. Evaluation
    evaluation = evaluate(trainer, asked.splits, asked.eval_split, data_args, asked.name)
    metrics = with_training_rows(evaluation.metrics, data.training)

    # 8. Results, and a record of any look at a test split
    if trainer.is_world_process_zero():
        if asked.eval_split == "test" and metrics.scores.overall is not None:
            append_test_evaluation(folder, metrics, local_folder(plan.result))
        output = training_args.output_dir
        own = plan.trains or plan.has_ended or asked.name == data_args.name
        trained_on = [source.dataset for source in data_args.data_sets] if own else None
        write_results(output, replace(evaluation, metrics=metrics), trainer)
        write_model_card(output, metrics, model_args.start, model_args.text_model, trainer, trained_on)
        remove_partial_predictions(output)  # the last step, for until then a restart goes on from them
    if training_args.push_to_hub:
        trainer.push_to_hub()


def questions_to_ask(
    data: RunData,
    data_args: FineTuningDataArguments,
    model: AmifForVisualQuestionAnswering,
    processor: AmifProcessor,
) -> RunData:
    """The run's data, or new questions in their place, which have what they are answered and measured by.

    Raises:
        ValueError: If they lack what the protocol chooses from, images to stand in for others, or answers that the
            model fuses where `measure_knowledge` ranks these.
    """
    asked = with_new_questions(data, data_args)
    if asked is not data:
        limits = (processor, data_args.on_bad_row, data_args.max_answer_length)
        asked = with_readable_answers(replace(asked, training=None), model, *limits)
    if data_args.protocol in ("choices", "paper"):
        candidate_answers(data_args.protocol, asked.splits, asked.eval_split)
    if (how := data_args.ablate_image or ("shuffle" if data_args.grounding_shuffles else None)) is not None:
        check_replacement(asked.splits[asked.eval_split], how)
    if data_args.measure_knowledge:
        entries_that_answer(model, processor, asked.splits[asked.eval_split])
    return asked


def with_training_rows(metrics: Metrics, training: Dataset | IterableDataset | None) -> Metrics:
    """The metrics, with the number of training rows of each set where they are of several."""
    if training is None or metrics.run is None or not (places := places_by_set(training)):
        return metrics
    counts = {name: len(rows) for name, rows in places.items()}
    return replace(metrics, run=replace(metrics.run, training_rows=counts))


def build_trainer(
    model: AmifForVisualQuestionAnswering,
    processor: AmifProcessor,
    args: AmifVqaArguments,
    data_args: FineTuningDataArguments,
    data: RunData,
    trains: bool,
) -> AmifVqaTrainer:
    """The trainer, which chooses among checkpoints on the validation split alone."""
    chooses = trains and data_args.protocol != "generate" and "validation" in data.splits
    protocol = "choices" if data_args.protocol == "choices" else "clean"
    training = data.training if trains else None
    if isinstance(training, Dataset):  # a stream is of one set
        training = mix_rows(training, data_args.mixing, args.seed)
    trainer = AmifVqaTrainer(
        model=model,
        args=args,
        train_dataset=training,
        eval_dataset=data.splits.get("validation"),
        processing_class=processor,
        candidates=candidate_answers(protocol, data.splits, "validation") if chooses else None,
        choices=chooses and protocol == "choices",
    )
    if data_args.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(data_args.early_stopping_patience))
    return trainer


def train(trainer: AmifVqaTrainer, splits: DatasetDict) -> None:
    """Train, and leave the model in the output folder, whole; it has its candidates from the first checkpoint on."""
    trainer.processing_class.answers = candidate_answers("clean", splits, "test")
    trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint)
    finish_lora(trainer.model, trainer.args.output_dir, save=trainer.args.should_save)
    trainer.save_model()
    trainer.save_state()


def write_results(output_dir: str, evaluation: Evaluation, trainer: AmifVqaTrainer) -> None:
    """Write predictions, metrics and the page that shows them, and print the table."""
    output, metrics = Path(output_dir), evaluation.metrics
    write_jsonl(output / "predictions.jsonl", evaluation.rows)
    write_json(output / "metrics.json", metrics)
    if INPUT_COLUMNS in evaluation.shown.column_names:
        write_answers_csv(output / "predictions.csv", evaluation.rows, evaluation.shown[INPUT_COLUMNS][:])
    tables = [] if metrics.grounding is None else [grounding_table(metrics.grounding)]
    if metrics.knowledge is not None:
        tables.append(knowledge_table(metrics.knowledge))
    if facts := training_facts(trainer):
        tables.append(Table("Training", ("what", "how"), list(facts.items())))
    write_html_report(
        output / "report.html",
        evaluation.rows,
        metrics,
        tables,
        images=evaluation.shown,
        blank=evaluation.blank,
        trained_on=datasets_of(trainer.model.config),
    )
    print(format_table(metrics))


if __name__ == "__main__":
    main()
