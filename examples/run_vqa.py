"""Fine-tune and evaluate AMiF on medical visual question answering.

Without arguments it trains a small model on the generated data set `phantom` and leaves it in `amif-vqa/`:

    accelerate launch examples/run_vqa.py

With pretrained encoders on a real data set:

    accelerate launch examples/run_vqa.py --dataset vqa_rad --data_dir DIR \
        --vision_model openai/clip-vit-base-patch16 --text_model emilyalsentzer/Bio_ClinicalBERT --output_dir OUT

Arguments may come from a JSON or YAML file, and those on the command line go before it:

    accelerate launch examples/run_vqa.py examples/recipes/slake.yaml --data_dir DIR --output_dir OUT
"""

import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import AutoProcessor, EarlyStoppingCallback, set_seed

from amif import AmifForVisualQuestionAnswering, AmifProcessor, AmifVqaArguments, AmifVqaTrainer
from amif.training.answer_checks import check_predictions_differ, check_training_answers, count_unreachable
from amif.training.checkpoints import check_model, check_output_folder, is_pretrained_only, local_folder
from amif.training.data import NAMED, ablate_images, load_questions, load_vqa_dataset
from amif.training.data.question_types import of_question_types
from amif.training.distributed import use_all_cpu_cores
from amif.training.encoder_processor import encoder_processor
from amif.training.evaluation import (
    acceptable_answers_of,
    append_test_evaluation,
    baseline_accuracies,
    build_metrics,
    candidate_answers,
    choose_abstention_threshold,
    evaluation_fingerprint,
    format_table,
    grounding,
    known_splits,
    prediction_rows,
    remove_partial_predictions,
    write_json,
    write_jsonl,
)
from amif.training.evaluation.protocols import ANSWERING_PROTOCOLS
from amif.training.joint_training import add_training_sets, leave_out_shown_images
from amif.training.knowledge import knowledge_ids
from amif.training.lora import add_lora, finish_lora
from amif.training.model_card import write_model_card
from amif.training.recipes import parse_with_recipe
from amif.training.resumable_trainer import resumes_newest, training_has_ended
from amif.training.small_model import small_model, small_processor
from amif.training.vqa_trainer import FUSION_MODULES, NEW_AFTER_PRETRAINING

logger = logging.getLogger("run_vqa")

DEFAULT_RECIPE = Path(__file__).parent / "recipes" / "phantom.yaml"


