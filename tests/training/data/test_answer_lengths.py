import pytest
import torch

from amif.training.data.answer_lengths import answer_lengths, check_answer_lengths
from amif.training.data.readers import bad_rows
from amif.training.data.schema import build_vqa_dataset


def encode(answers):
    """A token a word, and [CLS] and [SEP]."""
    lengths = [len(answer.split()) + 2 for answer in answers]
    return {"attention_mask": torch.tensor([[place < length for place in range(max(lengths))] for length in lengths])}


def split(*answers):
    rows = [
        {"image": "a.png", "question": f"{number}?", "answer": answer, "image_id": "a", "question_id": f"q{number}"}
        for number, answer in enumerate(answers)
    ]
    return build_vqa_dataset(rows)


def test_an_answer_longer_than_the_decoder_is_a_bad_row(monkeypatch):
    splits = {"train": split("left lung", None, "word " * 600), "test": split("one two three")}
    with pytest.raises(
        ValueError,
        match=r"^split train: row 2 \(counted from 0\): the answer 'word .* to '2\?' \(question id 'q2'\) has 602 "
        r"tokens, and 512 is the most: the decoder's positions, or --max_answer_length\. Correct the row, or .*'skip'",
    ) as error:
        check_answer_lengths(splits, encode, 512)
    assert len(str(error.value)) < 400
    said = []
    monkeypatch.setattr(bad_rows.logger, "warning", said.append)
    kept = check_answer_lengths(splits, encode, 512, on_bad_row="skip")
    assert {name: rows["question_id"][:] for name, rows in kept.items()} == {"train": ["q0", "q1"], "test": ["q0"]}
    assert said[0].startswith("1 bad rows are left out:\nsplit train: row 2")
    with pytest.raises(ValueError, match="split test: every answer has more tokens than 4, the most"):
        check_answer_lengths(splits, encode, 4, on_bad_row="skip")


def test_a_choice_longer_than_the_decoder_is_a_bad_row():
    rows = [{"question": "q", "answer": "a", "choices": own} for own in (["a", "b c"], ["a", "b c d"], None)]
    splits = {"test": build_vqa_dataset(rows)}
    with pytest.raises(ValueError, match=r"row 1 .*the choice 'b c d' to 'q' .* has 5 tokens, and 4 is the most"):
        check_answer_lengths(splits, encode, 4)
    assert check_answer_lengths(splits, encode, 4, "skip")["test"]["choices"][:] == [["a", "b c"], None]


@pytest.mark.parametrize(("limit", "fits"), [(5, True), (4, False)])
def test_cls_and_sep_count(limit, fits):
    if fits:
        assert len(check_answer_lengths({"train": split("one two three")}, encode, limit)["train"]) == 1
    else:
        with pytest.raises(ValueError, match="has 5 tokens"):
            check_answer_lengths({"train": split("one two three")}, encode, limit)


def test_lengths_of_many_answers_are_counted_in_batches():
    answers = [" ".join(["w"] * (number % 7 + 1) + [str(number)]) for number in range(2500)]
    assert answer_lengths(answers, encode) == {answer: len(answer.split()) + 2 for answer in answers}
    assert answer_lengths([], encode) == {}
