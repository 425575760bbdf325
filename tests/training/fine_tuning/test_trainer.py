from itertools import product

import pytest
import torch
from small_models import small_model
from small_runs import CANDIDATES, build_data, build_processor, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from amif import AmifVqaArguments, AmifVqaTrainer
from amif.training.data import LateralitySafeAugmentation, replace_images
from amif.training.data.references import acceptable_answers_of
from amif.training.data.vqa_collator import AmifVqaCollator
from amif.training.fine_tuning.cached_images import encode_unique_images


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_data(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("frozen", [False, True])
def test_learns_to_answer_from_the_image_and_not_without_it(tmp_path, processor, data, frozen):
    run = trainer(
        tmp_path,
        processor,
        data,
        num_train_epochs=60,
        learning_rate=3e-3,
        warmup_steps=0.1,
        freeze_vision_encoder=frozen,
    )
    before = {name: value.clone() for name, value in run.model.model.vision_model.state_dict().items()}
    untrained = run.evaluate()["eval_accuracy"]
    run.train()
    assert untrained < 60 < 95 <= run.evaluate()["eval_accuracy"]
    after = run.model.model.vision_model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) == frozen
    # Of two questions about each image, the best blind answers are one colour in three and "no" in two of three.
    assert run.evaluate(replace_images(data, "blank", 0))["eval_accuracy"] <= 50


def test_each_data_set_is_scored_by_its_own_answers(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data)
    answers, _ = run.predict_answers(data)
    right = with_answers(data, answers)
    wrong = with_answers(data, [next(other for other in CANDIDATES if other != answer) for answer in answers])
    assert run.evaluate(wrong)["eval_accuracy"] == 0
    predicted = run.predict(right)
    assert predicted.metrics["test_accuracy"] == 100
    indices, rows = predicted.predictions[0], predicted.label_ids
    assert [CANDIDATES[index] for index in indices[rows.argsort(), 0]] == answers
    assert run.predict(wrong.select(range(6))).metrics["test_accuracy"] == 0
    run.eval_dataset = {"right": right, "wrong": wrong}
    metrics = run.evaluate()
    assert (metrics["eval_right_accuracy"], metrics["eval_wrong_accuracy"]) == (100, 0)


def test_checkpoints_are_measured_as_their_data_are_scored(tmp_path, processor, data):
    """VQA-Med-2019 takes either side of `#`: of a run on it, and of its rows among those of several sets."""
    run = trainer(tmp_path, processor, data)
    answers, _ = run.predict_answers(data)
    either = with_answers(data, [f"something else#{answer}" for answer in answers])
    assert run.evaluate(either)["eval_accuracy"] == 0
    of_sets = either.add_column("dataset_name", ["vqa_med_2019"] * 12 + ["own"] * 12)
    assert run.evaluate(of_sets)["eval_accuracy"] == 50
    run.acceptable = acceptable_answers_of("vqa_med_2019")
    assert run.evaluate(either)["eval_accuracy"] == 100


def test_every_question_counts_though_training_drops_the_last(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, dataloader_drop_last=True, per_device_eval_batch_size=5)
    assert len(data) % 5
    assert len(run.predict(data).label_ids) == len(data)
    assert run.get_train_dataloader().batch_sampler.drop_last


def test_what_cannot_be_measured_is_refused_before_training(tmp_path, processor, data):
    args = AmifVqaArguments(output_dir=str(tmp_path), report_to="none", eval_strategy="epoch")
    unanswered = with_answers(data, [None] * len(data))
    options = {"model": small_model(), "args": args, "train_dataset": data, "processing_class": processor}
    with pytest.raises(ValueError, match=f"None of the {len(data)} validation rows has an answer"):
        AmifVqaTrainer(eval_dataset=unanswered, **options)
    with pytest.raises(ValueError, match="other rows has an answer"):
        AmifVqaTrainer(eval_dataset={"one": data, "other": unanswered}, **options)
    with pytest.raises(ValueError, match=r"no validation split to measure checkpoints by: .* --eval_strategy no --loa"):
        AmifVqaTrainer(**options)
    for nothing in (unanswered, data.select([])):
        with pytest.raises(ValueError, match=f"None of the {len(nothing)} training questions has an answer"):
            AmifVqaTrainer(eval_dataset=data, **options | {"train_dataset": nothing})


def with_answers(data, answers):
    return data.remove_columns("answer").add_column("answer", answers)


