"""Checks that hold for every model of transformers, for any class of this package: subclass, and pytest finds them."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

LAYERS, HEADS, WIDTH, PATCHES = 2, 4, 32, 16


class ModelTester:
    """The checks. A subclass names the class and builds its small configuration and inputs."""

    model_class: type[PreTrainedModel]
    # What else a class brings: inputs with which every parameter is used, and the parameters that none of them uses.
    training_inputs: dict[str, Any] = {}  # noqa: RUF012
    unused: tuple[str, ...] = ()
    takes_any_size = True

    @staticmethod
    def config() -> Any:
        raise NotImplementedError

    @staticmethod
    def inputs() -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    @cache
    def shared(cls) -> PreTrainedModel:
        """One model for the checks that do not change it, its weights spread so that differences show."""
        torch.manual_seed(0)
        model = cls.model_class(cls.config()).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        return model

    @pytest.fixture
    def model(self) -> PreTrainedModel:
        return copy.deepcopy(self.shared())

    @torch.no_grad()
    def outputs(self, model: PreTrainedModel, **options: Any) -> dict[str, torch.Tensor]:
        return flat(model(**(self.inputs() | options)))

    def total(self, output: ModelOutput) -> torch.Tensor:
        """A scalar that every output has a part in."""
        tensors = flat(output).values()
        return sum((tensor.float() * torch.linspace(-1, 1, tensor.numel()).view_as(tensor)).sum() for tensor in tensors)

    def test_tuples_hold_what_outputs_hold(self, model):
        whole = model(**self.inputs(), return_dict=True)
        parts = model(**self.inputs(), return_dict=False)
        assert isinstance(parts, tuple)
        assert_close(parts, whole.to_tuple())
        model.config.return_dict = False
        assert isinstance(model(**self.inputs()), tuple)

    def test_hidden_states_of_every_layer(self, model):
        """Asked for in the call or in the configuration, and absent where they are not."""
        assert not {"hidden_states", "text_model_output", "vision_model_output"} & model(**self.inputs()).keys()
        asked = model(**self.inputs(), output_hidden_states=True)
        for name in ("text_model_output", "vision_model_output"):
            states = asked[name].hidden_states
            assert [state.shape[0::2] for state in states] == [(len(states[0]), WIDTH)] * (LAYERS + 1)
        if "last_hidden_state" in asked:
            assert len(asked.hidden_states) == LAYERS + 1
            assert torch.equal(asked.hidden_states[-1], asked.last_hidden_state)
        model.config.output_hidden_states = True
        assert_close(flat(model(**self.inputs())), flat(asked))

    def test_attention_weights_of_every_layer(self, model):
        with pytest.raises(ValueError, match="set_attn_implementation"):
            model(**self.inputs(), output_attentions=True)
        model.set_attn_implementation("eager")
        asked = model(**self.inputs(), output_attentions=True)
        for name in ("text_model_output", "vision_model_output"):
            weights = asked[name].attentions
            assert [layer.shape[1] for layer in weights] == [HEADS] * LAYERS
            assert_close(weights[0].sum(-1), torch.ones_like(weights[0][..., 0]))

    def test_word_embeddings_in_place_of_tokens(self, model):
        inputs = self.inputs()
        ids = inputs.pop("input_ids")
        embeddings = model.get_input_embeddings()(ids)
        types = torch.zeros_like(ids)
        given = flat(model(**inputs, inputs_embeds=embeddings, token_type_ids=types))
        assert_close(given, flat(model(**inputs, input_ids=ids)))
        other = flat(model(**inputs, input_ids=ids, token_type_ids=types + 1))
        assert any(not torch.equal(other[name], given[name]) for name in given)
        with pytest.raises(ValueError, match="input_ids or as inputs_embeds"):
            model(**inputs, input_ids=ids, inputs_embeds=embeddings)

    def test_unknown_inputs_are_refused(self, model):
        with pytest.raises(TypeError, match="image_indx"):
            model(**self.inputs(), image_indx=torch.tensor([0]))

    @pytest.mark.parametrize("task", ["FEATURE_EXTRACTION", None])
    def test_adapters_train_and_answer(self, model, task):
        peft = pytest.importorskip("peft")
        expected = self.outputs(model)
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type=task, target_modules=["query", "value"]))
        assert_close(self.outputs(adapted), expected)
        self.total(adapted(**self.inputs(), output_hidden_states=True)).backward()
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in adapted.parameters())


def flat(output: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """All float tensors of an output, nested ones too, by name."""
    if isinstance(output, torch.Tensor):
        return {prefix: output} if output.is_floating_point() else {}
    if output is None:
        return {}
    items = output.items() if isinstance(output, dict) else enumerate(output)
    return {name: tensor for key, value in items for name, tensor in flat(value, f"{prefix}.{key}").items()}
