"""Every model class passes what transformers asks of its own."""

import copy
from contextlib import nullcontext
from functools import cache

import pytest
import torch
from model_tester import HEADS, LAYERS, PATCHES, WIDTH, ModelTester
from small_models import padded, small_config, small_inputs
from transformers import AutoConfig, AutoModel, AutoModelForPreTraining, GenerationConfig, Trainer, TrainingArguments

from amif import (
    AgaConfig,
    AgaForPreTraining,
    AmifForPreTraining,
    AmifForVisualQuestionAnswering,
    AmifModel,
    MpmaConfig,
    MpmaForPreTraining,
)

LABELS = padded([[5], [6, 7, 8], [9, 10], [11]])["input_ids"]


def pairs() -> dict[str, torch.Tensor]:
    """As many images as texts."""
    inputs = small_inputs(questions=3, images=3)
    del inputs["image_index"]
    return inputs


def fields() -> dict[str, object]:
    """A small configuration with one name for each part."""
    config = small_config()
    return {
        "vision_config": config.vision_config,
        "text_config": config.text_config,
        "num_co_attention_layers": LAYERS,
        "num_attention_heads": HEADS,
    }


class TestAmifModel(ModelTester):
    model_class = AmifModel
    projection = "image_projection"
    config = staticmethod(small_config)
    inputs = staticmethod(small_inputs)


class TestAmifForVisualQuestionAnswering(ModelTester):
    model_class = AmifForVisualQuestionAnswering
    config = staticmethod(small_config)

    @staticmethod
    def inputs():
        return small_inputs() | {"labels": LABELS}

    @classmethod
    @cache
    def shared(cls):
        model = copy.deepcopy(super().shared())
        model.set_knowledge(torch.arange(3, 10))
        return model

    @torch.no_grad()
    def outputs(self, model, **options):
        """What is generated and the candidates' losses too: their code reads other modules than forward does."""
        inputs = small_inputs() | options
        ranking = model.rank_answers(**inputs, answers=padded([[5], [6, 7, 8], [9, 10], [11]]), top_k=4)
        losses = ranking.scores.gather(1, ranking.indices.argsort(dim=1))
        model.generate(**inputs, max_new_tokens=3)
        return super().outputs(model, **options) | {"candidates.loss": losses}

    def with_new_tokens(self, inputs, token):
        return super().with_new_tokens(inputs, token) | {"labels": LABELS.masked_fill(LABELS == 7, token)}

    @pytest.mark.parametrize("task", ["SEQ_2_SEQ_LM", "CAUSAL_LM"])
    def test_adapters_train_and_generate(self, model, task):
        peft = pytest.importorskip("peft")
        inputs = small_inputs()
        expected = model.generate(**inputs, max_new_tokens=4)
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type=task, target_modules=["query", "value"]))
        assert torch.equal(adapted.generate(**inputs, max_new_tokens=4), expected)
        optimizer = torch.optim.AdamW(adapted.parameters(), lr=0.02)
        losses = []
        for _ in range(4):
            loss = adapted(**self.inputs()).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert losses[-1] < losses[0]

    def test_states_of_the_decoder(self, model):
        model.set_attn_implementation("eager")
        output = model(**self.inputs(), output_hidden_states=True, output_attentions=True)
        length = LABELS.shape[1]
        assert [tuple(state.shape) for state in output.decoder_hidden_states] == [(4, length, WIDTH)] * (LAYERS + 1)
        assert [tuple(layer.shape) for layer in output.decoder_attentions] == [(4, HEADS, length, length)] * LAYERS
        joint = output.joint_states.shape[1]
        assert [tuple(layer.shape) for layer in output.cross_attentions] == [(4, HEADS, length, joint)]
        assert len(output.hidden_states) == LAYERS + 1

    def test_decoder_inputs_in_place_of_labels(self, model):
        inputs = small_inputs()
        expected = model(**inputs, labels=LABELS).logits
        assert_same = torch.testing.assert_close
        assert_same(model(**inputs, decoder_input_ids=LABELS).logits, expected)
        embeddings = model.decoder.get_input_embeddings()(LABELS)
        assert_same(model(**inputs, decoder_inputs_embeds=embeddings).logits, expected)
        with pytest.raises(ValueError, match="one of them"):
            model(**inputs, labels=LABELS, decoder_input_ids=LABELS)

    def test_generate_as_its_configuration_says(self, model, caplog):
        """The call's options come first, then the configuration given, then the model's own; with no warning."""
        assert model.can_generate()
        assert model.input_modalities == ("image", "text")
        inputs = small_inputs()
        beams = model.generate(**inputs, num_beams=3, max_new_tokens=5)
        config = GenerationConfig(num_beams=3, max_new_tokens=9)
        assert torch.equal(model.generate(**inputs, generation_config=config, max_new_tokens=5), beams)
        assert config.max_new_tokens == 9
        model.generation_config.update(num_beams=3, max_new_tokens=5)
        assert torch.equal(model.generate(**inputs), beams)
        scores = model.generate(**inputs, return_dict_in_generate=True, output_scores=True)
        assert torch.equal(scores.sequences, beams)
        assert not [record for record in caplog.records if "deprecated" in record.message]

    def test_questions_answered_alone_are_answered_alike(self, model):
        inputs = small_inputs()
        together = self.outputs(model)["candidates.loss"]
        for row in range(4):
            length = int(inputs["attention_mask"][row].sum())
            alone = {
                "pixel_values": inputs["pixel_values"][inputs["image_index"][row]][None],
                "input_ids": inputs["input_ids"][row : row + 1, :length],
            }
            ranking = model.rank_answers(**alone, answers=padded([[5], [6, 7, 8], [9, 10], [11]]), top_k=4)
            losses = ranking.scores.gather(1, ranking.indices.argsort(dim=1))[0]
            torch.testing.assert_close(losses, together[row])

    @torch.no_grad()
    def test_exported_for_any_number_of_questions(self, model):
        inputs = small_inputs(images=4) | {"decoder_input_ids": LABELS}
        del inputs["image_index"]
        shapes = {name: {0: torch.export.Dim("size", min=1, max=64)} for name in inputs}
        program = torch.export.export(model, (), inputs, dynamic_shapes=shapes, strict=False).module()
        for size in (1, 3):
            part = {name: tensor[:size] for name, tensor in inputs.items()}
            torch.testing.assert_close(program(**part).logits, model(**part).logits)

    def test_training_without_labels_is_refused(self, model):
        """As the stock Trainer does it with label_smoothing_factor: it would train on one token."""
        with pytest.raises(ValueError, match="label_smoothing_factor"):
            model.train()(**small_inputs())


