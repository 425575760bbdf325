"""Pre-train AMiF on image-report pairs.

Without arguments it trains a small model on generated studies and leaves it in `amif-pretrained/`:

    accelerate launch examples/run_pretraining.py

With pretrained encoders on real pairs, then the second stage from the first's checkpoint:

    accelerate launch examples/run_pretraining.py --dataset rocov2 --data_dir DIR \
        --vision_model NAME --text_model NAME --stage global --output_dir STAGE_ONE
    accelerate launch examples/run_pretraining.py --dataset rocov2 --data_dir DIR --model_name_or_path STAGE_ONE \
        --stage local --output_dir STAGE_TWO

Arguments may come from a JSON or YAML file, and those on the command line go before it.
"""

import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from datasets import DatasetDict
from transformers import AutoModel, AutoProcessor, set_seed

from amif import AmifForPreTraining, AmifPreTrainer, AmifPreTrainingArguments, AmifProcessor
from amif.training.checkpoints import check_model, check_output_folder
from amif.training.data import StrongAugmentation, load_pretraining_dataset
from amif.training.data.phantom import phantom_vqa_sentences
from amif.training.distributed import use_all_cpu_cores
from amif.training.encoder_processor import encoder_processor
from amif.training.evaluation import write_json
from amif.training.known_truth import has_known_truth, known_truth_metrics
from amif.training.model_card import write_pretraining_card
from amif.training.recipes import parse_with_recipe
from amif.training.resumable_trainer import resumes_newest, training_has_ended
from amif.training.small_model import small_pretraining_model, small_processor
from amif.training.teacher import add_teacher_embeddings, load_teacher

logger = logging.getLogger("run_pretraining")

DEFAULT_RECIPE = Path(__file__).parent / "recipes" / "phantom_pretraining.yaml"


@dataclass
class ModelArguments:
    """Which model to start from, and how to build it."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A pre-training checkpoint to go on from, or to evaluate."}
    )
    vision_model: str | None = field(default=None, metadata={"help": "Pretrained image encoder, a name or path."})
    text_model: str | None = field(default=None, metadata={"help": "Pretrained BERT-like text encoder, name or path."})
    image_size: int | None = field(default=None, metadata={"help": "Pixels on a side; default: the image processor's."})
    image_pooling: int = field(default=1, metadata={"help": "Average squares of so many patches on a side into one."})
    hidden_size: int = field(default=128, metadata={"help": "Width of a small new model."})
    num_co_attention_layers: int = field(default=6, metadata={"help": "Layers of each co-attention stack."})
    attention_probs_dropout_prob: float = field(default=0.1, metadata={"help": "Dropout on co-attention weights."})
    attn_implementation: str | None = field(
        default=None, metadata={"help": "sdpa, eager, ..; on a CPU eager trains small models in bf16 fastest."}
    )

    def __post_init__(self) -> None:
        if (self.vision_model is None) != (self.text_model is None):
            raise ValueError("Give --vision_model and --text_model together, or neither for a small new model.")


@dataclass
class DataArguments:
    """Which pairs to learn from."""

    dataset: str = field(
        default="phantom", metadata={"help": "phantom, mimic_cxr, roco, rocov2, medicat, vqa_pairs, your own."}
    )
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the data set."})
    image_column: str | None = field(default=None, metadata={"help": "Column of images in your own data."})
    text_column: str | None = field(default=None, metadata={"help": "Column of texts in your own data."})
    study_column: str | None = field(default=None, metadata={"help": "Column of study ids in your own data."})
    reports_dir: str | None = field(default=None, metadata={"help": "Folder of mimic_cxr's reports, if elsewhere."})
    vqa_dataset: str | None = field(default=None, metadata={"help": "The questions that vqa_pairs makes pairs of."})
    num_studies: int | None = field(default=None, metadata={"help": "How many studies phantom generates."})
    teacher: str = field(
        default="none",
        metadata={"help": "Whose embeddings make soft labels: none, amif:PATH, hf:NAME, open_clip:NAME, column:NAME."},
    )
    teacher_mode: str = field(
        default="cached", metadata={"help": "cached: each study is embedded once; online: as it is augmented."}
    )
    augment_images: bool = field(
        default=True, metadata={"help": "The paper's strong augmentation of each view; left and right never change."}
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first training studies."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first evaluated studies."})

    def __post_init__(self) -> None:
        if self.teacher_mode not in ("cached", "online"):
            raise ValueError(f"--teacher_mode {self.teacher_mode}: choose cached or online.")

    @property
    def reader_options(self) -> dict[str, str | int]:
        """What the data set's reader is told beside its folder."""
        names = ("image_column", "text_column", "study_column", "num_studies", "reports_dir", "vqa_dataset")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def main() -> None:
    # 1. Arguments
    types = (ModelArguments, DataArguments, AmifPreTrainingArguments)
    model_args, data_args, training_args = parse_with_recipe(types, sys.argv[1:], DEFAULT_RECIPE, do_train=True)

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

    # 3. Data
    splits = load_pretraining_dataset(data_args.dataset, data_args.data_dir, **data_args.reader_options)
    splits = limit_samples(splits, data_args)
    for name, split in splits.items():
        logger.info(f"{data_args.dataset} {name}: {len(split)} studies")
    teacher = load_teacher(data_args.teacher, training_args.device) if data_args.teacher_mode == "online" else None
    if teacher is None:
        with training_args.main_process_first():
            splits = add_teacher_embeddings(splits, data_args.teacher, training_args.device)

    # 4. Model and processor
    model, processor = build_model(model_args, data_args, splits)
    if model_args.attn_implementation is not None:
        model.set_attn_implementation(model_args.attn_implementation)

    # 5. Training
    augmentation = StrongAugmentation(image_size_of(processor), seed=training_args.seed)
    trainer = AmifPreTrainer(
        model=model,
        args=training_args,
        train_dataset=splits["train"] if training_args.do_train else None,
        eval_dataset=splits.get("validation"),
        processing_class=processor,
        augmentation=augmentation if data_args.augment_images else None,
        teacher=teacher,
    )
    if training_args.do_train:
        trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.save_state()

    # 6. Results: retrieval between images and reports that training never saw
    metrics = {
        name: trainer.evaluate(splits[name], metric_key_prefix=name)
        for name in ("validation", "test")
        if name in splits
    }
    if training_args.stage == "local":
        for name in metrics:
            if has_known_truth(splits[name]):
                metrics[name] |= known_truth_metrics(trainer, splits[name])
    if trainer.is_world_process_zero():
        output, start = training_args.output_dir, model_args.model_name_or_path or model_args.vision_model
        write_json(Path(output) / "metrics.json", metrics)
        write_pretraining_card(output, metrics, data_args.dataset, start, model_args.text_model, trainer)
        for name, values in metrics.items():
            recalls = {key: round(100 * value, 2) for key, value in values.items() if "recall" in key and "@" in key}
            print(f"{data_args.dataset}, {name}, {len(splits[name])} studies: {recalls}")
    if training_args.push_to_hub:
        trainer.push_to_hub()