@dataclass
class ModelArguments:
    """Which model to start from, and how to build it."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A checkpoint to continue or evaluate, or one of pre-training."}
    )
    vision_model: str | None = field(default=None, metadata={"help": "Pretrained image encoder, a name or path."})
    text_model: str | None = field(default=None, metadata={"help": "Pretrained BERT-like text encoder, name or path."})
    decoder_model: str | None = field(
        default=None, metadata={"help": "Decoder's weights; default: the text encoder's."}
    )
    decoder_layers: int | None = field(default=None, metadata={"help": "Keep only so many decoder layers."})
    image_size: int | None = field(default=None, metadata={"help": "Pixels on a side; default: the image processor's."})
    image_pooling: int | None = field(
        default=None,
        metadata={
            "help": "Average squares of so many patches on a side into one; default: 1, or as the checkpoint was "
            "pre-trained."
        },
    )
    hidden_size: int = field(default=128, metadata={"help": "Width of a small new model."})
    new_co_attention: bool = field(
        default=False, metadata={"help": "From pre-training, take encoders and projections alone."}
    )
    num_co_attention_layers: int = field(default=6, metadata={"help": "Layers of each co-attention stack."})
    attention_probs_dropout_prob: float = field(default=0.1, metadata={"help": "Dropout on co-attention weights."})
    attn_implementation: str | None = field(
        default=None, metadata={"help": "sdpa, eager, ..; on a CPU eager trains small models in bf16 fastest."}
    )
    knowledge_fusion: str = field(default="gated", metadata={"help": "How knowledge is fused: gated, add or none."})
    use_lora: bool = field(
        default=False,
        metadata={
            "help": "Train low-rank adapters of the pretrained weights alone; what is new is trained as it is. Leaves "
            "the adapter in output_dir/adapter, and the whole model with the adapter merged in output_dir."
        },
    )
    lora_rank: int = field(default=8, metadata={"help": "Rank of the adapters."})

    def __post_init__(self) -> None:
        if (self.vision_model is None) != (self.text_model is None):
            raise ValueError("Give --vision_model and --text_model together, or neither for a small new model.")


@dataclass
class DataArguments:
    """Which data to learn from, and how to evaluate."""

    dataset: str = field(default="phantom", metadata={"help": f"{', '.join(NAMED)}, or your own file or Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the data set."})
    image_column: str | None = field(default=None, metadata={"help": "Column of images in your own data."})
    question_column: str | None = field(default=None, metadata={"help": "Column of questions in your own data."})
    answer_column: str | None = field(default=None, metadata={"help": "Column of answers in your own data."})
    image_dir: str | None = field(
        default=None, metadata={"help": "Folder or zip of your own images; default: the data file's folder."}
    )
    on_bad_row: str = field(
        default="error",
        metadata={"help": "error stops at an unusable row; skip lists such rows and goes on."},
    )
    also_train_on: list[str] | None = field(
        default=None,
        metadata={
            "help": "Further data sets whose training questions are trained on, each as name=folder. Images "
            "that the validation or test split shows too are left out; candidates stay those of --dataset."
        },
    )
    leave_out_images_of: list[str] | None = field(
        default=None,
        metadata={
            "help": "Data sets on which the model will be evaluated later, each as name=folder: training images that "
            "their validation or test split shows too are left out."
        },
    )
    train_question_types: list[str] | None = field(
        default=None,
        metadata={
            "help": "Train on these question types alone; what is evaluated, candidates and knowledge stay as they are."
        },
    )
    refit: bool = field(
        default=False,
        metadata={
            "help": "Train on the validation questions too. Fix the epochs beforehand: nothing is chosen on validation."
        },
    )
    validation_by: str = field(
        default="image",
        metadata={
            "help": "Where the data has no validation split, what one is made of: whole images (image); or, about "
            "images that training shows too, questions with all their rephrasings (question) or single rows (wording), "
            "as in VQA-RAD's official test."
        },
    )
    language: str | None = field(default=None, metadata={"help": "Language of SLAKE's questions: en (default) or zh."})
    num_studies: int | None = field(default=None, metadata={"help": "How many studies phantom generates."})
    knowledge: str = field(
        default="answers", metadata={"help": "Vocabulary fused as knowledge: answers, questions or none."}
    )
    eval_split: str | None = field(
        default=None, metadata={"help": "validation or test; default: test where it has answers, else validation."}
    )
    protocol: str = field(default="clean", metadata={"help": "Where candidates come from: clean, paper or generate."})
    ablate_image: str | None = field(default=None, metadata={"help": "Evaluate on blank or shuffled (shuffle) images."})
    grounding_shuffles: int | None = field(
        default=None, metadata={"help": "Also answer on blank and on so many shuffles of the images: does it look?"}
    )
    abstention_error_rate: float | None = field(
        default=None,
        metadata={
            "help": "Choose on validation, and save with the checkpoint, the score below which an answer can be "
            "withheld, so that at most this share of the answers given is wrong (0 to 1)."
        },
    )
    predict_file: str | None = field(default=None, metadata={"help": "File of questions to answer; none is scored."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first training questions."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first evaluated questions."})
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations on validation without a better one."}
    )

    def __post_init__(self) -> None:
        if self.protocol not in ANSWERING_PROTOCOLS:
            raise ValueError(f"--protocol {self.protocol}: it is one of {', '.join(ANSWERING_PROTOCOLS)}.")
        if self.ablate_image not in (None, "blank", "shuffle"):
            raise ValueError(f"--ablate_image {self.ablate_image}: it is blank or shuffle.")

    @property
    def column_names(self) -> dict[str, str]:
        """The columns named for one's own data, and where its images are."""
        return self._given("image_column", "question_column", "answer_column", "image_dir")

    @property
    def reader_options(self) -> dict[str, str | int]:
        """What the data set's reader is told beside its folder."""
        own = {} if self.dataset in NAMED else self.column_names
        return own | self._given("on_bad_row", "language", "num_studies")

    @property
    def question_options(self) -> dict[str, str | int]:
        """How `predict_file` is read."""
        return self._given("image_column", "question_column", "image_dir", "on_bad_row")

    def _given(self, *names: str) -> dict[str, str | int]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def main() -> None:
    # 1. Arguments
    types = (ModelArguments, DataArguments, AmifVqaArguments)
    model_args, data_args, training_args = parse_with_recipe(types, sys.argv[1:], DEFAULT_RECIPE, do_train=True)

    check_evaluation(model_args, training_args)
    start = model_args.model_name_or_path or model_args.vision_model

    # 2. Logging, threads, seed
    main_process = training_args.process_index == 0
    logging.basicConfig(level=logging.INFO if main_process else logging.WARNING, format="%(message)s")
    if training_args.use_cpu:
        logger.info(f"Running on the CPU with {use_all_cpu_cores()} threads.")
    set_seed(training_args.seed)
    check_output_folder(training_args.output_dir)
    resuming = training_args.do_train and resumes_newest(training_args.resume_from_checkpoint)
    if resuming and training_has_ended(training_args):
        logger.info(f"Training had ended: {training_args.output_dir} is evaluated.")
        training_args.do_train, model_args.model_name_or_path = False, training_args.output_dir
    if not training_args.do_train:
        training_args.eval_strategy = "no"  # or the Trainer asks for a validation split

    # 3. Data
    splits = limit_samples(load_splits(data_args, training_args.do_train), data_args)
    if data_args.refit:
        splits = refit_splits(splits, data_args, training_args)
    eval_split = data_args.eval_split or default_eval_split(splits)
    if eval_split not in splits:
        raise ValueError(f"--eval_split {eval_split}: {data_args.dataset} has {', '.join(splits)}.")
    for name, split in splits.items():
        logger.info(f"{data_args.dataset} {name}: {len(split)} questions, {len(set(split['image_id']))} images")

    if training_args.do_train:
        check_training_answers(splits["train"])

    # 4. Model and processor
    model, processor = build_model(model_args, data_args, splits, training_args.do_train)
    if model_args.attn_implementation is not None:
        model.set_attn_implementation(model_args.attn_implementation)
    note_validation(model, data_args, training_args.do_train, eval_split)

    if model_args.use_lora and training_args.do_train:
        if training_args.freeze_vision_encoder:
            model.model.vision_model.requires_grad_(False)  # before: what is frozen gets no adapters
        add_lora(model, model_args.lora_rank, new_modules(model_args))

    # 5. Trainer, which chooses among checkpoints on the validation split alone
    choosing = training_args.do_train and data_args.protocol != "generate"
    trainer = AmifVqaTrainer(
        model=model,
        args=training_args,
        train_dataset=training_rows(splits, data_args) if training_args.do_train else None,
        eval_dataset=splits.get("validation"),
        processing_class=processor,
        candidates=candidate_answers("clean", splits, "validation") if choosing else None,
    )
    if data_args.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(data_args.early_stopping_patience))

    # 6. Training
    if training_args.do_train:
        trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        processor.answers = candidate_answers("clean", splits, "test")
        finish_lora(model, training_args.output_dir, save=training_args.should_save)
        trainer.save_model()
        trainer.save_state()

    checkpoint = training_args.output_dir if training_args.do_train else model_args.model_name_or_path
    # Nothing is written beside a checkpoint of the Hub, which lies in its cache.
    checkpoint_folder = checkpoint if Path(checkpoint).is_dir() else training_args.output_dir
    if data_args.abstention_error_rate is not None:
        set_abstention_threshold(trainer, splits, data_args)
        if trainer.is_world_process_zero():
            processor.save_pretrained(checkpoint_folder)

    # 7. Evaluation
    if data_args.predict_file is not None and training_args.do_train:
        questions = load_questions(data_args.predict_file, **data_args.question_options)
        splits, eval_split = DatasetDict(splits | {"test": questions}), "test"
    if data_args.predict_file is not None:
        data_args.dataset = data_args.predict_file
    rows, metrics = evaluate(trainer, splits, eval_split, data_args)

    # 8. Results, and a record of any look at a test split
    if trainer.is_world_process_zero():
        output = Path(training_args.output_dir)
        write_jsonl(output / "predictions.jsonl", rows)
        write_json(output / "metrics.json", metrics)
        write_model_card(output, metrics, start, model_args.text_model, trainer)
        if eval_split == "test" and metrics["overall"] is not None:
            append_test_evaluation(checkpoint_folder, metrics, local_folder(checkpoint))
        remove_partial_predictions(output)
        print(format_table(metrics))
    if training_args.push_to_hub:
        trainer.push_to_hub()


