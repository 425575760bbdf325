r"""Pre-train on image-report pairs: AMiF in two stages, AGA or MPMA.

Without arguments it trains a small model on generated studies and leaves it in `amif-pretrained/`:

    accelerate launch examples/run_pretraining.py

With pretrained encoders on real pairs, then the second stage from the first's checkpoint:

    accelerate launch examples/run_pretraining.py --dataset rocov2 --data_dir DIR \
        --vision_model NAME --text_model NAME --stage global --output_dir STAGE_ONE
    accelerate launch examples/run_pretraining.py --dataset rocov2 --data_dir DIR --model_name_or_path STAGE_ONE \
        --stage local --output_dir STAGE_TWO

With another objective on the same encoders (`--help` shows the arguments of the objective that stands beside it):

    accelerate launch examples/run_pretraining.py --objective aga --dataset rocov2 --data_dir DIR \
        --vision_model NAME --text_model NAME --output_dir AGA

Arguments may come from a JSON or YAML file, and those on the command line override it.
"""

import logging
import math
import sys
from dataclasses import replace
from pathlib import Path

from datasets import DatasetDict, IterableDataset

from amif import AmifProcessor
from amif.modeling_amif.dual_encoder_amif import AmifDualEncoder
from amif.training.checkpoints.model_card import write_pretraining_card
from amif.training.checkpoints.resumable_files import plan_run
from amif.training.checkpoints.run_settings import RunSettings
from amif.training.checkpoints.stream_progress import go_without_validation
from amif.training.command_line import plain_errors
from amif.training.data import StrongAugmentation
from amif.training.data.mixtures import count_rows, mix_rows, places_by_set, rows_by_set
from amif.training.distributed import explained_worker_deaths, only_run_in, start_process
from amif.training.evaluation.result_files import check_output_folder, write_json
from amif.training.pretraining.argument_checks import check_arguments
from amif.training.pretraining.arguments import UNUSED, PretrainingDataArguments, PretrainingModelArguments
from amif.training.pretraining.base_trainer import BasePreTrainer, BasePreTrainingArguments
from amif.training.pretraining.cost import cost_in
from amif.training.pretraining.ground_truth import ground_truth_metrics
from amif.training.pretraining.model import build_model, image_size_of, note_data
from amif.training.pretraining.objectives import OBJECTIVES, Objective
from amif.training.pretraining.streamed_teacher import embed_stream
from amif.training.pretraining.teacher import Teacher, add_teacher_embeddings, load_teacher
from amif.training.recipes import choice_ahead, parse_with_recipe, warn_of_unused

logger = logging.getLogger("run_pretraining")

DEFAULTS = {"do_train": True, "do_eval": True, "do_predict": True}
DEFAULT_RECIPE = Path(__file__).parent / "recipes" / "phantom_pretraining.yaml"


@plain_errors()
def main() -> None:
    """Check the arguments before anything is computed, and run in a folder that no other run writes to."""
    # 1. Arguments
    objective = OBJECTIVES[choice_ahead(sys.argv[1:], "objective", list(OBJECTIVES))]
    types = (objective.model_arguments, PretrainingDataArguments, objective.arguments)
    model_args, data_args, training_args = parse_with_recipe(types, sys.argv[1:], DEFAULT_RECIPE, __doc__, **DEFAULTS)
    check_arguments(model_args, data_args, training_args)

    # 2. Logging, threads, seed, and a folder of its own
    start_process(training_args)
    warn_of_unused((*UNUSED["all"], *UNUSED[model_args.objective]), (model_args, data_args, training_args))
    check_output_folder(training_args.output_dir)
    with only_run_in(training_args.output_dir, training_args), explained_worker_deaths():
        run(objective, model_args, data_args, training_args)


