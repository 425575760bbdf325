r"""Fine-tune and evaluate AMiF on medical visual question answering.

Without arguments it trains a small model on the generated data set `phantom` and leaves it in `amif-vqa/`:

    accelerate launch examples/run_vqa.py

With pretrained encoders on a real data set:

    accelerate launch examples/run_vqa.py --dataset vqa_rad --data_dir DIR \
        --vision_model openai/clip-vit-base-patch16 --text_model emilyalsentzer/Bio_ClinicalBERT --output_dir OUT

Arguments may come from a JSON or YAML file, and those on the command line override it:

    accelerate launch examples/run_vqa.py examples/recipes/slake.yaml --data_dir DIR --output_dir OUT
"""

import logging
import sys
from dataclasses import replace
from pathlib import Path

from datasets import DatasetDict
from transformers import EarlyStoppingCallback

from amif import AmifVqaArguments, AmifVqaTrainer
from amif.training.checkpoints.lora import add_lora, finish_lora
from amif.training.checkpoints.model_card import write_model_card
from amif.training.checkpoints.model_files import local_folder
from amif.training.checkpoints.provenance import note_trained_on
from amif.training.checkpoints.resumable_files import check_output_folder, plan_run
from amif.training.data import load_questions
from amif.training.data.splits import default_eval_split
from amif.training.distributed import start_process
from amif.training.evaluation import (
    append_test_evaluation,
    candidate_answers,
    remove_partial_predictions,
    write_json,
    write_jsonl,
)
from amif.training.fine_tuning.answer_checks import check_training_answers
from amif.training.fine_tuning.arguments import DataArguments, ModelArguments
from amif.training.fine_tuning.evaluation import check_evaluation, evaluate, set_abstention_threshold
from amif.training.fine_tuning.model import build_model, new_modules
from amif.training.fine_tuning.splits import (
    limit_samples,
    load_splits,
    note_validation,
    refit_splits,
    training_rows,
)
from amif.training.recipes import parse_with_recipe
from amif.training.reports.tables import format_table

logger = logging.getLogger("run_vqa")

DEFAULT_RECIPE = Path(__file__).parent / "recipes" / "phantom.yaml"


def main() -> None:
    # 1. Arguments
    types = (ModelArguments, DataArguments, AmifVqaArguments)
    model_args, data_args, training_args = parse_with_recipe(types, sys.argv[1:], DEFAULT_RECIPE, do_train=True)

    check_evaluation(model_args, training_args)
    start = model_args.model_name_or_path or model_args.vision_model

    # 2. Logging, threads, seed
    start_process(training_args)
    check_output_folder(training_args.output_dir)
    plan = plan_run(training_args, model_args.model_name_or_path)
    model_args = replace(model_args, model_name_or_path=plan.start)

    # 3. Data
    whole = load_splits(data_args, plan.trains)
    if whole.keys() == {"test"}:
        data_args.dataset = data_args.predict_file or data_args.dataset
    splits = limit_samples(whole, data_args)
    if data_args.refit:
        splits, whole = (refit_splits(part, data_args, plan.arguments_of(training_args)) for part in (splits, whole))
    eval_split = data_args.eval_split or default_eval_split(splits)
    if eval_split not in splits:
        raise ValueError(f"--eval_split {eval_split}: {data_args.dataset} has {', '.join(splits)}.")
    for name, split in splits.items():
        logger.info(f"{data_args.dataset} {name}: {len(split)} questions, {len(set(split['image_id']))} images")

    if plan.trains:
        check_training_answers(splits["train"])

    # 4. Model and processor
    model, processor = build_model(model_args, data_args, splits, plan.trains)
    if model_args.attn_implementation is not None:
        model.set_attn_implementation(model_args.attn_implementation)
    note_validation(model, data_args, plan.trains, eval_split)
    if plan.trains:
        note_trained_on(model.config, [data_args.dataset, *(data_args.also_train_on or [])])

    if model_args.use_lora and plan.trains:
        if training_args.freeze_vision_encoder:
            model.model.vision_model.requires_grad_(False)  # before: what is frozen gets no adapters
        add_lora(model, model_args.lora_rank, new_modules(model_args))

    # 5. Trainer, which chooses among checkpoints on the validation split alone
    choosing = plan.trains and data_args.protocol != "generate"
    trainer = AmifVqaTrainer(
        model=model,
        args=plan.arguments_of(training_args),
        train_dataset=training_rows(splits["train"], whole, data_args) if plan.trains else None,
        eval_dataset=splits.get("validation"),
        processing_class=processor,
        candidates=candidate_answers("clean", splits, "validation") if choosing else None,
    )
    if data_args.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(data_args.early_stopping_patience))

    # 6. Training
    if plan.has_ended:
        trainer.recall_training()
    if plan.trains:
        trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        processor.answers = candidate_answers("clean", splits, "test")
        finish_lora(model, training_args.output_dir, save=training_args.should_save)
        trainer.save_model()
        trainer.save_state()

    checkpoint = training_args.output_dir if plan.trains else model_args.model_name_or_path
    # Nothing is written beside a checkpoint of the Hub, which lies in its cache.
    checkpoint_folder = checkpoint if Path(checkpoint).is_dir() else training_args.output_dir
    if data_args.abstention_error_rate is not None:
        set_abstention_threshold(trainer, splits, data_args)
        if trainer.is_world_process_zero():
            processor.save_pretrained(checkpoint_folder)

    # 7. Evaluation
    trained_on = data_args.dataset if plan.trains or plan.has_ended else None
    if data_args.predict_file is not None and splits.keys() != {"test"}:
        questions = load_questions(data_args.predict_file, **data_args.question_options)
        splits, eval_split = DatasetDict(splits | {"test": questions}), "test"
    if data_args.predict_file is not None:
        data_args.dataset = data_args.predict_file
    rows, metrics = evaluate(trainer, splits, eval_split, data_args)

    # 8. Results, and a record of any look at a test split
    if trainer.is_world_process_zero():
        if eval_split == "test" and metrics["overall"] is not None:
            append_test_evaluation(checkpoint_folder, metrics, local_folder(checkpoint))
        output = Path(training_args.output_dir)
        write_jsonl(output / "predictions.jsonl", rows)
        write_json(output / "metrics.json", metrics)
        write_model_card(output, metrics, start, model_args.text_model, trainer, trained_on)
        remove_partial_predictions(output)
        print(format_table(metrics))
    if training_args.push_to_hub:
        trainer.push_to_hub()


if __name__ == "__main__":
    main()
