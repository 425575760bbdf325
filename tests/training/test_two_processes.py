"""Two processes do what one does: the same gradients, each question once, and the same interrupted and resumed runs."""

import os
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch
from pretraining_runs import pretrainer, small_studies
from small_models import padded, small_inputs, small_model, small_processor
from small_runs import build_data, build_processor, trainer
from started_scripts import run_two
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from amif.modeling_amif.co_attention_amif import AmifCoAttentionLayer
from amif.training.data.vqa_collator import AmifVqaCollator
from amif.training.distributed import unsharded
from amif.training.small_model import small_pretraining_model

UNEVALUATED = {"eval_strategy": "no", "load_best_model_at_end": False}
BATCHES = {"per_device_eval_batch_size": 5, "max_grad_norm": 0.0}
RESUMED = {
    "num_train_epochs": 3,
    "learning_rate": 1e-3,
    "save_strategy": "steps",
    "save_steps": 4,
    "augment_images": True,
}


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_data(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def two(tmp_path_factory, data):
    """What two processes say they did; see the end of the file."""
    folder = tmp_path_factory.mktemp("two")
    run_two(__file__, folder, Path(data[0]["image"].filename).parent)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def gradients_of_one_step(folder, processor, data, batch_size):
    """By parameter, at the first optimizer step, with dropout off."""
    model = small_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    run = trainer(folder, processor, data, model, max_steps=1, per_device_train_batch_size=batch_size, **BATCHES)
    kept = {}

    def keep(*_args, **_kwargs):
        kept.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    run.create_optimizer().register_step_pre_hook(keep)
    run.train()
    return kept


def test_there_were_two(two):
    assert [report["world_size"] for report in two] == [2, 2]


def test_gradients_of_a_step_are_those_of_the_whole_batch(tmp_path, two, processor, data):
    whole = gradients_of_one_step(tmp_path, processor, data, 16)
    for report in two:
        shared = {name: value for name, value in report["gradients"].items() if name in whole or value.any()}
        assert shared.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(shared[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_each_epoch_has_its_own_order_and_augmentation(two):
    for epochs in zip(*(report["batches"] for report in two), strict=True):
        assert epochs[0][0] == epochs[1][0], "the processes are in the same epoch"
    orders = [[rows for report in two for epoch, rows in report["batches"] if epoch == wanted] for wanted in (0, 1, 2)]
    assert all(sorted(chain.from_iterable(order)) == list(range(24)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize("sampling", ["grouped", "random"])
def test_run_resumed_in_the_middle_of_an_epoch_ends_the_same(two, sampling):
    for report in two:
        whole, resumed = report[sampling]
        for name, value in whole.items():
            torch.testing.assert_close(resumed[name], value, rtol=0, atol=1e-6, msg=name)


def test_accuracy_and_answers_are_those_of_one(tmp_path, two, processor, data):
    run = trainer(tmp_path, processor, data, **BATCHES)
    answers, scores = run.predict_answers(data)
    for report in two:
        assert report["accuracy"] == pytest.approx(run.evaluate()["eval_accuracy"])
        assert report["answers"] == answers
        assert report["scores"] == pytest.approx(scores, abs=1e-5)


def test_interrupted_evaluation_answers_each_question_once(two):
    for report in two:
        assert report["kept"] == 10, "each process had answered a batch of five"
        assert report["answered_later"] == [9, 5][report["rank"]]
        assert (report["answers_later"], report["scores_later"]) == (report["answers"], report["scores"])


def test_each_study_of_a_stream_comes_once_an_epoch(two):
    """Four shards over two processes of two workers; the second pass has another order."""
    for passed in (slice(0, 4), slice(4, 8)):
        rows = [row for report in two for batch in report["stream"]["whole"][passed] for row in batch]
        assert len(rows) == len(set(rows)) == 40
    assert two[0]["stream"]["whole"][:4] != two[0]["stream"]["whole"][4:]


def test_a_stream_goes_on_with_the_next_study(two):
    for report in two:
        stream = report["stream"]
        assert stream["resumed"] == stream["whole"][3:]
        for name, value in stream["weights"][0].items():
            torch.testing.assert_close(stream["weights"][1][name], value, rtol=0, atol=1e-6, msg=name)


def test_model_spread_by_fsdp_answers_and_trains_on(two):
    for report in two:
        whole, spread = report["fsdp"]
        torch.testing.assert_close(spread, whole, rtol=0, atol=1e-5)


class Killed(BaseException):
    """Stands for SIGKILL."""


def record_batches(folder, processor, data):
    options = BATCHES | {"num_train_epochs": 3, "questions_per_image": 2, "per_device_train_batch_size": 4}
    run = trainer(folder, processor, data, augment_images=True, **options)
    seen, collate = [], AmifVqaCollator.__call__

    def record(collator, rows):
        seen.append((rows[0]["epoch"], [row["row"] for row in rows]))
        return collate(collator, rows)

    AmifVqaCollator.__call__ = record
    run.train()
    AmifVqaCollator.__call__ = collate
    return seen


def whole_and_resumed(folder, processor, data, **sampling):
    options = RESUMED | sampling | {"per_device_train_batch_size": 4, "save_total_limit": None}
    whole = trainer(folder, processor, data, **options)
    whole.train()
    resumed = trainer(folder, processor, data, small_model(seed=5), **options)
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-4"))
    return whole.model.state_dict(), resumed.model.state_dict()


def interrupted_evaluation(folder, processor, data):
    run = trainer(folder, processor, data, **BATCHES)
    answer, answered = run.prediction_step, []

    def killing(model, inputs, **options):
        answered.append(len(inputs["input_ids"]))
        if len(answered) == 2:
            raise Killed
        return answer(model, inputs, **options)

    run.prediction_step = killing
    try:
        run.predict_answers(data, folder)
    except Killed:
        run.accelerator.wait_for_everyone()
    kept = sum(len(path.read_text().splitlines()) for path in folder.glob("predictions.partial-*"))
    run.accelerator.wait_for_everyone()
    answered[:] = []

    def counting(model, inputs, **options):
        answered.append(len(inputs["input_ids"]))
        return answer(model, inputs, **options)

    run.prediction_step = counting
    answers, scores = run.predict_answers(data, folder)
    return {"kept": kept, "answered_later": sum(answered), "answers_later": answers, "scores_later": scores}


def scores_of_whole_and_spread(rank):
    """Scores of different numbers of questions on each process, which would not wait for each other."""
    model, answers = small_model(), padded([[5], [6, 7], [8]])
    inputs = small_inputs(questions=4 + 4 * rank)
    whole = model.rank_answers(**inputs, answers=answers, top_k=3).scores
    for module in model.modules():
        if isinstance(module, AmifCoAttentionLayer):
            fully_shard(module)
    fully_shard(model)
    labels = padded([[5], [6, 7], [8], [9]])["input_ids"]
    for _ in range(2):
        model(**small_inputs(), labels=labels).loss.backward()
        with unsharded(model):
            spread = model.rank_answers(**inputs, answers=answers, top_k=3).scores
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters()), "spread again"
    return whole, spread


def rows_of_a_stream(folder):
    """The rows that each step learns from, in a whole run and in one that goes on in the middle of a pass."""
    drawn, weights = [], []
    for checkpoint in (None, str(folder / "checkpoint-3")):
        torch.manual_seed(0)
        arguments = {"max_steps": 8, "per_device_train_batch_size": 5, "dataloader_num_workers": 2, "save_steps": 3}
        arguments |= {"save_strategy": "steps", "save_total_limit": None, "shuffle_buffer_size": 7, "use_cpu": True}
        model = small_pretraining_model(small_processor(), 32, 32)
        stream = small_studies()["train"].select(range(40)).to_iterable_dataset(num_shards=4)
        run = pretrainer(
            "amif", folder, model, **arguments, studies={"train": stream, "validation": None}, **UNEVALUATED
        )
        step, rows = run.training_step, []

        def record(model, inputs, *args, step=step, rows=rows):
            rows.append(inputs["row"].tolist())
            return step(model, inputs, *args)

        run.training_step = record
        run.train(resume_from_checkpoint=checkpoint)
        drawn.append(rows)
        weights.append(run.model.state_dict())
    return {"whole": drawn[0], "resumed": drawn[1], "weights": weights}


def main(folder, data_folder):
    folder, processor, rank = Path(folder), build_processor(), int(os.environ["RANK"])
    data = build_data(Path(data_folder))
    run = trainer(folder / "evaluation", processor, data, **BATCHES)
    answers, scores = run.predict_answers(data)
    report = {
        "rank": rank,
        "world_size": run.args.world_size,
        "accuracy": run.evaluate()["eval_accuracy"],
        "answers": answers,
        "scores": scores,
        "gradients": gradients_of_one_step(folder / "gradients", processor, data, 8),
        "batches": record_batches(folder / "batches", processor, data),
        "grouped": whole_and_resumed(folder / "grouped", processor, data, questions_per_image=2),
        "random": whole_and_resumed(folder / "random", processor, data),
        **interrupted_evaluation(folder / "interrupted", processor, data),
        "stream": rows_of_a_stream(folder / "stream"),
        "fsdp": scores_of_whole_and_spread(rank),
    }
    torch.save(report, folder / f"{rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
