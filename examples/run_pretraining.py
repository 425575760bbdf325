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

import json
import logging
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from datasets import DatasetDict
from transformers import AutoModel, AutoProcessor, PreTrainedConfig, PreTrainedModel, set_seed

from amif import AmifProcessor
from amif.training.checkpoints.model_card import write_pretraining_card
from amif.training.checkpoints.model_files import check_evaluated_checkpoint
from amif.training.checkpoints.provenance import note_held_out, note_trained_on
from amif.training.checkpoints.resumable_files import check_output_folder, resumes_newest, training_has_ended
from amif.training.data import StrongAugmentation, load_vqa_dataset
from amif.training.data.mixtures import add_vqa_pairs, has_validation
from amif.training.data.phantom.datasets import phantom_vqa_sentences
from amif.training.distributed import use_all_cpu_cores
from amif.training.evaluation import write_json
from amif.training.pretraining.arguments import PairArguments
from amif.training.pretraining.ground_truth import known_truth_metrics
from amif.training.pretraining.objectives import OBJECTIVES, objective_of
from amif.training.pretraining.teacher import add_teacher_embeddings, load_teacher
from amif.training.processors import encoder_processor, small_processor
from amif.training.recipes import choice_ahead, parse_with_recipe
from amif.training.small_model import small_pretraining_model

logger = logging.getLogger("run_pretraining")

DEFAULT_RECIPE = Path(__file__).parent / "recipes" / "phantom_pretraining.yaml"


@dataclass
class ModelArguments:
    """Which model to start from, and how to build it."""

    objective: str = field(default="amif", metadata={"help": "amif, aga or mpma."})
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A pre-training checkpoint of the objective to go on from, or to evaluate."}
    )
    vision_model: str | None = field(default=None, metadata={"help": "Pretrained image encoder, a name or path."})
    text_model: str | None = field(default=None, metadata={"help": "Pretrained BERT-like text encoder, name or path."})
    vision_layers: int | None = field(
        default=None, metadata={"help": "Keep only the first so many layers of --vision_model; default: all."}
    )
    text_layers: int | None = field(default=None, metadata={"help": "Likewise of --text_model."})
    image_size: int | None = field(default=None, metadata={"help": "Pixels on a side; default: the image processor's."})
    image_pooling: int = field(default=1, metadata={"help": "Average squares of so many patches on a side into one."})
    pooling_mode: str = field(
        default="cls",
        metadata={"help": "A whole image or text is its class token, cls, or the mean of its tokens, mean."},
    )
    hidden_size: int = field(default=128, metadata={"help": "Width of a small new model."})
    num_co_attention_layers: int = field(default=6, metadata={"help": "Layers of each co-attention stack."})
    attention_probs_dropout_prob: float = field(default=0.1, metadata={"help": "Dropout on co-attention weights."})
    hidden_dropout_prob: float | None = field(
        default=None, metadata={"help": "Dropout on co-attention's outputs; default: 0.1, 0 in a small new model."}
    )
    attn_implementation: str | None = field(
        default=None, metadata={"help": "sdpa, eager, ..; on a CPU eager trains small models in bf16 fastest."}
    )

    # What only this objective's configuration has.
    own_fields: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if (self.vision_model is None) != (self.text_model is None):
            raise ValueError("Give --vision_model and --text_model together, or neither for a small new model.")
        if self.vision_model is None and {self.vision_layers, self.text_layers} != {None}:
            raise ValueError("--vision_layers and --text_layers shorten --vision_model and --text_model: give those.")

    @property
    def config(self) -> dict[str, object]:
        """Fields of a new model's configuration."""
        names = (
            "image_pooling",
            "pooling_mode",
            "num_co_attention_layers",
            "attention_probs_dropout_prob",
            "hidden_dropout_prob",
            *self.own_fields,
        )
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass
class AgaModelArguments(ModelArguments):
    """What only AGA's model has."""

    alignment_size: int | None = field(
        default=None, metadata={"help": "Width in which tokens and patches are grouped."}
    )
    gate: str = field(default="per_item", metadata={"help": "Thresholds: learned per_item or per_pair, or fixed."})

    own_fields: ClassVar[tuple[str, ...]] = ("alignment_size", "gate")


