"""How the trainers read a checkpoint back."""

import torch
from transformers import Trainer

from .lora import has_lora, load_lora, refuse_adapter


class CheckpointLoading(Trainer):
    """Reads weights through `from_pretrained`.

    Encoders are saved under other names than they have in memory. Only `from_pretrained` knows both; the Trainer's own
    loading would leave such weights as they are, with no more than a warning. Of a model with adapters a checkpoint
    holds the adapters alone.
    """

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        elif self.state.best_model_checkpoint is not None:
            self._load_weights(self.state.best_model_checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_weights(resume_from_checkpoint)

    def _load_weights(self, checkpoint: str) -> None:
        model = self.accelerator.unwrap_model(self.model)
        if has_lora(model):
            load_lora(model, checkpoint)
            return
        refuse_adapter(checkpoint)
        loaded = type(model).from_pretrained(checkpoint, dtype=torch.float32, use_safetensors=True)
        model.load_state_dict(loaded.state_dict())
