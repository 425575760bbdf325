"""Which model the run script starts from, and what it knows."""

import importlib.util
from pathlib import Path

import pytest
from datasets import DatasetDict
from small_models import small_model
from small_runs import build_data, build_processor

from amif.training.small_model import small_pretraining_model

SCRIPT = Path(__file__).parents[2] / "examples" / "run_vqa.py"


@pytest.fixture(scope="module")
def script():
    specification = importlib.util.spec_from_file_location("run_vqa", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    small_model(knowledge=7).save_pretrained(folder)
    build_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def splits(tmp_path):
    return DatasetDict({"train": build_data(tmp_path)})


def built(script, checkpoint, splits, training, use_lora=False, **data_arguments):
    model_args = script.ModelArguments(model_name_or_path=str(checkpoint), use_lora=use_lora)
    return script.build_model(model_args, script.DataArguments(**data_arguments), splits, training)


def test_training_on_takes_the_knowledge_of_its_data(script, checkpoint, splits, caplog):
    with caplog.at_level("INFO"):
        model, processor = built(script, checkpoint, splits, training=True)
    tokens = processor.tokenizer.convert_ids_to_tokens(model.knowledge_ids)
    assert {token for token in tokens if token != "[SEP]"} == {"dark", "grey", "bright", "yes", "no"}
    assert "Knowledge: the training answers, 10 tokens." in caplog.text
    assert model.config.knowledge_size == 10


def test_evaluating_keeps_the_knowledge_of_the_checkpoint(script, checkpoint, splits, caplog):
    with caplog.at_level("INFO"):
        model, _ = built(script, checkpoint, splits, training=False)
    assert model.knowledge_ids.tolist() == small_model(knowledge=7).knowledge_ids.tolist()
    assert "Knowledge: the checkpoint's, 7 tokens." in caplog.text


def test_an_adapter_keeps_the_knowledge_of_what_it_adapts(script, checkpoint, splits):
    model, _ = built(script, checkpoint, splits, training=True, use_lora=True)
    assert model.knowledge_ids.tolist() == small_model(knowledge=7).knowledge_ids.tolist()


def test_what_is_new_beside_adapters_depends_on_the_start(script, checkpoint, monkeypatch):
    encoders = script.ModelArguments(vision_model="v", text_model="t", use_lora=True)
    assert script.new_modules(encoders) == script.FUSION_MODULES
    ours = script.ModelArguments(model_name_or_path=str(checkpoint), use_lora=True)
    assert script.new_modules(ours) == ()
    monkeypatch.setattr(script, "is_pretrained_only", lambda name: True)
    assert "co_attention" not in script.new_modules(ours)
    assert "crossattention" in script.new_modules(ours)


def test_knowledge_cannot_be_taken_away(script, checkpoint, splits):
    with pytest.raises(ValueError, match="--knowledge none: the checkpoint was trained with knowledge"):
        built(script, checkpoint, splits, training=True, knowledge="none")


def test_code_beside_a_checkpoint_does_not_run(script, checkpoint, splits, tmp_path):
    mark = tmp_path / "executed"
    for path in checkpoint.glob("*.py"):
        path.write_text(f"open({str(mark)!r}, 'w')\n{path.read_text()}")
    assert list(checkpoint.glob("*.py"))
    built(script, checkpoint, splits, training=False)
    assert not mark.exists()


def test_empty_folder_is_named(script, tmp_path, splits):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json, so no model"):
        built(script, tmp_path, splits, training=False)


def test_output_folder_is_tried_before_anything_else(script, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sys.argv", ["run_vqa.py", "--use_cpu", "--output_dir", str(tmp_path / "file" / "out")])
    monkeypatch.setattr(script, "load_vqa_dataset", None)
    with pytest.raises(OSError, match="Choose another --output_dir"):
        script.main()


def test_a_checkpoint_knows_how_validation_of_all_its_sets_was_made(script):
    model = small_model()
    joint = script.DataArguments("slake", also_train_on=["vqa_rad=folder"])
    script.note_validation(model, joint, training=True, eval_split="validation")
    assert model.config.validation_by == {"slake": "image", "vqa_rad": "image"}
    other = script.DataArguments("vqa_rad", validation_by="question")
    with pytest.raises(ValueError, match="trained on vqa_rad with --validation_by image: with question, training and"):
        script.note_validation(model, other, training=True, eval_split="validation")


def test_a_set_whose_validation_was_made_otherwise_is_not_trained_on_beside(script):
    model = small_model()
    model.config.validation_by = {"vqa_rad": "wording"}
    joint = script.DataArguments("slake", also_train_on=["vqa_rad=folder"])
    with pytest.raises(ValueError, match="or leave vqa_rad out of --also_train_on"):
        script.note_validation(model, joint, training=True, eval_split="validation")


def test_training_leaves_out_images_that_are_evaluated_later(script, splits, monkeypatch):
    monkeypatch.setattr(script, "leave_out_shown_images", lambda rows, sources: rows.select(range(len(sources))))
    assert len(script.training_rows(splits, script.DataArguments())) == len(splits["train"])
    arguments = script.DataArguments(leave_out_images_of=["slake=one", "vqa_rad=two"])
    assert len(script.training_rows(splits, arguments)) == 2


def test_training_on_some_question_types_leaves_candidates_whole(script, splits):
    types = ["plane", "organ"] * (len(splits["train"]) // 2)
    rows = splits["train"].select(range(len(types))).remove_columns("question_type").add_column("question_type", types)
    splits = DatasetDict({"train": rows, "validation": rows})
    before = script.candidate_answers("clean", splits, "validation")
    trained = script.training_rows(splits, script.DataArguments(train_question_types=["plane"]))
    assert trained["question_id"] == rows["question_id"][::2]
    assert script.candidate_answers("clean", splits, "validation") == before


def test_what_cannot_be_evaluated_is_refused_before_anything_is_loaded(script, checkpoint, tmp_path):
    def check(name, output_dir, do_train=False):
        model_args = script.ModelArguments(model_name_or_path=name and str(name))
        script.check_evaluation(model_args, script.AmifVqaArguments(output_dir=str(output_dir), do_train=do_train))

    pretrained = tmp_path / "pretrained"
    small_pretraining_model(build_processor(), 32).save_pretrained(pretrained)
    for name in (None, pretrained):
        check(name, tmp_path / "out", do_train=True)
        with pytest.raises(ValueError, match="evaluates a checkpoint that answers: name one as --model_name_or_path"):
            check(name, tmp_path / "out")
    check(checkpoint, tmp_path / "out")
    with pytest.raises(ValueError, match=r"is the checkpoint itself, whose metrics, .* give another folder"):
        check(checkpoint, checkpoint / ".")
    for wrong in ({"protocol": "cleen"}, {"ablate_image": "black"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong.values()))}: it is"):
            script.DataArguments(**wrong)


@pytest.mark.parametrize("asked", [None, 1])
def test_images_are_pooled_as_in_pretraining_unless_another_pooling_is_asked_for(script, splits, tmp_path, asked):
    processor = build_processor()
    small_pretraining_model(processor, 32, image_pooling=2).save_pretrained(tmp_path / "pretrained")
    processor.save_pretrained(tmp_path / "pretrained")
    model_args = script.ModelArguments(model_name_or_path=str(tmp_path / "pretrained"), image_pooling=asked)
    model, _ = script.build_model(model_args, script.DataArguments(), splits, training=True)
    assert model.config.image_pooling == (asked or 2)