def check_evaluation(model_args: ModelArguments, training_args: AmifVqaArguments) -> None:
    """Without training there must be a checkpoint that answers, and its folder must stay as training left it."""
    if training_args.do_train:
        return
    name = model_args.model_name_or_path
    if name is None or is_pretrained_only(name):
        raise ValueError("--do_train false evaluates a checkpoint that answers: name one as --model_name_or_path.")
    if Path(name).resolve() == Path(training_args.output_dir).resolve():
        raise ValueError(
            f"--output_dir {training_args.output_dir} is the checkpoint itself, whose metrics, predictions and card "
            "would be replaced: give another folder."
        )


def load_splits(data_args: DataArguments, training: bool) -> DatasetDict:
    """The splits of the data set; or, where new questions are only to be answered, these alone."""
    if data_args.predict_file is not None and not training and data_args.abstention_error_rate is None:
        return DatasetDict({"test": load_questions(data_args.predict_file, **data_args.question_options)})
    return load_vqa_dataset(
        data_args.dataset, data_args.data_dir, validation_by=data_args.validation_by, **data_args.reader_options
    )


def limit_samples(splits: DatasetDict, data_args: DataArguments) -> DatasetDict:
    limits = {"train": data_args.max_train_samples}
    return DatasetDict(
        {
            name: split.select(range(min(limits.get(name, data_args.max_eval_samples) or len(split), len(split))))
            for name, split in splits.items()
        }
    )


