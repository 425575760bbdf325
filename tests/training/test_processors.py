import pytest
from small_models import WIDTH
from transformers import BertConfig, BertModel, ViTImageProcessor

from amif.training.data.phantom.blocks import make_studies
from amif.training.processors import encoder_processor, small_processor

SENTENCES = ["Is there a mass?", "where is the nodule cluster", "left", "x-ray"]


def test_tokenizer_knows_its_sentences_in_any_case_and_survives_saving(tmp_path):
    processor = small_processor(SENTENCES, 32)
    processor.save_pretrained(tmp_path)
    for one in (processor, type(processor).from_pretrained(tmp_path)):
        ids = one(text="IS THERE A NODULE?")["input_ids"][0]
        assert one.tokenizer.decode(ids, skip_special_tokens=True) == "is there a nodule?"
        assert one.tokenizer.unk_token_id not in ids


def test_the_same_sentences_give_the_same_vocabulary():
    sentences = [question.text for study in make_studies("train", 36, seed=0) for question in study.questions]
    first, *others = (small_processor(sentences, 32).tokenizer.get_vocab() for _ in range(4))
    assert all(other == first for other in others)
    assert {"hemorrhage", "calcification", "##e"} <= first.keys()


def test_a_text_encoder_without_its_tokenizer_is_refused(tmp_path):
    BertModel(BertConfig(vocab_size=40, **WIDTH)).save_pretrained(tmp_path)
    ViTImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no tokenizer's files: copy its tokenizer\.json or vocab\.txt there"):
        encoder_processor(str(tmp_path), str(tmp_path))
