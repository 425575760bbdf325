"""What people do with transformers' Trainer they do with each of ours."""

from functools import cache

import pytest
import torch
from pretraining_runs import small_studies
from small_models import small_model as small_vqa_model
from small_models import small_processor
from small_runs import CANDIDATES, build_data, build_processor
from transformers import TrainingArguments

from amif import AmifVqaArguments, AmifVqaTrainer
from amif.training.data.vqa_rows import VqaStream
from amif.training.pretraining.objectives import OBJECTIVES
from amif.training.small_model import small_pretraining_model

KINDS = ["vqa", *OBJECTIVES]


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return build_data(tmp_path_factory.mktemp("images"))


@pytest.fixture
def make(questions, tmp_path):
    """A trainer of one kind over a few rows; what is given replaces its own."""

    def make_trainer(kind, model_init=None, arguments=None, **given):
        own = "model" if model_init is None else "model_init"
        if kind == "vqa":
            data = {"train_dataset": questions, "eval_dataset": questions, "candidates": CANDIDATES}
            trainer, arguments_class, processor = AmifVqaTrainer, AmifVqaArguments, vqa_processor()
        else:
            data = {"train_dataset": small_studies()["train"], "eval_dataset": small_studies()["validation"]}
            trainer, arguments_class = OBJECTIVES[kind].trainer, OBJECTIVES[kind].arguments
            processor = report_processor()
        defaults = {"output_dir": str(tmp_path), "report_to": "none", "disable_tqdm": True, "max_steps": 2}
        defaults |= {"per_device_train_batch_size": 8, "use_cpu": True, "save_strategy": "no"}
        defaults |= {"load_best_model_at_end": False, "eval_strategy": "no"} | (arguments or {})
        fields = {own: model_init or new_model(kind), "args": arguments_class(**defaults)} | data
        return trainer(**(fields | {"processing_class": processor} | given))

    return make_trainer


@cache
def vqa_processor():
    return build_processor()


@cache
def report_processor():
    return small_processor()


def new_model(kind):
    torch.manual_seed(0)
    if kind == "vqa":
        return small_vqa_model()
    return small_pretraining_model(report_processor(), 32, 32, model_class=OBJECTIVES[kind].model)


@pytest.mark.parametrize("kind", ["vqa", "amif"])
def test_a_search_over_hyperparameters_takes_what_makes_a_checkpoint_best(make, kind, monkeypatch):
    """Each trial begins with a new model, and accuracy is not minimised, as the Trainer would."""
    pytest.importorskip("optuna")
    arguments = {"max_steps": 1, "greater_is_better": kind == "vqa"}
    run = make(kind, model_init=lambda: new_model(kind), arguments=arguments)
    metric = "eval_accuracy" if kind == "vqa" else "eval_loss"
    measured = iter([30.0, 70.0])
    monkeypatch.setattr(run, "evaluate", lambda: {metric: next(measured), "eval_other": 1000.0})
    space = {"learning_rate": [1e-4, 1e-3, 1e-2]}
    best = run.hyperparameter_search(
        lambda trial: {name: trial.suggest_categorical(name, values) for name, values in space.items()}, n_trials=2
    )
    assert (best.run_id, best.objective) == (("1", 70.0) if kind == "vqa" else ("0", 30.0))