def run(
    objective: Objective,
    model_args: PretrainingModelArguments,
    data_args: PretrainingDataArguments,
    training_args: BasePreTrainingArguments,
) -> None:
    """Do what is left to do of training and evaluation."""
    plan = plan_run(training_args, model_args.model_name_or_path)

    # 3. Data, and whether they and the arguments are those of the run that is gone on with
    splits = load_studies(data_args, plan.trains)
    if data_args.streaming:
        go_without_validation(training_args, splits)
    settings = RunSettings.of(training_args, [model_args, data_args], splits.get("train"), splits.get("validation"))
    if plan.has_ended:
        settings.check(training_args.output_dir)
    teacher = load_teacher(data_args.teacher, training_args.device) if data_args.teacher_mode == "online" else None

    # 4. Model, processor and trainer
    model, processor = build_model(replace(model_args, model_name_or_path=plan.start), data_args, splits)
    model_args.warn_of_unlike(model.config)
    if plan.trains:
        note_data(model.config, data_args)
    sets = {str(name): {own: len(rows) for own, rows in places_by_set(part).items()} for name, part in splits.items()}
    if plan.trains:
        splits["train"] = mix_rows(splits["train"], data_args.mixing, training_args.seed)
    trainer = build_trainer(objective, model, processor, plan.arguments_of(training_args), data_args, splits, teacher)
    trainer.run_settings = settings
    resumed = trainer.checkpoint_to_go_on_from(training_args.resume_from_checkpoint) if plan.trains else None

    # 5. The teacher's embeddings of what is read, now that nothing else can stop the run
    if teacher is None and data_args.teacher != "none":
        splits = embed_what_is_read(trainer, splits, data_args)

    # 6. Training
    metrics, metrics_file = {}, Path(training_args.output_dir) / "metrics.json"
    if plan.has_ended:
        trainer.recall_training()
        metrics = cost_in(metrics_file)
    if plan.trains:
        trainer.train(resume_from_checkpoint=resumed)
        trainer.save_model()
        metrics["training"] = trainer.cost
        if trainer.is_world_process_zero():
            write_json(metrics_file, metrics)  # before what marks the end: a run that is killed now is only evaluated
        trainer.save_state()

    # 7. Results: retrieval between images and reports that training never saw
    metrics |= evaluate(trainer, splits, data_args.name)
    if trainer.is_world_process_zero():
        counts = {name: of_split for name, of_split in sets.items() if of_split}
        write_json(metrics_file, metrics | ({"studies": counts} if counts else {}))
        source = (data_args.sources[: len(data_args.data_sets)], model_args.start, model_args.text_model)
        write_pretraining_card(training_args.output_dir, metrics, *source, trainer, objective.description)
    if training_args.push_to_hub:
        trainer.push_to_hub()


def load_studies(data_args: PretrainingDataArguments, trains: bool) -> DatasetDict:
    """The splits, which are counted in the log.

    Raises:
        ValueError: If something shall be trained and there is no training split.
    """
    splits = data_args.load()
    if trains and "train" not in splits:
        raise ValueError(
            f"{data_args.name} has no training studies, but {', '.join(map(str, splits))}: name a file or folder of "
            "them train, or give --do_train false."
        )
    for split, studies in splits.items():
        logger.info(f"{data_args.name} {split}: {count_rows(studies)} studies")
    return splits


def build_trainer(
    objective: Objective,
    model: AmifDualEncoder,
    processor: AmifProcessor,
    args: BasePreTrainingArguments,
    data_args: PretrainingDataArguments,
    splits: DatasetDict,
    teacher: Teacher | None,
) -> BasePreTrainer:
    """The objective's trainer; an online teacher is AMiF's alone."""
    augmentation = StrongAugmentation(image_size_of(processor), seed=args.seed) if data_args.augment_images else None
    return objective.trainer(
        model=model,
        args=args,
        train_dataset=splits["train"] if args.do_train else None,
        eval_dataset=splits.get("validation"),
        processing_class=processor,
        augmentation=augmentation,
        **({} if teacher is None else {"teacher": teacher}),  # pyright: ignore[reportArgumentType]
    )


def embed_what_is_read(
    trainer: BasePreTrainer, splits: DatasetDict, data_args: PretrainingDataArguments
) -> DatasetDict:
    """The splits with the teacher's embeddings of the rows that the run reads, which the trainer reads from now on."""
    trains, read = trainer.train_dataset is not None, trainer.rows_read(splits)
    with trainer.args.main_process_first():
        splits = add_teacher_embeddings(splits, data_args.teacher, trainer.args.device, read=read)
    trainer.train_dataset = splits["train"] if trains else None
    if isinstance(trainer.train_dataset, IterableDataset):
        stream = embed_stream(trainer.train_dataset, data_args.teacher, trainer)
        trainer.train_dataset = stream  # pyright: ignore[reportAttributeAccessIssue]  # its stub knows torch's alone
    trainer.eval_dataset = splits.get("validation")
    return splits


def evaluate(trainer: BasePreTrainer, splits: DatasetDict, dataset: str) -> dict[str, dict[str, float]]:
    """Losses, retrieval and what the ground truth says of validation and test, by split; the recalls are printed.

    Of several sets each is evaluated by itself too, as "validation_NAME" and "test_NAME".
    """
    metrics, asked = {}, {"validation": trainer.args.do_eval, "test": trainer.args.do_predict}
    evaluated = {name: splits[name] for name, is_asked in asked.items() if is_asked and name in splits}
    for name, rows in list(evaluated.items()):
        evaluated |= {f"{name}_{own}": of_set for own, of_set in rows_by_set(rows).items()}
    for split, rows in evaluated.items():
        # The Trainer takes a data set of datasets, though its stub knows torch's alone.
        metrics[split] = trainer.evaluate(rows, metric_key_prefix=split)  # pyright: ignore[reportArgumentType]
        truth = ground_truth_metrics(trainer, rows)
        metrics[split] |= {name: value for name, value in truth.items() if not math.isnan(value)}
        recalls = {
            key: round(100 * value, 2) for key, value in metrics[split].items() if "recall" in key and "@" in key
        }
        if trainer.is_world_process_zero():
            print(f"{dataset}, {split}, {len(rows)} studies: {recalls}")
    return metrics


if __name__ == "__main__":
    main()