def refit_splits(splits: DatasetDict, data_args: DataArguments, training_args: AmifVqaArguments) -> DatasetDict:
    """Training and validation questions as one training split, beside the test split."""
    if training_args.eval_strategy != "no" or training_args.load_best_model_at_end:
        raise ValueError(
            "--refit trains on validation, so nothing can be chosen there: add --eval_strategy no and "
            "--load_best_model_at_end false."
        )
    if data_args.eval_split == "validation" or not {"validation", "test"} <= splits.keys():
        raise ValueError("--refit takes a data set with a validation and a test split, and evaluates on test.")
    if data_args.abstention_error_rate is not None:
        raise ValueError(
            "--abstention_error_rate chooses a threshold on validation, which --refit trains on: drop one."
        )
    training = concatenate_datasets([splits["train"], splits["validation"]])
    return DatasetDict({"train": training, "test": splits["test"]})


def reads_validation(data_args: DataArguments, training: bool, eval_split: str) -> bool:
    """Whether validation says which checkpoint is best, which threshold to set, or how good a checkpoint is."""
    evaluated = eval_split == "validation" and data_args.predict_file is None
    return training or evaluated or data_args.abstention_error_rate is not None


def note_validation(
    model: AmifForVisualQuestionAnswering, data_args: DataArguments, training: bool, eval_split: str
) -> None:
    """Keep in the checkpoint which validation questions it was not trained on, and refuse to choose by others later."""
    name, config = data_args.dataset, model.config
    refit_on, known = getattr(config, "refit_on", []), getattr(config, "validation_by", {})
    further = data_args.also_train_on if training else None
    used = {source.partition("=")[0]: "image" for source in further or ()} | {name: data_args.validation_by}
    if not data_args.refit and reads_validation(data_args, training, eval_split):
        if name in refit_on:
            raise ValueError(
                f"This checkpoint was trained on {name}'s validation questions too (--refit): they say "
                "nothing of it any more. Evaluate it on test, or start from another checkpoint."
            )
        for other, by in used.items():
            if known.get(other, by) != by:
                raise ValueError(
                    f"This checkpoint was trained on {other} with --validation_by {known[other]}: with {by}, training "
                    f"and validation of {other} may share questions. Give --validation_by {known[other]}, or leave "
                    f"{other} out of --also_train_on."
                )
    if training:
        config.validation_by = known | used
    if data_args.refit:
        config.refit_on = sorted({*refit_on, name})


def training_rows(splits: DatasetDict, data_args: DataArguments) -> Dataset:
    rows = splits["train"]
    if data_args.also_train_on is not None:
        rows = add_training_sets(splits, data_args.also_train_on)
        logger.info(f"{data_args.dataset} and further sets: {len(rows)} training questions")
    if data_args.train_question_types is not None:
        rows = of_question_types(rows, data_args.train_question_types)
        logger.info(f"Of types {', '.join(data_args.train_question_types)}: {len(rows)} training questions")
    return leave_out_shown_images(rows, data_args.leave_out_images_of) if data_args.leave_out_images_of else rows


