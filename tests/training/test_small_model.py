import torch

from amif.training.processors import small_processor
from amif.training.small_model import small_model, small_pretraining_model

SENTENCES = ["Is there a mass?", "where is the nodule cluster", "left", "x-ray"]


def test_model_fits_its_processor():
    processor = small_processor(SENTENCES, 32)
    model = small_model(processor, 32, image_pooling=2).eval()
    inputs = processor(images=torch.zeros(3, 50, 40, dtype=torch.uint8), text="where?")
    assert model.generate(**inputs)[0, 0] == processor.tokenizer.cls_token_id
    assert model.decoder.get_output_embeddings().out_features == len(processor.tokenizer)


def test_seeded_weights_are_equal():
    processor = small_processor(SENTENCES, 32)
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(small_model(processor, 32).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_width_reaches_every_part():
    processor = small_processor(SENTENCES, 32)
    for model in (small_model(processor, 32, hidden_size=32), small_pretraining_model(processor, 32, hidden_size=32)):
        config = model.config
        parts = (config, config.vision_config, config.text_config, config.decoder_config)
        assert {part.hidden_size for part in parts} == {32}
        assert {part.intermediate_size for part in parts} == {128}
    assert config.text_config.hidden_dropout_prob == 0.1, "two readings of a report differ"


def test_depth_of_the_decoder_and_spread_of_new_weights():
    processor = small_processor(SENTENCES, 32)
    torch.manual_seed(0)
    model = small_model(processor, 32, hidden_size=32, decoder_layers=1, initializer_range=0.2)
    (layer,) = model.decoder.bert.encoder.layer
    assert hasattr(layer, "crossattention"), "the one layer reads the joint states"
    parts = (model.model.vision_model.layers[0], model.model.text_model, model.model.co_attention, layer)
    for part in parts:
        weight = max((one for one in part.parameters() if one.dim() == 2), key=torch.numel)
        assert 0.19 < weight.std() < 0.21