class PreTrainingTester(ModelTester):
    """What the three objectives share."""

    def test_both_auto_classes_load_it(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        assert type(AutoModelForPreTraining.from_pretrained(tmp_path)) is self.model_class
        assert type(AutoModel.from_pretrained(tmp_path)) is self.model_class
        names = AutoConfig.from_pretrained(tmp_path).auto_map
        assert names["AutoModelForPreTraining"] == names["AutoModel"]

    def test_the_stock_trainer_gets_the_contrastive_loss_where_it_asks(self, model, tmp_path):
        output = model(**self.inputs(), return_loss=True)
        similarities = output.image_embeds[0] @ output.text_embeds.T / output.temperatures[0]
        chances = [rows.log_softmax(dim=1).diagonal() for rows in (similarities, similarities.T)]
        torch.testing.assert_close(output.loss, -torch.cat(chances).mean())
        inputs = {name: tensor for name, tensor in pairs().items() if name != "image_index"}
        args = TrainingArguments(tmp_path, max_steps=1, use_cpu=True, disable_tqdm=True, save_strategy="no")
        for loss, outcome in ((True, nullcontext()), (None, pytest.raises(ValueError, match="did not return a loss"))):
            trainer = Trainer(model, args, lambda _, loss=loss: inputs | {"return_loss": loss}, [0])
            with outcome:
                assert trainer.train().training_loss > 0
        with pytest.raises(TypeError, match="labels"):
            model(**inputs, labels=inputs["input_ids"])


class TestAmifForPreTraining(PreTrainingTester):
    model_class = AmifForPreTraining
    config = staticmethod(small_config)

    @staticmethod
    def inputs():
        return pairs() | {"hard_negatives": torch.tensor([[1, 2, 2], [2, 0, 0], [0, 1, 1]])}


class TestAgaForPreTraining(PreTrainingTester):
    model_class = AgaForPreTraining
    inputs = staticmethod(pairs)

    @staticmethod
    def config():
        return AgaConfig(alignment_size=16, **fields())


class TestMpmaForPreTraining(PreTrainingTester):
    model_class = MpmaForPreTraining
    takes_any_size = False

    @staticmethod
    def config():
        small = {"image_decoder_layers": 1, "image_decoder_size": 32, "image_decoder_heads": 4, "num_fusion_layers": 1}
        return MpmaConfig(alignment_size=16, memory_size=8, mask_token_id=103, **small, **fields())

    @staticmethod
    def inputs():
        inputs = pairs()
        hidden = torch.zeros(3, PATCHES, dtype=torch.bool)
        hidden[:, 3:9] = True
        words = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
        words[:, 1] = True
        return inputs | {"hidden_patches": hidden, "hidden_tokens": words}