@dataclass
class MpmaModelArguments(ModelArguments):
    """What only MPMA's model has; what is not given is as its configuration says, or small in a small new model."""

    alignment_size: int | None = field(
        default=None, metadata={"help": "Width in which tokens and patches are aligned."}
    )
    memory_size: int | None = field(default=None, metadata={"help": "Rows of the shared memory; 0 leaves it out."})
    memory_top_k: int | None = field(default=None, metadata={"help": "Rows that each head reads; 0 reads all."})
    fusion: str = field(default="attention", metadata={"help": "Report reads image by attention, addition or none."})
    num_fusion_layers: int | None = field(default=None, metadata={"help": "Layers of attention fusion."})
    image_decoder_layers: int | None = field(default=None, metadata={"help": "Blocks of the image decoder."})
    image_decoder_size: int | None = field(default=None, metadata={"help": "Width of the image decoder."})

    own_fields: ClassVar[tuple[str, ...]] = (
        *("alignment_size", "memory_size", "memory_top_k", "fusion", "num_fusion_layers"),
        *("image_decoder_layers", "image_decoder_size"),
    )


MODEL_ARGUMENTS = {"amif": ModelArguments, "aga": AgaModelArguments, "mpma": MpmaModelArguments}


@dataclass
class DataArguments(PairArguments):
    """Which pairs to learn from, and how."""

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

    add_vqa_pairs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Also learn from pairs made of the training questions of VQA sets, each as name=folder; images "
            "that one of them shows in validation or test are left out."
        },
    )
    validation_by: str = field(
        default="image",
        metadata={
            "help": "Where --vqa_dataset or a set of --add_vqa_pairs has no validation split, what one is made of: "
            "image, question or wording. With the last two the images that it evaluates stay, as in VQA-RAD's official "
            "split, without the validation questions about them."
        },
    )

    @property
    def reader_options(self) -> dict[str, str | int]:
        """What the data set's reader is told beside its folder."""
        made = {} if self.vqa_dataset is None else {"validation_by": self.validation_by}
        return super().reader_options | made

    def __post_init__(self) -> None:
        if self.teacher_mode not in ("cached", "online"):
            raise ValueError(f"--teacher_mode {self.teacher_mode}: choose cached or online.")


