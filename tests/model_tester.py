"""Checks that hold for every model of transformers, for any class of this package: subclass, and pytest finds them."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
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
    projection = "model.image_projection"

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
        """Asked of a model whose attention keeps none, sdpa, which is the default."""
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

    def test_saved_and_loaded(self, model, tmp_path):
        """Whole and in shards, with no key missing or left over."""
        for name, options in (("whole", {}), ("shards", {"max_shard_size": "50KB"})):
            model.save_pretrained(tmp_path / name, **options)
            loaded, info = self.model_class.from_pretrained(tmp_path / name, output_loading_info=True)
            assert not any(info.values()), info
            assert_close(self.outputs(loaded), self.outputs(model), rtol=0, atol=0)
        assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2

    def test_missing_and_unexpected_keys_are_told(self, model, tmp_path):
        state = model.state_dict()
        gone = "model.image_projection.weight" if hasattr(model, "model") else "image_projection.weight"
        state["odd"] = torch.ones(2)
        del state[gone]
        model.save_pretrained(tmp_path, state_dict=state)
        loaded, info = self.model_class.from_pretrained(tmp_path, output_loading_info=True)
        assert set(info["missing_keys"]) == {gone}
        assert set(info["unexpected_keys"]) == {"odd"}
        assert 0 < loaded.get_parameter(gone).std() < 0.1

    def test_every_weight_is_set_at_initialisation(self):
        """On memory that holds NaN, as a checkpoint without the weight leaves it."""
        with torch.device("meta"):
            model = self.model_class(self.config())
        model = model.to_empty(device="cpu")
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
        for module in model.modules():
            module._is_hf_initialized = False
        model.init_weights()
        wrong = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
        assert not wrong

    def test_tied_weights_stay_tied(self, model, tmp_path):
        def same() -> bool:
            head = loaded.get_output_embeddings()
            tables = [loaded.get_input_embeddings(), getattr(loaded, "decoder", loaded).get_input_embeddings()]
            return head is None or head.weight.data_ptr() in [table.weight.data_ptr() for table in tables]

        model.save_pretrained(tmp_path)
        loaded = self.model_class.from_pretrained(tmp_path)
        assert same()
        loaded.resize_token_embeddings(130)
        assert same()

    def with_new_tokens(self, inputs: dict[str, Any], token: int) -> dict[str, Any]:
        ids = inputs["input_ids"].clone()
        ids[:, 2] = token
        return inputs | {"input_ids": ids}

    def test_resized_embeddings_read_new_tokens(self, model, tmp_path):
        before = self.outputs(model)
        assert model.resize_token_embeddings(129, mean_resizing=False) is model.get_input_embeddings()
        assert model.get_input_embeddings().num_embeddings == 129
        for name, tensor in self.outputs(model).items():
            if not name.endswith(".loss"):
                assert_close(tensor[..., : before[name].shape[-1]] if tensor.dim() else tensor, before[name])
        inputs = self.with_new_tokens(self.inputs(), 128)
        model(**inputs)
        model.save_pretrained(tmp_path)
        loaded, info = self.model_class.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values()), info
        assert_close(flat(loaded(**inputs)), flat(model(**inputs)))
        model.resize_token_embeddings(126, mean_resizing=False)
        self.outputs(model)
        with pytest.raises(ValueError, match="knows 0 to 125"):
            model(**inputs)

    def gradients(self, model: PreTrainedModel) -> dict[str, torch.Tensor | None]:
        model.zero_grad()
        torch.manual_seed(0)
        self.total(model(**(self.inputs() | self.training_inputs))).backward()
        return {name: weight.grad for name, weight in model.named_parameters()}

    def test_every_parameter_gets_a_gradient(self, model):
        gradients = self.gradients(model.train())
        assert {name for name, gradient in gradients.items() if gradient is None} == set(self.unused)

    def test_checkpointed_activations_give_the_same_gradients(self, model):
        plain = self.gradients(model.train())
        model.activation_checkpointing_enable()
        assert_close(self.gradients(model), plain)

    def test_two_calls_give_the_same(self, model):
        assert_close(self.outputs(model), self.outputs(model), rtol=0, atol=0)

    @pytest.mark.parametrize("implementation", ["eager", "flex_attention"])
    def test_attention_implementations_agree(self, model, implementation):
        expected = self.outputs(model)
        assert model.config._attn_implementation == "sdpa"
        model.set_attn_implementation(implementation)
        # Compiling flex attention takes a CPU minutes; uncompiled it computes the same.
        with torch.compiler.set_stance("force_eager"):
            assert_close(self.outputs(model), expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_other_dtypes(self, model, dtype, tmp_path):
        expected = self.outputs(model)
        model.save_pretrained(tmp_path)
        low = self.model_class.from_pretrained(tmp_path, dtype=dtype)
        assert low.dtype == dtype
        pixels = self.inputs()["pixel_values"].to(dtype)
        found = self.outputs(low, pixel_values=pixels)
        for name, tensor in expected.items():
            difference = (found[name].float() - tensor).abs().max() / tensor.abs().max()
            assert difference < (0.1 if dtype == torch.bfloat16 else 0.02), name

    def test_weights_that_are_elsewhere(self, model, tmp_path):
        """Kept in memory or on disk, and brought for each module's forward."""
        accelerate = pytest.importorskip("accelerate")
        expected = self.outputs(model)
        model.save_pretrained(tmp_path / "saved")
        disk = {"offload_folder": tmp_path / "disk"}
        parts = {name.split(".")[0] for name in model.state_dict()}
        # Weights that are tied must be at one place.
        in_memory = ("co_attention", "fusion", "knowledge_ids", "log_temperatures")
        places = {name: "cpu" if name in in_memory else "disk" for name in parts}
        for device_map in ({"": "disk"}, places):
            spread = self.model_class.from_pretrained(tmp_path / "saved", device_map=device_map, **disk)
            assert spread.get_input_embeddings().weight.is_meta
            assert_close(self.outputs(spread), expected)
        assert_close(self.outputs(accelerate.cpu_offload(model, torch.device("cpu"))), expected)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
    def test_quantised_layers(self, model):
        expected = self.outputs(model)
        quantised = torch.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        assert not isinstance(quantised.get_submodule(self.projection), nn.Linear)
        for name, tensor in self.outputs(quantised).items():
            assert (tensor - expected[name]).abs().max() / expected[name].abs().max() < 0.15, name

    def test_other_image_sizes(self, model):
        inputs = self.inputs()
        larger = nn.functional.interpolate(inputs["pixel_values"], (48, 48))
        if not self.takes_any_size:
            with pytest.raises(TypeError, match="interpolate_pos_encoding"):
                model(**inputs, interpolate_pos_encoding=True)
            return
        assert_close(flat(model(**inputs, interpolate_pos_encoding=True)), flat(model(**inputs)))
        model(**(inputs | {"pixel_values": larger}), interpolate_pos_encoding=True)
        with pytest.raises(ValueError, match="interpolate_pos_encoding"):
            model(**(inputs | {"pixel_values": larger}))

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