def test_frozen_encoder_sees_each_image_once(tmp_path, processor, data, monkeypatch):
    run = trainer(tmp_path, processor, data, num_train_epochs=3, freeze_vision_encoder=True, eval_strategy="epoch")
    seen = []
    encode = run.model.model.encode_images
    monkeypatch.setattr(run.model.model, "encode_images", lambda pixels: seen.append(len(pixels)) or encode(pixels))
    run.train()
    assert sum(seen) == 12


def test_the_last_block_of_the_vision_encoder_is_trained_alone(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, num_train_epochs=1, learning_rate=3e-3, trained_vision_blocks=1)
    before = {name: value.clone() for name, value in run.model.model.vision_model.state_dict().items()}
    run.train()
    after = run.model.model.vision_model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {name for name in changed if name.startswith("layers.")} == {n for n in after if n.startswith("layers.1.")}
    assert not any(name.startswith("embeddings.") for name in changed)


def test_training_drops_the_threshold_that_was_chosen_for_other_weights(tmp_path, data):
    processor = build_processor()
    processor.abstention_threshold = -0.5
    run = trainer(tmp_path, processor, data, max_steps=1)
    run.predict(data)
    assert processor.abstention_threshold == -0.5
    run.train()
    assert processor.abstention_threshold is None


def test_answers_come_in_the_order_of_the_rows(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, per_device_eval_batch_size=5)
    shuffled = data.shuffle(seed=3)
    expected = dict(zip(data["question_id"], zip(*run.predict_answers(data), strict=True), strict=True))
    for question, answer, score in zip(shuffled["question_id"], *run.predict_answers(shuffled), strict=True):
        assert answer == expected[question][0]
        assert score == pytest.approx(expected[question][1], abs=1e-4)


def test_no_questions_get_no_answers(tmp_path, processor, data):
    assert trainer(tmp_path, processor, data).predict_answers(data.select([])) == ([], [])


def test_predictions_equal_ranking_each_question_alone(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data)
    answers, scores = run.predict_answers(data)
    model = run.model.eval()
    for row in range(0, len(data), 5):
        inputs = processor(images=data[row]["image"], text=data[row]["question"])
        best = model.rank_answers(**inputs, answers=processor.encode_answers(CANDIDATES), method="exhaustive")
        assert CANDIDATES[best.indices[0, 0]] == answers[row]
        assert best.scores[0, 0].item() == pytest.approx(scores[row], abs=1e-4)


def test_candidates_of_another_wording_are_ranked_as_training_taught_them(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data)
    plain = run.predict_answers(data)
    run.candidates = [f"{answer.upper()}," for answer in CANDIDATES]
    answers, scores = run.predict_answers(data)
    assert answers == [f"{answer.upper()}," for answer in plain[0]]
    assert scores == plain[1]


def test_generation_without_candidates(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, per_device_eval_batch_size=7)
    run.candidates = None
    answers, scores = run.predict_answers(data)
    assert scores == [None] * len(data)
    inputs = processor(images=data[3]["image"], text=data[3]["question"])
    expected = processor.batch_decode(run.model.eval().generate(**inputs), skip_special_tokens=True)
    assert answers[3] == expected[0]


def model_without_dropout():
    model = small_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def gradients_of_one_step(tmp_path, processor, data, **arguments):
    """Gradients and loss at the first optimizer step, with dropout off."""
    model = model_without_dropout()
    run = trainer(tmp_path, processor, data, model, max_steps=1, max_grad_norm=0.0, logging_steps=1, **arguments)
    kept = {}

    def keep(*_args, **_kwargs):
        kept.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    run.create_optimizer().register_step_pre_hook(keep)
    run.train()
    return kept, run.state.log_history[0]["loss"]


def test_accumulation_equals_one_big_batch(tmp_path, processor, data):
    whole, loss = gradients_of_one_step(tmp_path, processor, data, per_device_train_batch_size=16)
    parts, parts_loss = gradients_of_one_step(
        tmp_path, processor, data, per_device_train_batch_size=4, gradient_accumulation_steps=4
    )
    assert parts_loss == pytest.approx(loss, rel=1e-4)
    assert whole.keys() == parts.keys()
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-3, atol=1e-5, msg=name)


