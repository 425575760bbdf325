"""The model that pre-training starts from: a checkpoint, or a new one on pretrained encoders or from nothing."""

from itertools import islice

from datasets import Dataset, DatasetDict, IterableDataset
from transformers import PreTrainedConfig

from ...modeling_amif.dual_encoder_amif import AmifDualEncoder
from ...processing_amif import AmifProcessor
from ..checkpoints.model_files import load_checkpoint
from ..checkpoints.provenance import note_held_out, note_trained_on
from ..data.phantom import phantom_vqa_sentences
from ..processors import encoder_processor, small_processor
from ..small_model import small_pretraining_model
from .arguments import PretrainingDataArguments, PretrainingModelArguments
from .objectives import OBJECTIVES, objective_of

# What a small model's tokenizer is trained on.
_STREAMED_REPORTS = 5_000


def build_model(
    model_args: PretrainingModelArguments, data_args: PretrainingDataArguments, splits: DatasetDict
) -> tuple[AmifDualEncoder, AmifProcessor]:
    """A checkpoint, or a new model on pretrained encoders, or a small new model, in float32; with its processor.

    Args:
        model_args: What to build.
        data_args: Where the splits come from.
        splits: What is learned from; a small model's tokenizer is trained on it.

    Raises:
        ValueError: If the checkpoint was pre-trained with another objective, or is none of pre-training.
    """
    model_class, name = OBJECTIVES[model_args.objective].model, model_args.model_name_or_path
    if name is not None:
        if (found := objective_of(name)) != model_args.objective:
            raise ValueError(f"{name} was pre-trained with {found}: give --objective {found}.")
        model, processor = load_checkpoint(name, model_class)
    elif model_args.vision_model is None or model_args.text_model is None:
        size = model_args.image_size or 96
        processor = small_processor(tokenizer_sentences(data_args, splits), size)
        model = small_pretraining_model(processor, size, model_args.hidden_size, model_class, **model_args.config)
    else:
        processor = encoder_processor(model_args.vision_model, model_args.text_model, model_args.image_size)
        model = model_class.from_encoders(
            model_args.vision_model,
            model_args.text_model,
            image_size=image_size_of(processor),
            vision_layers=model_args.vision_layers,
            text_layers=model_args.text_layers,
            **model_args.config,
        )
    model_args.set_attention(model)
    return model, processor


def tokenizer_sentences(data_args: PretrainingDataArguments, splits: DatasetDict) -> list[str]:
    """The training reports; of phantom its questions too, so that a model fine-tuned on them reads whole words.

    Of a stream, whose images are read with them, only the first.
    """
    training: Dataset | IterableDataset = splits["train"]
    sentences = list(islice(training["text"], _STREAMED_REPORTS if isinstance(training, IterableDataset) else None))
    if any(source.dataset == "phantom" for source in data_args.data_sets):
        options = {} if data_args.num_studies is None else {"num_studies": data_args.num_studies}
        sentences += phantom_vqa_sentences(**options)
    return sentences


def image_size_of(processor: AmifProcessor) -> int:
    """Pixels on a side of the square images that a processor makes."""
    return processor.image_processor.size["height"]


def note_data(config: PreTrainedConfig, data_args: PretrainingDataArguments) -> None:
    """Keep in a checkpoint's configuration what it learns from, and which validation its pairs hold out.

    Raises:
        ValueError: If earlier pairs of a set held out another validation.
    """
    note_held_out(config, data_args.sets_without_validation(), data_args.validation_by)
    note_trained_on(config, data_args.sources)
