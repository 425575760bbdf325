"""The model that a run starts from: a checkpoint, or a new one on pre-training, on encoders or from nothing."""

import copy

from datasets import DatasetDict
from transformers import AutoProcessor, PreTrainedConfig
from transformers.utils import logging

from ...modeling_amif.configuration_amif import AmifConfig
from ...modeling_amif.encoder_loading_amif import check_image_size, copy_weights
from ...modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from ...processing_amif import AmifProcessor
from ..checkpoints.lora import add_lora
from ..checkpoints.model_files import is_pretrained_only, load_checkpoint
from ..data.references import answers_of
from ..model_arguments import ConfigField
from ..pretraining.objectives import objective_of
from ..processors import encoder_processor, set_image_size, small_processor
from ..small_model import small_model
from .arguments import FineTuningDataArguments, VqaModelArguments
from .knowledge import knowledge_ids
from .parameter_groups import FUSION_MODULES, NEW_AFTER_PRETRAINING, OF_VIEWS

logger = logging.get_logger(__name__)


def build_model(
    model_args: VqaModelArguments, data_args: FineTuningDataArguments, splits: DatasetDict, training: bool
) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A checkpoint, or a new model on pre-training, on pretrained encoders or from nothing; with its processor.

    What is trained gets its knowledge from the training data; a checkpoint that is only evaluated, or adapted by LoRA,
    keeps its own.

    Raises:
        ValueError: If the arguments do not fit each other or the checkpoint.
    """
    name = model_args.model_name_or_path
    keeps_knowledge = False
    if name is not None and not is_pretrained_only(name):
        model, processor = load_checkpoint(name, AmifForVisualQuestionAnswering)
        if training:
            _warn_of_new_parts(model_args, model.config)
            model = at_image_size(model, processor, model_args.image_size, model_args.image_pooling)
        else:
            asked, kept = model_args.image_size, model.config.vision_config.image_size
            if asked not in (None, kept):
                logger.warning(
                    f"--image_size {asked} is for training: the checkpoint's images keep {kept} pixels a side."
                )
        keeps_knowledge = not training or (model_args.use_lora and model.config.knowledge_size > 0)
    elif name is not None:
        model, processor = build_model_on_pretraining(name, model_args, _config(model_args, data_args))
    elif model_args.vision_model is None or model_args.text_model is None:  # neither, as the arguments say
        model, processor = build_small_model(model_args, splits, _config(model_args, data_args))
    else:
        model, processor = build_model_on_encoders(
            model_args.vision_model, model_args.text_model, model_args, _config(model_args, data_args)
        )
    if keeps_knowledge:
        logger.info(f"Knowledge: the checkpoint's, {model.config.knowledge_size} tokens.")
        if training and data_args.knowledge != "answers":
            logger.warning(
                f"--knowledge {data_args.knowledge} changes nothing: adapters keep the checkpoint's knowledge."
            )
    elif model.knowledge_fusion is not None:
        set_knowledge(model, data_args.knowledge, splits, processor)
    model_args.set_attention(model)
    return model, processor


def _warn_of_new_parts(model_args: VqaModelArguments, config: AmifConfig) -> None:
    """Name the arguments of a new decoder or co-attention, which a checkpoint that answers has already."""
    kept = {"decoder_model": None, "decoder_layers": config.decoder_config.num_hidden_layers, "new_co_attention": False}
    for name, value in kept.items():
        if getattr(model_args, name) not in (None, value):
            logger.warning(f"--{name} is for a new model: the checkpoint's stays as it is.")


def _config(model_args: VqaModelArguments, data_args: FineTuningDataArguments) -> dict[str, ConfigField]:
    """Fields of a new model's configuration."""
    config = {
        "attention_probs_dropout_prob": model_args.attention_probs_dropout_prob,
        "knowledge_fusion": "none" if data_args.knowledge == "none" else model_args.knowledge_fusion,
        "knowledge_zero_init": model_args.knowledge_zero_init,
        # Of a checkpoint, the projection fits its own alone.
        "vision_feature_layer": None if model_args.model_name_or_path else model_args.vision_feature_layer,
        "image_pooling": model_args.image_pooling,
        "num_co_attention_layers": model_args.num_co_attention_layers,
        "num_attention_heads": model_args.num_attention_heads,
    }
    return {name: value for name, value in config.items() if value is not None}


def adapt(model: AmifForVisualQuestionAnswering, model_args: VqaModelArguments, freeze_vision_encoder: bool) -> None:
    """Give a model adapters to be trained in place of what is pretrained, where `use_lora` asks for them.

    Args:
        model: The model, changed in place.
        model_args: The arguments it was built by.
        freeze_vision_encoder: Whether the vision encoder gets none.

    Raises:
        ValueError: If the model has no pretrained weights.
        ImportError: If peft is not installed.
    """
    if not model_args.use_lora:
        return
    if freeze_vision_encoder:
        model.model.vision_model.requires_grad_(False)
    add_lora(model, model_args.lora_rank, new_modules(model_args))