def test_label_smoothing_in_training_alone(tmp_path, processor, data):
    share = 0.2
    run = trainer(tmp_path, processor, data, model_without_dropout(), label_smoothing_factor=share)
    batch = run.collator([run._rows(data, False)[row] for row in range(6)])
    labels, pad = batch["labels"], run.model.config.pad_token_id
    plain, output = run.compute_loss(run.model.eval(), batch, return_outputs=True)
    smoothed = run.compute_loss(run.model.train(), batch)
    expected = hard = 0.0
    for scores, answer in zip(output.logits.log_softmax(-1), labels, strict=True):
        for position, token in enumerate(answer[1:]):
            if token != pad:
                hard -= scores[position, token]
                expected -= (1 - share) * scores[position, token] + share * scores[position].mean()
    torch.testing.assert_close(plain, hard / len(labels))
    torch.testing.assert_close(smoothed, expected / len(labels))


def test_learning_rates_by_part(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, learning_rate=1e-3, fusion_learning_rate=2e-3, vision_learning_rate=3e-3)
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    rates = {names[p]: group["lr"] for group in run.create_optimizer().param_groups for p in group["params"]}
    assert len(rates) == len(names), "each parameter stands in one group"
    assert rates["model.vision_model.embeddings.cls_token"] == 3e-3
    for part in (
        "model.image_projection",
        "model.co_attention.text_layers.0.feed_forward.expand",
        "knowledge_fusion.gate",
    ):
        assert rates[f"{part}.weight"] == 2e-3
    assert rates["decoder.bert.encoder.layer.1.crossattention.self.key.weight"] == 2e-3
    assert rates["decoder.bert.encoder.layer.1.attention.self.key.weight"] == 1e-3
    assert rates["model.text_model.embeddings.word_embeddings.weight"] == 1e-3
    decays = {names[p]: group["weight_decay"] for group in run.optimizer.param_groups for p in group["params"]}
    assert decays["knowledge_fusion.gate.bias"] == 0
    assert decays["knowledge_fusion.gate.weight"] == 0.05


def test_rates_of_the_vision_encoder_fall_with_its_blocks(tmp_path, processor, data):
    rates_given = {"learning_rate": 1e-3, "vision_learning_rate": 4e-3, "vision_layer_decay": 0.5}
    run = trainer(tmp_path, processor, data, **rates_given, trained_vision_blocks=2)
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    rates = {names[p]: group["lr"] for group in run.create_optimizer().param_groups for p in group["params"]}
    blocks = {name.split(".layers.")[1][0]: rate for name, rate in rates.items() if "vision_model.layers." in name}
    assert blocks == {"0": 2e-3, "1": 4e-3}
    assert rates["model.vision_model.layernorm.weight"] == 4e-3
    assert {rate for name, rate in rates.items() if ".vision_model." not in name} == {1e-3}


def test_rows_without_answer_are_left_out_and_counted(tmp_path, processor, data, monkeypatch):
    from amif.training.fine_tuning import trainer as vqa_trainer

    messages = []
    monkeypatch.setattr(vqa_trainer.logger, "warning", messages.append)
    unanswered = data.map(lambda row, i: {"answer": None if i in (2, 5) else row["answer"]}, with_indices=True)
    run = trainer(tmp_path, processor, unanswered)
    assert len(run.train_dataset) == 22
    assert messages == ["2 of 24 training questions have no answer: left out."]


def weights_of_best(run):
    from_disk = type(run.model).from_pretrained(run.state.best_model_checkpoint)
    return from_disk.state_dict()


def test_best_checkpoint_on_validation_is_loaded_whole(tmp_path, processor, data, monkeypatch):
    """Also the weights of encoders that are saved under other names than they have in memory, as ViT's attention."""
    run = trainer(
        tmp_path,
        processor,
        data,
        num_train_epochs=3,
        learning_rate=3e-3,
        save_strategy="epoch",
        eval_strategy="epoch",
        load_best_model_at_end=True,
        save_total_limit=None,
    )
    accuracies = iter([30.0, 20.0, 10.0])
    monkeypatch.setattr(run, "_accuracy", lambda *_: {"accuracy": next(accuracies)})
    run.train()
    assert run.state.best_model_checkpoint.endswith("checkpoint-3"), "the first epoch's"
    expected = weights_of_best(run)
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def epochs_and_rows(run, monkeypatch):
    """What the training collator is given, batch by batch: the epoch that rows carry, and the rows."""
    seen, collate = [], AmifVqaCollator.__call__

    def record(collator, rows):
        seen.append((rows[0]["epoch"], [row["row"] for row in rows], "image_states" in rows[0]))
        return collate(collator, rows)

    monkeypatch.setattr(AmifVqaCollator, "__call__", record)
    run.train()
    return seen


BY_LENGTH = {"train_sampling_strategy": "group_by_length", "gradient_accumulation_steps": 3}


