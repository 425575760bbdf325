"""Which questions are trained on and evaluated, and which say nothing of a checkpoint any more."""

import datasets
import pytest
import torch
from datasets import DatasetDict
from PIL import Image
from small_models import small_model
from small_runs import build_data, build_processor

from amif.training.evaluation.protocols import candidate_answers
from amif.training.fine_tuning import splits as vqa_splits
from amif.training.fine_tuning.arguments import FineTuningDataArguments
from amif.training.fine_tuning.splits import (
    RunData,
    load_splits,
    note_validation,
    of_question_types,
    training_rows,
    with_new_questions,
    with_readable_answers,
)


@pytest.fixture
def splits(tmp_path):
    return DatasetDict({"train": build_data(tmp_path)})


def test_a_checkpoint_knows_how_validation_of_all_its_sets_was_made():
    model = small_model()
    joint = FineTuningDataArguments("slake", also_train_on=["vqa_rad=folder"])
    note_validation(model, joint, training=True, eval_split="validation")
    assert model.config.validation_by == {"slake": "image", "vqa_rad": "image"}
    other = FineTuningDataArguments("vqa_rad", validation_by="question")
    with pytest.raises(ValueError, match="trained on vqa_rad with --validation_by image: with question, training and"):
        note_validation(model, other, training=True, eval_split="validation")


def test_a_set_whose_validation_was_made_otherwise_is_not_trained_on_beside():
    model = small_model()
    model.config.validation_by = {"vqa_rad": "wording"}
    joint = FineTuningDataArguments("slake", also_train_on=["vqa_rad=folder"])
    with pytest.raises(ValueError, match="or leave vqa_rad out of --also_train_on"):
        note_validation(model, joint, training=True, eval_split="validation")


def test_a_checkpoint_of_one_fold_is_not_evaluated_on_another():
    model = small_model()
    first = FineTuningDataArguments("vqa_rad", validation_fold=1)
    note_validation(model, first, training=True, eval_split="validation")
    note_validation(model, first, training=False, eval_split="validation")
    for other in (FineTuningDataArguments("vqa_rad", validation_fold=2), FineTuningDataArguments("vqa_rad")):
        with pytest.raises(ValueError, match="Give --validation_by image --validation_fold 1, start from"):
            note_validation(model, other, training=False, eval_split="validation")


def test_training_without_training_questions_is_refused(tmp_path):
    (tmp_path / "test_b.csv").write_text("image,question,answer\na.png,is it?,yes\n")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    own = FineTuningDataArguments(str(tmp_path / "test_b.csv"))
    assert load_splits(own, training=False).keys() == {"test"}
    with pytest.raises(ValueError, match=r"test_b\.csv has no training questions, but test: .* rename it"):
        load_splits(own, training=True)


def test_of_new_questions_as_many_are_asked_as_of_others(splits, tmp_path):
    questions = tmp_path / "questions.csv"
    questions.write_text("image,question\n" + "".join(f"{i}.png,is it?\n" for i in range(5)))
    data = RunData("own", DatasetDict(splits | {"test": splits["train"]}), splits["train"], "test")
    data_args = FineTuningDataArguments(predict_file=str(questions), max_eval_samples=2)
    assert with_new_questions(data, data_args).splits["test"]["image_id"][:] == ["0.png", "1.png"]


def test_an_answer_longer_than_the_decoder_is_a_bad_row_of_whatever_is_learned_or_ranked(splits):
    """It passed the load, and stopped training where the batch that held it came."""
    model, processor = small_model(), build_processor()
    rows = splits["train"]
    long = [*rows["answer"][:20], "dark " * 600, *rows["answer"][21:]]
    long_rows = rows.remove_columns("answer").add_column("answer", long)
    for data in (
        RunData("own", DatasetDict({"train": long_rows, "test": rows}), long_rows, "test"),
        RunData("own", DatasetDict({"train": rows, "validation": long_rows}), rows, "validation"),
        RunData("own", DatasetDict({"train": rows, "test": rows}), long_rows, "test"),
    ):
        with pytest.raises(ValueError, match=r"row 20 .*\(question id '10 what is it'\) has 602 tokens, and "):
            with_readable_answers(data, model, processor, "error")
        kept = with_readable_answers(data, model, processor, "skip")
        before = sum(map(len, (*data.splits.values(), data.training)))
        assert sum(map(len, (*kept.splits.values(), kept.training))) == before - sum(
            "dark " * 600 in part["answer"][:] for part in (*data.splits.values(), data.training)
        )