def default_eval_split(splits: DatasetDict) -> str:
    has_answers = "test" in splits and any(answer is not None for answer in splits["test"]["answer"])
    return "test" if has_answers or "validation" not in splits else "validation"


def build_model(
    model_args: ModelArguments, data_args: DataArguments, splits: DatasetDict, training: bool
) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A checkpoint, or a new model on pre-training, on pretrained encoders or from nothing; with its processor.

    What is trained gets its knowledge from the training data; a checkpoint that is only evaluated, or adapted by LoRA,
    keeps its own.
    """
    if model_args.model_name_or_path is not None and not is_pretrained_only(model_args.model_name_or_path):
        model, processor = load_model(model_args.model_name_or_path)
        note_kept_image_size(model, model_args.image_size)
        if not training or (model_args.use_lora and model.config.knowledge_size):
            logger.info(f"Knowledge: the checkpoint's, {model.config.knowledge_size} tokens.")
            return model, processor
    else:
        if model_args.model_name_or_path is not None:
            build = build_model_on_pretraining
        else:
            build = build_small_model if model_args.vision_model is None else build_model_on_encoders
        config = {
            "num_co_attention_layers": model_args.num_co_attention_layers,
            "attention_probs_dropout_prob": model_args.attention_probs_dropout_prob,
            "knowledge_fusion": "none" if data_args.knowledge == "none" else model_args.knowledge_fusion,
        }
        if model_args.image_pooling is not None:
            config["image_pooling"] = model_args.image_pooling
        model, processor = build(model_args, splits, config)
    if model.knowledge_fusion is not None:
        set_knowledge(model, data_args.knowledge, splits, processor)
    return model, processor


def new_modules(model_args: ModelArguments) -> tuple[str, ...]:
    """Parts of names of the modules that the checkpoint or the encoders one starts from do not bring."""
    name = model_args.model_name_or_path
    if name is None:
        if model_args.vision_model is None:
            raise ValueError("--use_lora adapts pretrained weights: give --model_name_or_path, or both encoders.")
        return FUSION_MODULES
    return NEW_AFTER_PRETRAINING if is_pretrained_only(name) else ()


def load_model(name_or_path: str) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A checkpoint in float32, from safetensors alone, with its processor."""
    check_model(name_or_path)
    model = AmifForVisualQuestionAnswering.from_pretrained(name_or_path, dtype="float32", use_safetensors=True)
    return model, AutoProcessor.from_pretrained(name_or_path)


def note_kept_image_size(model: AmifForVisualQuestionAnswering, asked: int | None) -> None:
    kept = model.config.vision_config.image_size
    if asked not in (None, kept):
        logger.warning(f"--image_size {asked} is for new models: the checkpoint's images keep {kept} pixels a side.")


def set_knowledge(
    model: AmifForVisualQuestionAnswering, source: str, splits: DatasetDict, processor: AmifProcessor
) -> None:
    if source == "none":
        raise ValueError("--knowledge none: the checkpoint was trained with knowledge; give answers or questions.")
    model.set_knowledge(knowledge_ids(source, splits["train"], processor))
    logger.info(f"Knowledge: the training {source}, {model.config.knowledge_size} tokens.")


def build_small_model(
    model_args: ModelArguments, splits: DatasetDict, config: dict[str, object]
) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A small model from random initialisation, whose tokenizer is trained on the training questions and answers."""
    image_size = model_args.image_size or 96
    training = splits["train"]
    processor = small_processor([*training["question"], *filter(None, training["answer"])], image_size)
    return small_model(processor, image_size, model_args.hidden_size, **config), processor


def build_model_on_pretraining(
    model_args: ModelArguments, splits: DatasetDict, config: dict[str, object]
) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A model on a pre-training checkpoint, float32; co-attention is as deep as there."""
    name = model_args.model_name_or_path
    processor = AutoProcessor.from_pretrained(name)
    if model_args.image_size is not None:
        processor.image_processor.size = {"height": model_args.image_size, "width": model_args.image_size}
    config = {field: value for field, value in config.items() if field != "num_co_attention_layers"}
    model = AmifForVisualQuestionAnswering.from_pretraining(
        name,
        model_args.decoder_model,
        image_size=model_args.image_size,
        decoder_layers=model_args.decoder_layers,
        new_co_attention=model_args.new_co_attention,
        **config,
    )
    return model, processor