def new_modules(model_args: VqaModelArguments) -> tuple[str, ...]:
    """Parts of names of the modules that the checkpoint or the encoders one starts from do not bring."""
    name = model_args.model_name_or_path
    if name is None:
        if model_args.vision_model is None:
            raise ValueError("--use_lora adapts pretrained weights: give --model_name_or_path, or both encoders.")
        return FUSION_MODULES
    return NEW_AFTER_PRETRAINING if is_pretrained_only(name) else OF_VIEWS


def at_image_size(
    model: AmifForVisualQuestionAnswering,
    processor: AmifProcessor,
    image_size: int | None = None,
    image_pooling: int | None = None,
) -> AmifForVisualQuestionAnswering:
    """The same weights for images of another size: position embeddings are resized, and the processor told.

    Args:
        model: A trained model; where size and pooling stay as they are, it is returned itself.
        processor: Its processor, changed in place.
        image_size: Pixels on a side; None keeps the model's.
        image_pooling: Side of the square of patches that is averaged into one; None keeps the model's.

    Raises:
        ValueError: If the patches do not divide `image_size`, or `image_pooling` not the grid of patches.
    """
    config = copy.deepcopy(model.config)
    if image_size is not None:
        check_image_size(image_size, getattr(config.vision_config, "patch_size", None))
        set_image_size(processor.image_processor, image_size)
        config.vision_config.image_size = image_size
    if image_pooling is not None:
        config.image_pooling = image_pooling
    if (old := _size_and_pooling(model.config)) == (new := _size_and_pooling(config)):
        return model
    _check_pooling(config.image_pooling, config.vision_config)
    logger.info("Images: {} pixels a side, pooled by {}; the checkpoint's: {}, {}.".format(*new, *old))
    resized = type(model)(config)
    copy_weights(model, resized)
    return resized


def _check_pooling(image_pooling: int, vision_config: PreTrainedConfig) -> None:
    image_size, patch_size = vision_config.image_size, getattr(vision_config, "patch_size", None)
    if isinstance(image_size, int) and isinstance(patch_size, int) and image_size // patch_size % image_pooling:
        patches = f"{image_size // patch_size} patches on a side of {image_size} pixels"
        raise ValueError(f"--image_pooling {image_pooling} does not divide the {patches}.")


def _size_and_pooling(config: AmifConfig) -> tuple[int, int]:
    return config.vision_config.image_size, config.image_pooling


def set_knowledge(
    model: AmifForVisualQuestionAnswering, source: str, splits: DatasetDict, processor: AmifProcessor
) -> None:
    """Give the model its vocabulary of knowledge: the answers or questions of `splits`, or none."""
    if source == "none":
        raise ValueError("--knowledge none: the checkpoint was trained with knowledge; give answers or questions.")
    model.set_knowledge(knowledge_ids(source, splits["train"], processor))
    logger.info(f"Knowledge: the training {source}, {model.config.knowledge_size} tokens.")


def build_small_model(
    model_args: VqaModelArguments, splits: DatasetDict, config: dict[str, ConfigField]
) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A small model from random initialisation, whose tokenizer is trained on the training questions and answers."""
    image_size = model_args.image_size or 96
    training = splits["train"]
    answers = [str(answer) for several in training["answer"] for answer in answers_of(several)]
    logger.info("A small new model: its tokenizer learns the words of the training questions and answers.")
    processor = small_processor([*training["question"], *answers], image_size)
    config = {"num_co_attention_layers": 6} | config  # as on encoders
    layers = model_args.decoder_layers or 2
    shape = {"decoder_layers": layers, "initializer_range": model_args.initializer_range}
    return small_model(processor, image_size, model_args.hidden_size, **shape, **config), processor


def build_model_on_pretraining(
    name: str, model_args: VqaModelArguments, config: dict[str, ConfigField]
) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A model on the pre-training checkpoint `name`, float32; a co-attention that is taken over stays as deep."""
    processor = AutoProcessor.from_pretrained(name, trust_remote_code=False)
    if model_args.image_size is not None:
        set_image_size(processor.image_processor, model_args.image_size)
    if not model_args.new_co_attention and objective_of(name) == "amif":
        for option in ("num_co_attention_layers", "num_attention_heads"):
            if config.pop(option, None):
                logger.warning(f"--{option} is for a new co-attention: the checkpoint's stays as it is.")
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
    vision_model: str, text_model: str, model_args: VqaModelArguments, config: dict[str, ConfigField]
) -> tuple[AmifForVisualQuestionAnswering, AmifProcessor]:
    """A model on pretrained encoders, float32."""
    processor = encoder_processor(vision_model, text_model, model_args.image_size)
    model = AmifForVisualQuestionAnswering.from_encoders(
        vision_model,
        text_model,
        model_args.decoder_model,
        image_size=processor.image_processor.size["height"],
        vision_layers=model_args.vision_layers,
        text_layers=model_args.text_layers,
        decoder_layers=model_args.decoder_layers,
        **config,
    )
    return model, processor