def test_every_model_of_model_init_is_frozen_and_sees_with_its_own_encoder(make):
    models = []

    def model_init():
        models.append(small_vqa_model(seed=len(models)))  # another encoder each time
        return models[-1]

    run = make("vqa", model_init, {"freeze_vision_encoder": True, "max_steps": 1})
    for _ in range(2):
        run.train()
        assert not any(weight.requires_grad for weight in run.model.model.vision_model.parameters())
        rows = run.eval_dataset.select(range(8))
        answers = make("vqa", model=run.model).predict_answers(rows)
        assert run.predict_answers(rows)[1] == pytest.approx(answers[1], abs=1e-5)
    assert len(models) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_without_arguments_their_defaults_are_taken(make, kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = make(kind, args=None)
    assert type(run.args) is type(run).arguments_class
    with pytest.raises(TypeError, match=f"args is TrainingArguments: give {type(run.args).__name__}"):
        make(kind, args=TrainingArguments(str(tmp_path)))


@pytest.mark.parametrize("kind", KINDS)
def test_compute_metrics_adds_to_what_is_measured(make, kind):
    seen = []
    run = make(kind, compute_metrics=lambda prediction: seen.append(prediction) or {"mine": 7.0})
    metrics = run.evaluate()
    assert metrics["eval_mine"] == 7
    assert ("eval_accuracy" if kind == "vqa" else "eval_recall_i2t@1") in metrics
    if kind == "vqa":
        ((answers, references),) = ((one.predictions, one.label_ids) for one in seen)
        assert list(references) == list(run.eval_dataset["answer"])
        assert list(answers) == run.predict_answers(run.eval_dataset)[0]


def streamed(rows):
    return rows.to_iterable_dataset()


@pytest.mark.parametrize("kind", KINDS)
def test_streams_are_trained_on_and_evaluated(make, kind):
    run = make(kind)
    expected = run.evaluate()
    run.train()
    rows, validation = run.train_dataset, run.eval_dataset
    stream = make(kind, train_dataset=streamed(rows).shuffle(seed=0, buffer_size=8), eval_dataset=streamed(validation))
    metrics = stream.evaluate()
    for name, value in expected.items():
        if not name.endswith(("runtime", "per_second", "preparation_time")):
            assert metrics[name] == pytest.approx(value, abs=1e-5), name
    stream.train()
    assert stream.state.global_step == 2


def test_streams_of_questions_need_what_rows_do(make, questions):
    stream = streamed(questions)
    with pytest.raises(ValueError, match="stream cannot be grouped: leave out --questions_per_image"):
        make("vqa", train_dataset=stream, arguments={"questions_per_image": 2})
    with pytest.raises(ValueError, match="max_steps"):
        make("vqa", train_dataset=stream, arguments={"max_steps": -1})
    with pytest.raises(ValueError, match="no image_id: rename columns, and give each image an image_id"):
        make("vqa", train_dataset=stream.remove_columns("image_id")).train()


def test_answers_of_a_stream_are_those_of_its_rows(make, questions):
    run = make("vqa")
    assert run.predict_answers(streamed(questions)) == run.predict_answers(questions)
    assert run.predict(streamed(questions)).metrics["test_accuracy"] == run.predict(questions).metrics["test_accuracy"]


def test_unanswered_rows_of_a_stream_are_left_out(questions):
    unanswered = questions.map(lambda row, place: {"answer": None if place % 2 else row["answer"]}, with_indices=True)
    rows = list(VqaStream(streamed(unanswered)))
    assert [row["question"] for row in rows] == list(questions["question"])[::2]
    assert len({row["row"] for row in rows}) == len(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_never_cut_between_processes(make, kind, tmp_path):
    """A stream's would be, by accelerate's default, although several rows share an image."""
    assert make(kind).accelerator.dispatch_batches is False
    for argument in ({"accelerator_config": {"dispatch_batches": True}}, {"batch_eval_metrics": True}):
        with pytest.raises(ValueError, match=r"dispatch_batches cuts a batch|measures single batches"):
            make(kind, arguments=argument)


@pytest.mark.parametrize("kind", ["vqa", "amif"])
def test_one_process_on_several_gpus_is_refused(make, kind, monkeypatch):
    """The Trainer would copy the model to each and scatter a batch by its first axis, images and texts apart."""
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 2))
    with pytest.raises(ValueError, match=r"One process sees 2 GPUs .*several_gpus\.yaml.*CUDA_VISIBLE_DEVICES=0"):
        make(kind)


def test_another_data_set_is_evaluated_by_its_own_rows_where_workers_persist(make, questions):
    run = make("vqa", arguments={"dataloader_persistent_workers": True, "dataloader_num_workers": 1})
    run.evaluate()
    assert (
        run.evaluate(questions.select(range(4)))["eval_accuracy"]
        == make("vqa").evaluate(questions.select(range(4)))["eval_accuracy"]
    )