def test_answers_are_generated_as_long_as_training_or_the_option_says(splits):
    model, processor, rows = small_model(), build_processor(), splits["train"]
    long = rows.remove_columns("answer").add_column("answer", ["dark " * 40, *rows["answer"][1:]])
    data = RunData("own", DatasetDict({"train": long, "test": rows}), long, "test")
    with_readable_answers(data, model, processor, "error")
    assert model.generation_config.max_new_tokens == 41, "40 words and [SEP]"
    kept = with_readable_answers(data, model, processor, "skip", max_length=12)
    assert (len(kept.training), model.generation_config.max_new_tokens) == (len(long) - 1, 11)
    with_readable_answers(RunData("own", data.splits, None, "test"), model, processor, "error")
    assert model.generation_config.max_new_tokens == 11, "what the checkpoint says stands where nothing is trained"
    stream = RunData("own", data.splits, long.to_iterable_dataset(), "test")
    assert len(list(with_readable_answers(stream, model, processor, "skip", max_length=12).training)) == len(long) - 1
    inputs = {"input_ids": torch.tensor([[101, 3, 102]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    assert model.generate(torch.zeros(1, 3, 32, 32), **inputs, eos_token_id=-1).shape == (1, 12)


def test_training_leaves_out_images_that_are_evaluated_later(splits, monkeypatch):
    monkeypatch.setattr(vqa_splits, "leave_out_shown_images", lambda rows, sources: rows.select(range(len(sources))))
    assert len(training_rows(splits["train"], splits, FineTuningDataArguments())) == len(splits["train"])
    arguments = FineTuningDataArguments(leave_out_images_of=["slake=one", "vqa_rad=two"])
    assert len(training_rows(splits["train"], splits, arguments)) == 2
    monkeypatch.setattr(vqa_splits, "leave_out_shown_images", lambda rows, sources: rows.select([]))
    with pytest.raises(
        ValueError, match="no training question is left, for validation or test shows the image of each"
    ):
        training_rows(splits["train"], splits, arguments)


def test_training_on_some_question_types_leaves_candidates_whole(splits):
    types = ["plane", "organ"] * (len(splits["train"]) // 2)
    rows = splits["train"].select(range(len(types))).remove_columns("question_type").add_column("question_type", types)
    splits = DatasetDict({"train": rows, "validation": rows})
    before = candidate_answers("clean", splits, "validation")
    trained = training_rows(splits["train"], splits, FineTuningDataArguments(train_question_types=["plane"]))
    assert trained["question_id"] == rows["question_id"][::2]
    assert candidate_answers("clean", splits, "validation") == before


@pytest.fixture
def rows():
    types = ["plane", "organ", None, "plane", "abnormality"]
    return datasets.Dataset.from_dict({"question_type": types, "question_id": list("abcde")})


def test_rows_of_the_types_stay_in_their_order(rows):
    assert of_question_types(rows, ["organ", "plane"])["question_id"] == ["a", "b", "d"]


def test_a_type_that_no_row_has_is_named_beside_those_there_are(rows):
    with pytest.raises(ValueError, match=r"is of type planes\. Types of this data set: abnormality, organ, plane"):
        of_question_types(rows, ["planes", "organ"])


def test_a_set_without_types_says_so():
    rows = datasets.Dataset.from_dict({"question_type": [None, None]})
    with pytest.raises(ValueError, match="Types of this data set: none"):
        of_question_types(rows, ["plane"])
