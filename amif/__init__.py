"""amif: medical visual question answering with AMiF (arXiv 2510.08791), native to Hugging Face.

Importing it registers the Auto classes and the pipeline. Public names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForVisualQuestionAnswering,
    AutoProcessor,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .modeling_amif.aga_amif import AgaForPreTraining
from .modeling_amif.configuration_aga_amif import AgaConfig
from .modeling_amif.configuration_amif import AmifConfig
from .modeling_amif.configuration_mpma_amif import MpmaConfig
from .modeling_amif.modeling_amif import AmifModel
from .modeling_amif.mpma_amif import MpmaForPreTraining
from .modeling_amif.pipeline_amif import TASK, AmifVqaPipeline
from .modeling_amif.pretraining_amif import AmifForPreTraining
from .modeling_amif.vqa_amif import AmifForVisualQuestionAnswering
from .processing_amif.processing_amif import AmifProcessor

if TYPE_CHECKING:
    from .training.fine_tuning.trainer import AmifVqaTrainer
    from .training.fine_tuning.training_arguments import AmifVqaArguments
    from .training.pretraining.aga_trainer import AgaPreTrainer, AgaPreTrainingArguments
    from .training.pretraining.amif_trainer import AmifPreTrainer, AmifPreTrainingArguments
    from .training.pretraining.mpma_trainer import MpmaPreTrainer, MpmaPreTrainingArguments

__version__ = "0.1.0"

_TRAINING_NAMES = {
    "AgaPreTrainer": "pretraining.aga_trainer",
    "AgaPreTrainingArguments": "pretraining.aga_trainer",
    "AmifPreTrainer": "pretraining.amif_trainer",
    "AmifPreTrainingArguments": "pretraining.amif_trainer",
    "AmifVqaArguments": "fine_tuning.training_arguments",
    "AmifVqaTrainer": "fine_tuning.trainer",
    "MpmaPreTrainer": "pretraining.mpma_trainer",
    "MpmaPreTrainingArguments": "pretraining.mpma_trainer",
}

AutoConfig.register(AmifConfig.model_type, AmifConfig)
# A tuple: the checkpoint's `architectures` says which of them it holds.
AutoModel.register(AmifConfig, (AmifModel, AmifForVisualQuestionAnswering, AmifForPreTraining))
AutoConfig.register(AgaConfig.model_type, AgaConfig)
AutoModel.register(AgaConfig, AgaForPreTraining)
AutoConfig.register(MpmaConfig.model_type, MpmaConfig)
AutoModel.register(MpmaConfig, MpmaForPreTraining)
AutoModelForPreTraining.register(AmifConfig, AmifForPreTraining)
AutoModelForPreTraining.register(AgaConfig, AgaForPreTraining)
AutoModelForPreTraining.register(MpmaConfig, MpmaForPreTraining)
AutoModelForVisualQuestionAnswering.register(AmifConfig, AmifForVisualQuestionAnswering)
AutoProcessor.register(AmifConfig, AmifProcessor)
AutoProcessor.register(AgaConfig, AmifProcessor)
AutoProcessor.register(MpmaConfig, AmifProcessor)
PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=AmifVqaPipeline, pt_model=AutoModelForVisualQuestionAnswering, type="multimodal"
)


def __getattr__(name: str) -> Any:
    if name not in _TRAINING_NAMES:
        raise AttributeError(f"module 'amif' has no attribute {name!r}")
    return getattr(import_module(f".training.{_TRAINING_NAMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_TRAINING_NAMES])


__all__ = [
    "AgaConfig",
    "AgaForPreTraining",
    "AgaPreTrainer",
    "AgaPreTrainingArguments",
    "AmifConfig",
    "AmifForPreTraining",
    "AmifForVisualQuestionAnswering",
    "AmifModel",
    "AmifPreTrainer",
    "AmifPreTrainingArguments",
    "AmifProcessor",
    "AmifVqaArguments",
    "AmifVqaPipeline",
    "AmifVqaTrainer",
    "MpmaConfig",
    "MpmaForPreTraining",
    "MpmaPreTrainer",
    "MpmaPreTrainingArguments",
]