def build_model_on_encoders(
    model_args: ModelArguments, splits: DatasetDict, config: dict[str, object]
) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A model on pretrained encoders, float32."""
    processor = encoder_processor(model_args.vision_model, model_args.text_model, model_args.image_size)
    model = AmifForVisualQuestionAnswering.from_encoders(
        model_args.vision_model,
        model_args.text_model,
        model_args.decoder_model,
        image_size=processor.image_processor.size["height"],
        decoder_layers=model_args.decoder_layers,
        **config,
    )
    return model, processor


def evaluate(
    trainer: AmifVqaTrainer, splits: DatasetDict, eval_split: str, data_args: DataArguments
) -> tuple[list[dict], dict]:
    """Answer a split: the rows of predictions.jsonl and the content of metrics.json."""
    dataset, known = splits[eval_split], known_splits(splits, eval_split)
    if data_args.ablate_image is not None:
        dataset = ablate_images(dataset, data_args.ablate_image, trainer.args.seed)
    trainer.candidates = evaluation_candidates(trainer, splits, eval_split, data_args.protocol)
    acceptable = acceptable_answers_of(data_args.dataset)
    if trainer.candidates is not None:
        count_unreachable(dataset, trainer.candidates, acceptable)
    answers, scores = trainer.predict_answers(dataset, trainer.args.output_dir)
    check_predictions_differ(answers, dataset["answer"])
    rows = prediction_rows(dataset, answers, scores, acceptable)
    metrics = build_metrics(
        rows,
        protocol=data_args.protocol,
        dataset_name=data_args.dataset,
        split=eval_split,
        baselines=baseline_accuracies(concatenate_datasets(known), dataset, acceptable) if known else {},
        fingerprint=evaluation_fingerprint(
            rows, protocol=data_args.protocol, seed=trainer.args.seed, command=" ".join(sys.argv)
        ),
        abstention_threshold=trainer.processing_class.abstention_threshold,
    )
    if data_args.grounding_shuffles is not None:
        metrics["grounding"] = measure_grounding(trainer, dataset, rows, data_args)
    return rows, metrics | {"ablate_image": data_args.ablate_image, "refit": data_args.refit}


def evaluation_candidates(
    trainer: AmifVqaTrainer, splits: DatasetDict, eval_split: str, protocol: str
) -> list[str] | None:
    """The protocol's candidates; where no other split is there, those that the checkpoint brings are the clean ones."""
    own = trainer.processing_class.answers
    if protocol == "clean" and own and not known_splits(splits, eval_split):
        logger.info(f"Candidates: the {len(own)} answers that the checkpoint brings.")
        return own
    return candidate_answers(protocol, splits, eval_split)


def measure_grounding(trainer: AmifVqaTrainer, dataset: Dataset, rows: list[dict], data_args: DataArguments) -> dict:
    """The same questions on blank images and on several shuffles, beside `rows` on the real ones."""
    seeds = range(trainer.args.seed, trainer.args.seed + data_args.grounding_shuffles)
    ablated = [ablate_images(dataset, "blank"), *(ablate_images(dataset, "shuffle", seed) for seed in seeds)]
    acceptable = acceptable_answers_of(data_args.dataset)
    blank, *shuffled = (prediction_rows(other, *trainer.predict_answers(other), acceptable) for other in ablated)
    return grounding(rows, blank, shuffled)


def set_abstention_threshold(trainer: AmifVqaTrainer, splits: DatasetDict, data_args: DataArguments) -> None:
    """The processor's threshold, from answers to the validation split under the clean protocol."""
    if "validation" not in splits:
        raise ValueError("--abstention_error_rate chooses a threshold on the validation split, and there is none.")
    trainer.candidates = candidate_answers("clean", splits, "validation")
    answers = trainer.predict_answers(splits["validation"])
    rows = prediction_rows(splits["validation"], *answers, acceptable_answers_of(data_args.dataset))
    threshold = choose_abstention_threshold(rows, data_args.abstention_error_rate)
    trainer.processing_class.abstention_threshold = threshold
    if threshold is None:
        logger.warning("No threshold reaches --abstention_error_rate on validation: no answer would be withheld.")
    else:
        logger.info(f"Answers can be withheld below the score {threshold:.4f}, chosen on validation.")


if __name__ == "__main__":
    main()