@pytest.mark.parametrize("grouped", [{"questions_per_image": 2}, BY_LENGTH])
def test_each_epoch_has_its_own_order_and_augmentation(tmp_path, processor, data, monkeypatch, grouped):
    run = trainer(tmp_path, processor, data, num_train_epochs=3, augment_images=True, **grouped)
    seen = epochs_and_rows(run, monkeypatch)
    assert [epoch for epoch, *_ in seen] == [0] * 3 + [1] * 3 + [2] * 3
    orders = [[row for _, rows, _ in seen[start : start + 3] for row in rows] for start in (0, 3, 6)]
    assert all(sorted(order) == list(range(24)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_step_sorts_its_answers_into_batches(tmp_path, processor, data, monkeypatch):
    """Half of the answers get a word more; a step of all 24 questions is three batches of eight."""
    longer = data.map(lambda row, place: {"answer": row["answer"] + " left" * (place % 2)}, with_indices=True)
    length = [len(answer.split()) for answer in longer["answer"]]
    run = trainer(tmp_path, processor, longer, num_train_epochs=1, **BY_LENGTH)
    batches = [[length[row] for row in rows] for _, rows, _ in epochs_and_rows(run, monkeypatch)]
    assert batches == [[1] * 8, [1] * 4 + [2] * 4, [2] * 8]


def test_a_step_of_sorted_batches_has_the_gradients_of_the_whole(tmp_path, processor, data):
    whole, loss = gradients_of_one_step(tmp_path, processor, data, per_device_train_batch_size=24)
    parts, loss_of_parts = gradients_of_one_step(tmp_path, processor, data, per_device_train_batch_size=8, **BY_LENGTH)
    assert loss_of_parts == pytest.approx(loss, rel=1e-4)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-5)


FROZEN_AUGMENTED = {"freeze_vision_encoder": True, "augment_images": True}


def states_an_epoch(run, data, monkeypatch):
    """What the model is given of each image, by epoch and `image_id`."""
    states, compute_loss = {}, run.compute_loss

    def record(model, inputs, *args, **kwargs):
        for row, place in zip(inputs["row"].tolist(), inputs["image_index"].tolist(), strict=True):
            states[int(run.state.epoch), data["image_id"][row]] = inputs["image_states"][place].clone()
        return compute_loss(model, inputs, *args, **kwargs)

    monkeypatch.setattr(run, "compute_loss", record)
    run.train()
    return states


@pytest.mark.parametrize("workers", [{}, {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}])
def test_frozen_encoder_sees_each_image_once_an_epoch_in_a_new_draw(tmp_path, processor, data, monkeypatch, workers):
    run = trainer(tmp_path, processor, data, num_train_epochs=2, **FROZEN_AUGMENTED, **workers)
    encoded, encode = [], run.model.model.encode_images
    monkeypatch.setattr(run.model.model, "encode_images", lambda pixels: encoded.append(len(pixels)) or encode(pixels))
    states = states_an_epoch(run, data, monkeypatch)
    images = list(dict.fromkeys(data["image_id"]))
    assert sum(encoded) == 2 * len(images)
    augmentation = LateralitySafeAugmentation(run.model.config.vision_config.image_size, run.args.seed)
    run.model.eval()
    for epoch, image_id in product((0, 1), images):
        row = data["image_id"].index(image_id)
        image = augmentation(data[row]["image"].convert("RGB"), epoch=epoch, row=row)
        with torch.no_grad():
            expected = encode(processor(images=image)["pixel_values"])[0]
        torch.testing.assert_close(states[epoch, image_id], expected, rtol=0, atol=1e-5)
    assert not torch.equal(states[0, images[0]], states[1, images[0]])


def test_evaluation_after_augmented_training_reads_plain_states(tmp_path, processor, data):
    run = trainer(tmp_path, processor, data, num_train_epochs=1, **FROZEN_AUGMENTED)
    run.train()
    run.evaluate(data)
    plain = encode_unique_images(run.model, processor, data, batch_size=4, progress=False)
    for image_id, states in run._rows(data).image_states.items():
        torch.testing.assert_close(states, plain[image_id], rtol=0, atol=1e-5)


def test_tensorboard_gets_loss_and_accuracy(tmp_path, processor, data, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    options = {"report_to": "tensorboard", "logging_steps": 1, "eval_strategy": "epoch", "num_train_epochs": 2}
    run = trainer(tmp_path, processor, data, **options)
    run.train()
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    logged = [entry for entry in run.state.log_history if "loss" in entry]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx([entry["loss"] for entry in logged])
    assert [event.step for event in events.Scalars("eval/accuracy")] == [3, 6]
