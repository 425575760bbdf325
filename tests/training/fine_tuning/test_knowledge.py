import pytest
import torch
from datasets import Dataset
from small_models import small_model

from amif.training.fine_tuning.knowledge import knowledge_ids
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
