from amif.training.data.phantom.blocks import make_studies
from amif.training.processors import small_processor

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