def main() -> None:
    # 1. Arguments
    chosen = choice_ahead(sys.argv[1:], "objective", list(OBJECTIVES))
    objective = OBJECTIVES[chosen]
    types = (MODEL_ARGUMENTS[chosen], DataArguments, objective.arguments)
    model_args, data_args, training_args = parse_with_recipe(types, sys.argv[1:], DEFAULT_RECIPE, do_train=True)

    if not training_args.do_train:
        check_evaluated_checkpoint(model_args.model_name_or_path, training_args.output_dir)

    # 2. Logging, threads, seed
    main_process = training_args.process_index == 0
    logging.basicConfig(level=logging.INFO if main_process else logging.WARNING, format="%(message)s")
    if training_args.use_cpu:
        logger.info(f"Running on the CPU with {use_all_cpu_cores()} threads.")
    set_seed(training_args.seed)
    check_output_folder(training_args.output_dir)
    start = model_args.model_name_or_path or model_args.vision_model
    metrics, metrics_file = {}, Path(training_args.output_dir) / "metrics.json"
    resuming = training_args.do_train and resumes_newest(training_args.resume_from_checkpoint)
    if ended := resuming and training_has_ended(training_args):
        stored = json.loads(metrics_file.read_text(encoding="utf-8")) if metrics_file.is_file() else {}
        if "training" in stored:
            metrics["training"] = stored["training"]
        logger.info(f"Training had ended: {training_args.output_dir} is evaluated.")
        training_args.do_train, model_args.model_name_or_path = False, training_args.output_dir

    # 3. Data
    splits = data_args.load()
    if data_args.add_vqa_pairs is not None:
        splits["train"] = add_vqa_pairs(splits["train"], data_args.add_vqa_pairs, data_args.validation_by)
    for split, studies in splits.items():
        logger.info(f"{data_args.dataset} {split}: {len(studies)} studies")
    if chosen != "amif" and data_args.teacher != "none":
        raise ValueError(f"--teacher makes AMiF's soft labels; --objective {chosen} has none.")
    teacher = load_teacher(data_args.teacher, training_args.device) if data_args.teacher_mode == "online" else None
    if teacher is None:
        with training_args.main_process_first():
            splits = add_teacher_embeddings(splits, data_args.teacher, training_args.device)

    # 4. Model and processor
    model, processor = build_model(model_args, data_args, splits)
    if model_args.attn_implementation is not None:
        model.set_attn_implementation(model_args.attn_implementation)
    if training_args.do_train:
        note_data(model.config, data_args)

    # 5. Training
    augmentation = StrongAugmentation(image_size_of(processor), seed=training_args.seed)
    trainer = objective.trainer(
        model=model,
        args=training_args,
        train_dataset=splits["train"] if training_args.do_train else None,
        eval_dataset=splits.get("validation"),
        processing_class=processor,
        augmentation=augmentation if data_args.augment_images else None,
        **({} if teacher is None else {"teacher": teacher}),
    )
    if ended:
        trainer.recall_training()
    if training_args.do_train:
        trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        metrics["training"] = trainer.cost
        if main_process:
            write_json(metrics_file, metrics)  # before what marks the end: a run that is killed now is only evaluated
        trainer.save_state()

    # 6. Results: retrieval between images and reports that training never saw
    for split in [name for name in ("validation", "test") if name in splits]:
        metrics[split] = trainer.evaluate(splits[split], metric_key_prefix=split)
        truth = known_truth_metrics(trainer, splits[split])
        metrics[split] |= {name: value for name, value in truth.items() if not math.isnan(value)}
        recalls = {
            key: round(100 * value, 2) for key, value in metrics[split].items() if "recall" in key and "@" in key
        }
        if main_process:
            print(f"{data_args.dataset}, {split}, {len(splits[split])} studies: {recalls}")
    if main_process:
        output = training_args.output_dir
        write_json(metrics_file, metrics)
        write_pretraining_card(
            output, metrics, data_args.dataset, start, model_args.text_model, trainer, objective.description
        )
    if training_args.push_to_hub:
        trainer.push_to_hub()


def build_model(
    model_args: ModelArguments, data_args: DataArguments, splits: DatasetDict
) -> tuple[PreTrainedModel, AmifProcessor]:
    """A checkpoint, or a new model on pretrained encoders, or a small new model; with its processor."""
    model_class = OBJECTIVES[model_args.objective].model
    if model_args.model_name_or_path is not None:
        name = model_args.model_name_or_path
        if (found := objective_of(name)) != model_args.objective:
            raise ValueError(f"{name} was pre-trained with {found}: give --objective {found}.")
        return AutoModel.from_pretrained(name, dtype="float32"), AutoProcessor.from_pretrained(name)
    if model_args.vision_model is None:
        image_size = model_args.image_size or 96
        processor = small_processor(tokenizer_sentences(data_args, splits), image_size)
        model = small_pretraining_model(processor, image_size, model_args.hidden_size, model_class, **model_args.config)
        return model, processor
    processor = encoder_processor(model_args.vision_model, model_args.text_model, model_args.image_size)
    model = model_class.from_encoders(
        model_args.vision_model,
        model_args.text_model,
        image_size=image_size_of(processor),
        vision_layers=model_args.vision_layers,
        text_layers=model_args.text_layers,
        **model_args.config,
    )
    return model, processor


def note_data(config: PreTrainedConfig, data_args: DataArguments) -> None:
    """Keep in a checkpoint's configuration what it learns from, and which validation its pairs hold out."""
    added, vqa_dataset = data_args.add_vqa_pairs or [], data_args.vqa_dataset
    made = [source.partition("=")[0] for source in added if not has_validation(source)]
    if vqa_dataset is not None:
        options = data_args.reader_options | {"validation_by": None}
        options.pop("vqa_dataset")
        if "validation" not in load_vqa_dataset(vqa_dataset, data_args.data_dir, **options):
            made.append(vqa_dataset)
    note_held_out(config, made, data_args.validation_by)
    note_trained_on(config, [vqa_dataset or data_args.dataset, *added])


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