def limit_samples(splits: DatasetDict, data_args: DataArguments) -> DatasetDict:
    limits = {"train": data_args.max_train_samples}
    return DatasetDict(
        {
            name: split.select(range(min(limits.get(name, data_args.max_eval_samples) or len(split), len(split))))
            for name, split in splits.items()
        }
    )


def build_model(
    model_args: ModelArguments, data_args: DataArguments, splits: DatasetDict
) -> tuple[AmifForPreTraining, AmifProcessor]:
    """A checkpoint, or a new model on pretrained encoders, or a small new model; with its processor."""
    if model_args.model_name_or_path is not None:
        name = model_args.model_name_or_path
        check_model(name)
        return AutoModel.from_pretrained(name, dtype="float32"), AutoProcessor.from_pretrained(name)
    config = {
        "image_pooling": model_args.image_pooling,
        "num_co_attention_layers": model_args.num_co_attention_layers,
        "attention_probs_dropout_prob": model_args.attention_probs_dropout_prob,
    }
    if model_args.vision_model is None:
        image_size = model_args.image_size or 96
        processor = small_processor(tokenizer_sentences(data_args, splits), image_size)
        return small_pretraining_model(processor, image_size, model_args.hidden_size, **config), processor
    processor = encoder_processor(model_args.vision_model, model_args.text_model, model_args.image_size)
    model = AmifForPreTraining.from_encoders(
        model_args.vision_model, model_args.text_model, image_size=image_size_of(processor), **config
    )
    return model, processor


def tokenizer_sentences(data_args: DataArguments, splits: DatasetDict) -> list[str]:
    """The training reports; of phantom its questions too, so that a model fine-tuned on them reads whole words."""
    sentences = list(splits["train"]["text"])
    if data_args.dataset == "phantom":
        options = {} if data_args.num_studies is None else {"num_studies": data_args.num_studies}
        sentences += phantom_vqa_sentences(**options)
    return sentences


def image_size_of(processor: AmifProcessor) -> int:
    return processor.image_processor.size["height"]


if __name__ == "__main__":
    main()
