import pytest
import torch
from datasets import Dataset
from PIL import Image
from small_models import small_model
from small_models import small_processor as processor_of_small_model

from amif.training.fine_tuning.knowledge import knowledge_ids, measure_knowledge
from amif.training.processors import small_processor

ROWS = Dataset.from_dict(
    {
        "question": ["Is it big?", "where is it?", "Is it big?"],
        "answer": ["Yes", None, "left lung"],
    }
)


@pytest.fixture(scope="module")
def processor():
    return small_processor(["is it big where yes left lung"], 32)


def test_distinct_normalised_answers_each_closed_by_sep(processor):
    ids = knowledge_ids("answers", ROWS, processor)
    sep = processor.tokenizer.sep_token
    assert processor.tokenizer.convert_ids_to_tokens(ids) == ["left", "lung", sep, "yes", sep]
    small_model(knowledge=0).set_knowledge(ids)


def test_distinct_questions(processor):
    ids = knowledge_ids("questions", ROWS, processor)
    assert ids.dtype == torch.int64
    expected = "is it big ? [SEP] where is it ? [SEP]"
    assert " ".join(processor.tokenizer.convert_ids_to_tokens(ids)).replace("[UNK]", "?") == expected


def test_unknown_source_is_refused(processor):
    with pytest.raises(ValueError, match="knowledge='graph'"):
        knowledge_ids("graph", ROWS, processor)


def test_selection_equals_one_question_at_a_time():
    """Each question alone, unpadded, through `encode`; what none of the entries answers is left out."""
    model, processor = small_model(knowledge=0), processor_of_small_model()
    images = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    asked = [
        ("is there a mass in the left lung ?", "Left lung", 0),
        ("is it ?", "yes", 1),
        ("the mass ?", "right lung", 0),
        ("is there ?", "mass", 1),
        ("there ?", None, 1),
    ]
    questions, answers, shown = zip(*asked, strict=True)
    rows = {"question": questions, "answer": answers, "image": [images[place] for place in shown]}
    rows |= {"image_id": list(map(str, shown)), "question_id": list(map(str, range(5)))}
    known = ["left lung", "yes", "right lung"]
    entries = processor.encode_answers(known)
    model.set_knowledge(entries["input_ids"][:, 1:][entries["attention_mask"][:, 1:].bool()])
    found = measure_knowledge(model, processor, Dataset.from_dict(rows), batch_size=2)

    model.set_attn_implementation("eager")
    weights, gates = [], []
    for question, place in zip(questions[:3], shown, strict=False):
        with torch.no_grad():
            output = model.encode(**processor(images=images[place], text=question), output_attentions=True)
        of_tokens = output.knowledge_attentions[0].mean(dim=(0, 1))
        left, lung, _, yes, _, right, other_lung, _ = of_tokens.tolist()
        weights.append([(left + lung) / 2, yes, (right + other_lung) / 2])
        gates.append(output.gate[0])
    ranks = [1 + sum(weight > row[true] for weight in row) for true, row in enumerate(weights)]
    others = [
        1 + sum(weight > row[true] for weight in row)
        for own, row in enumerate(weights)
        for true in range(3)
        if true != own
    ]
    assert (found.n, found.entries, found.chance) == (3, 3, 2.0)
    assert (found.mean_rank, found.mean_rank_of_others) == pytest.approx((sum(ranks) / 3, sum(others) / 6))
    assert found.gate_mean == pytest.approx(float(torch.cat(gates).mean()), abs=1e-5)
    assert found.gate_std == pytest.approx(float(torch.cat(gates).std(correction=0)), abs=1e-5)


@pytest.mark.parametrize("answers", [["yes", "mass"], [None, None]])
def test_fewer_than_two_questions_that_an_entry_answers_are_refused(answers):
    model, processor = small_model(knowledge=0), processor_of_small_model()
    model.set_knowledge(knowledge_ids("answers", Dataset.from_dict({"answer": ["yes"]}), processor))
    questions = Dataset.from_dict({"question": ["is it ?", "the mass ?"], "answer": answers})
    with pytest.raises(ValueError, match=f"answers {answers.count('yes')} of 2 questions: it takes two at least"):
        measure_knowledge(model, processor, questions, batch_size=2)


def test_selection_of_a_model_without_knowledge_is_refused(processor):
    with pytest.raises(ValueError, match="this model fuses none: leave it out"):
        measure_knowledge(small_model(knowledge_fusion="none"), processor, ROWS, batch_size=2)
