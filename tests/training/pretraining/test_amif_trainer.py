import math
import string
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pretraining_runs import SCHEDULE, check_resumes, pretrainer, small_studies, spread_weights
from small_models import small_config
from started_scripts import run_two
from torch.testing import assert_close
from transformers import BertTokenizer, ViTImageProcessor

from amif import AmifForPreTraining, AmifPreTrainer, AmifPreTrainingArguments, AmifProcessor
from amif.modeling_amif.pretraining_amif import AmifPreTrainingOutput
from amif.training.data import AmifPreTrainingCollator
from amif.training.losses import sample_hard_negatives, transport_loss
from amif.training.pretraining import amif_trainer

HARD_NEGATIVES = torch.tensor([[1, 2, 3], [0, -1, 2], [3, 0, 1], [-1, 1, 0]])


def small_pretraining_model(**changes):
    torch.manual_seed(0)
    return spread_weights(AmifForPreTraining(small_config(**changes)))


def batch(studies=4, teacher=True):
    generator = torch.Generator().manual_seed(1)
    inputs = {
        "pixel_values": torch.randn(2 * studies, 3, 32, 32, generator=generator),
        "input_ids": torch.randint(3, 100, (studies, 6), generator=generator),
        "attention_mask": torch.ones(studies, 6, dtype=torch.long),
        "text_group": torch.arange(studies),
    }
    if teacher:
        inputs["teacher_image_embeds"] = torch.randn(2 * studies, 5, generator=generator)
        inputs["teacher_text_embeds"] = torch.randn(studies, 5, generator=generator)
    return inputs


def trainer(tmp_path, model=None, **arguments):
    args = AmifPreTrainingArguments(
        output_dir=str(tmp_path), report_to="none", eval_strategy="no", load_best_model_at_end=False, **arguments
    )
    return AmifPreTrainer(model=model or small_pretraining_model(), args=args, processing_class=processor())


def processor():
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *(chr(97 + i) for i in range(26)),
        *(f"##{chr(97 + i)}" for i in range(26)),
    ]
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(words)})
    return AmifProcessor(ViTImageProcessor(size={"height": 32, "width": 32}), tokenizer)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def softmax(rows):
    exponentials = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def divergence(targets, similarity, temperature):
    """Mean over rows of KL(targets || softmax), entry by entry."""
    total = 0.0
    for target, row in zip(targets, similarity, strict=True):
        probabilities = softmax(row / temperature)
        total += sum(h * (math.log(h) - math.log(p)) for h, p in zip(target, probabilities, strict=True) if h > 0)
    return total / len(similarity)


def global_loss_by_hand(output, inputs, soft):
    images, texts = output.image_embeds.double().numpy(), output.text_embeds.double().numpy()
    if soft:
        teacher_texts = unit(inputs["teacher_text_embeds"].double().numpy())
        teacher_images = unit(inputs["teacher_image_embeds"].double().numpy()).reshape(2, len(texts), -1)

    def kl(student, teacher):
        if not soft:
            return divergence(np.eye(len(student)), student, 0.07)
        labels = (softmax(teacher / 0.07) + 0.01 * np.eye(len(student))) / 1.01
        return divergence(labels, student, 0.07)

    def aligned(rows, columns, teacher_rows=None, teacher_columns=None):
        return kl(rows @ columns.T, teacher_rows @ teacher_columns.T if soft else None)

    views = [(images[v], teacher_images[v] if soft else None) for v in range(2)]
    text = (texts, teacher_texts if soft else None)

    def pair(a, b):
        return aligned(a[0], b[0], a[1], b[1])

    i2t = (pair(views[0], text) + pair(views[1], text)) / 2
    t2i = (pair(text, views[0]) + pair(text, views[1])) / 2
    i2i = (pair(views[0], views[1]) + pair(views[1], views[0])) / 2
    return {"inter": (i2t + t2i) / 2, "i2i": i2i, "t2t": pair(text, text)}


@torch.no_grad()
@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("intra", ["full", "text", "none"])
def test_global_stage_is_equations_6_to_8(tmp_path, soft, intra):
    inputs = batch()
    loss, output = trainer(tmp_path, soft_labels=soft, intra=intra).compute_loss(
        small_pretraining_model(), inputs, return_outputs=True
    )
    expected = global_loss_by_hand(output, inputs, soft)
    kept = {"full": ("inter", "i2i", "t2t"), "text": ("inter", "t2t"), "none": ("inter",)}[intra]
    assert loss.item() == pytest.approx(sum(expected[name] for name in kept), rel=1e-5)
    assert output.matching_logits is None


@torch.no_grad()
def test_without_a_teacher_labels_are_one_hot(tmp_path):
    loss = trainer(tmp_path).compute_loss(small_pretraining_model(), batch(teacher=False))
    assert_close(loss, trainer(tmp_path, soft_labels=False).compute_loss(small_pretraining_model(), batch()))


@torch.no_grad()
@pytest.mark.parametrize(("matching_kinds", "count"), [("all", 3), ("image_text", 1)])
def test_local_stage_is_equations_9_and_13(tmp_path, matching_kinds, count):
    inputs = batch() | {"hard_negatives": HARD_NEGATIVES}
    arguments = {"stage": "local", "local_weight": 0.5, "hard_negative_weight": 3.0, "global_weight": 0.25}
    run = trainer(tmp_path, matching_kinds=matching_kinds, **arguments)
    loss, output = run.compute_loss(small_pretraining_model(), inputs, return_outputs=True)
    assert output.matching_logits.shape == (count, 8, 2)
    matching = 0.0
    for kind in range(count):
        logits = output.matching_logits[kind].double()
        for row in range(4):
            matching += -logits[row].log_softmax(0)[0].item() / 8
            if HARD_NEGATIVES[row, kind] >= 0:
                matching += -logits[4 + row].log_softmax(0)[1].item() / 8
    transport = transport_loss(output.fused_image_states[:, 1:], output.fused_text_states[:, 1:-1]).item()
    global_loss = sum(global_loss_by_hand(output, inputs, soft=True).values())
    assert loss.item() == pytest.approx(0.5 * transport + 3 * matching + 0.25 * global_loss, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("contrast", ["margin", "softplus"])
def test_the_own_plan_is_contrasted_with_that_of_the_hard_negatives_report(tmp_path, contrast):
    """The other cost is the one of a batch in which each image comes with its hard negative's report."""
    inputs, model = batch() | {"hard_negatives": HARD_NEGATIVES}, small_pretraining_model()
    run = trainer(tmp_path, stage="local", hard_negative_weight=0.0, local_contrast=contrast, local_margin=0.3)
    loss, output = run.compute_loss(model, inputs, return_outputs=True)
    reports = HARD_NEGATIVES[:, 0].clamp(min=0)
    exchanged = model(
        inputs["pixel_values"],
        inputs["input_ids"][reports],
        inputs["attention_mask"][reports],
        hard_negatives=HARD_NEGATIVES,
    )
    own, other = (
        [
            transport_loss(image[1:].unsqueeze(0), text[1:-1].unsqueeze(0)).item()
            for image, text in zip(pairs.fused_image_states, pairs.fused_text_states, strict=True)
        ]
        for pairs in (output, exchanged)
    )
    assert HARD_NEGATIVES[:, 0].tolist() == [1, 0, 3, -1], "the last study has none to lie below"
    apart = [mine - theirs + 0.3 for mine, theirs in zip(own, other, strict=True)][:3]
    by_hand = [max(0, x) if contrast == "margin" else math.log(1 + math.exp(x)) for x in apart]
    assert loss.item() == pytest.approx(sum(by_hand) / 4, rel=1e-5)
    assert run._terms[False, "transport"][0].item() == pytest.approx(sum(own) / 4, rel=1e-5)


@pytest.mark.parametrize("detach", [False, True])
def test_image_tokens_move_for_the_plan_unless_they_are_detached(tmp_path, detach):
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(4, size, 8, generator=generator, requires_grad=True) for size in (5, 6, 5, 6)]
    image_mask, text_mask = torch.ones(4, 5, dtype=torch.bool), torch.ones(4, 6, dtype=torch.bool)
    output = AmifPreTrainingOutput(
        fused_image_states=states[0],
        fused_text_states=states[1],
        negative_image_states=states[2],
        negative_text_states=states[3],
        image_token_mask=image_mask,
        text_token_mask=text_mask,
        negative_text_mask=text_mask,
        matching_logits=torch.zeros(1, 8, 2),
    )
    arguments = {"matching_kinds": "image_text", "local_contrast": "softplus", "detach_image_tokens": detach}
    run = trainer(tmp_path, stage="local", **arguments)
    terms = run._local_terms(output, torch.tensor([[1], [0], [3], [2]]))
    terms["transport_contrast"].backward()
    moved = [state.grad is not None and state.grad.abs().sum() > 0 for state in states]
    assert moved == [not detach, True, not detach, True]


@torch.no_grad()
@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (20, 1.0)])
def test_negatives_go_from_all_alike_to_the_labels(tmp_path, step, share):
    """Of 100 steps a tenth warms up: frequencies among five studies, of which one has the first's report."""
    model = small_pretraining_model().train()
    run = trainer(tmp_path, model, stage="local", hard_negative_warmup=0.1, soft_label_temperature=1.0)
    run.state.max_steps, run.state.global_step = 100, step
    similarity = torch.tensor([0.3, 2.0, 1.0, 0.0, 5.0]).expand(5, 5)
    teacher = {name: similarity.unsqueeze(0) for name in ("i2t", "i2i", "t2t")}
    torch.manual_seed(0)
    groups = {"text_group": torch.tensor([0, 1, 2, 3, 0]), "input_ids": torch.arange(5).unsqueeze(1)}
    drawn_here = torch.stack([run.draw_hard_negatives(groups, teacher)[0] for _ in range(4000)])
    frequencies = torch.bincount(drawn_here.flatten(), minlength=5) / drawn_here.numel()
    odds = [math.exp(value) for value in (2.0, 1.0, 0.0)]
    expected = [share * value / sum(odds) + (1 - share) / 3 for value in odds]
    assert frequencies.tolist() == pytest.approx([0, *expected, 0], abs=0.02)
    assert frequencies[[0, 4]].tolist() == [0, 0]


def test_a_warmup_of_more_than_the_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--hard_negative_warmup 1\.5: give a share of the steps, 0 to 1"):
        trainer(tmp_path, stage="local", hard_negative_warmup=1.5)


def gradients_of(loss, model):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_a_global_loss_of_no_weight_is_not_computed_and_changes_nothing_else(tmp_path, monkeypatch):
    """Loss and gradients are linear in the weight: at 0 they are twice those at 1/2 minus those at 1."""
    inputs, model = batch() | {"hard_negatives": HARD_NEGATIVES}, small_pretraining_model()
    losses, gradients = {}, {}
    for weight in (1.0, 0.5, 0.0):
        run = trainer(tmp_path, model, stage="local", freeze_encoders=False, global_weight=weight)
        if not weight:
            monkeypatch.setattr(run, "_global_terms", lambda *_: pytest.fail("it weighs nothing"))
        losses[weight] = run.compute_loss(model, inputs)
        gradients[weight] = gradients_of(losses[weight], model)
        assert ((True, "i2t") in run._terms or (False, "i2t") in run._terms) == bool(weight)
    assert_close(losses[0.0], 2 * losses[0.5] - losses[1.0], rtol=1e-5, atol=1e-6)
    assert gradients[1.0].keys() - gradients[0.0].keys() == {"log_temperatures"}
    for name, gradient in gradients[0.0].items():
        assert_close(gradient, 2 * gradients[0.5][name] - gradients[1.0][name], rtol=1e-3, atol=1e-5, msg=name)


def test_what_is_trained_gets_a_gradient(tmp_path):
    """With several processes torch refuses the next step where something waits for one in vain."""
    for stage in ("global", "local"):
        model = small_pretraining_model()
        trainer(tmp_path, model, stage=stage, freeze_encoders=False).compute_loss(model, batch()).backward()
        waiting = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
        assert not waiting, stage


def test_the_teachers_similarities_are_computed_once_a_step(tmp_path, monkeypatch):
    seen = []
    similarities = amif_trainer.batch_similarities
    monkeypatch.setattr(
        amif_trainer, "batch_similarities", lambda images, texts: seen.append(images) or similarities(images, texts)
    )
    model, inputs = small_pretraining_model(), batch()
    trainer(tmp_path, model, stage="local", global_weight=1.0).compute_loss(model, inputs)
    assert [len(images[0, 0]) for images in seen] == [5, model.config.hidden_size], "of teacher and model"


def test_negatives_of_a_process_are_drawn_by_its_own_part_of_the_teachers_similarities(tmp_path, monkeypatch):
    model = small_pretraining_model().eval()
    run = trainer(tmp_path, model, stage="local")
    similarity = torch.eye(4).roll(1, dims=1)  # to study i the next one is alike, of the second process
    teacher = {name: torch.block_diag(torch.zeros(4, 4), similarity).unsqueeze(0) for name in ("i2t", "i2i", "t2t")}
    monkeypatch.setattr(AmifPreTrainingArguments, "process_index", 1)
    inputs = {"text_group": torch.arange(4), "input_ids": torch.arange(4).unsqueeze(1)}
    drawn_there = run.draw_hard_negatives(inputs, teacher)
    assert drawn_there.T.tolist() == [[1, 2, 3, 0]] * 3


def test_hard_negatives_of_too_few_kinds_are_refused(tmp_path):
    inputs = batch() | {"hard_negatives": HARD_NEGATIVES[:, :1]}
    with pytest.raises(ValueError, match="1 columns, and --matching_kinds all matches 3 kinds of pairs"):
        trainer(tmp_path, stage="local").compute_loss(small_pretraining_model(), inputs)


def test_local_stage_trains_what_reads_both_modalities(tmp_path):
    model = small_pretraining_model()
    trainer(tmp_path, model, stage="local").compute_loss(model, batch()).backward()
    trained = {
        name.split(".")[1] for name, weight in model.model.named_parameters(prefix="model") if weight.grad is not None
    }
    assert trained == {"image_projection", "text_projection", "co_attention"}
    assert model.matching_head.weight.grad.abs().sum() > 0
    free = small_pretraining_model()
    trainer(tmp_path, free, stage="local", freeze_encoders=False).compute_loss(free, batch()).backward()
    assert free.model.text_model.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def drawn(trainer, model, inputs):
    seen = {}
    handle = model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(negatives=kwargs["hard_negatives"]), with_kwargs=True
    )
    trainer.compute_loss(model, inputs)
    handle.remove()
    return seen["negatives"]


@torch.no_grad()
def test_hard_negatives_come_from_the_teacher_and_never_from_the_same_report(tmp_path):
    """A teacher to which study 0 and 2 are nearly alike: they are each other's negatives, unless of one report."""
    inputs = batch()
    text = torch.eye(5)[:4]
    text[2] = 0.99 * text[0] + 0.1 * text[2]
    inputs["teacher_text_embeds"], inputs["teacher_image_embeds"] = text, torch.cat([text, text])
    model = small_pretraining_model()
    negatives = drawn(trainer(tmp_path, model, stage="local"), model, inputs)
    assert negatives[[0, 2]].tolist() == [[2, 2, 2], [0, 0, 0]]
    negatives = drawn(trainer(tmp_path, model, stage="local", matching_kinds="image_text"), model, inputs)
    assert negatives[[0, 2]].tolist() == [[2], [0]]
    inputs["text_group"] = torch.tensor([7, 1, 7, 3])
    negatives = drawn(trainer(tmp_path, model, stage="local"), model, inputs)
    assert not (negatives[0] == 2).any()
    assert not (negatives[2] == 0).any()
    inputs["text_group"] = torch.zeros(4, dtype=torch.long)
    assert (drawn(trainer(tmp_path, model, stage="local"), model, inputs) == -1).all()


@torch.no_grad()
def test_reports_that_are_the_same_as_far_as_they_are_read_are_no_negatives(tmp_path):
    inputs = batch(studies=16)
    inputs["input_ids"][1::2] = inputs["input_ids"][1]  # as of long reports that differ behind what is cut off
    for warmup in (0.0, 1.0):
        model = small_pretraining_model().train()
        negatives = drawn(trainer(tmp_path, model, stage="local", hard_negative_warmup=warmup), model, inputs)
        assert (negatives[1::2] % 2 == 0).all()
        assert (negatives[::2] % 2 == 1).any(), "to all others they are"


@torch.no_grad()
def test_negatives_of_which_the_same_is_seen_are_counted(tmp_path):
    model = small_pretraining_model().train()
    local = trainer(tmp_path, model, stage="local")
    inputs = batch() | {"visible_group": torch.tensor([5, 5, 6, 7])}
    for negatives, share in (([1, 2, 3, -1], 1 / 3), ([2, 3, 0, 1], 0.0), ([-1, -1, -1, 2], 0.0)):
        inputs["hard_negatives"] = torch.tensor(negatives).unsqueeze(1).expand(4, 3)
        local.compute_loss(model, inputs)
        assert local._take_means(training=True)["false_negatives"] == pytest.approx(share)


@torch.no_grad()
def test_evaluation_meets_the_same_negatives_and_leaves_the_random_state(tmp_path):
    model = small_pretraining_model().eval()
    local = trainer(tmp_path, model, stage="local", soft_labels=False)
    state = torch.get_rng_state()
    first = drawn(local, model, batch(studies=16))
    assert torch.equal(first, drawn(local, model, batch(studies=16)))
    assert torch.equal(state, torch.get_rng_state())
    model.train()
    assert not torch.equal(drawn(local, model, batch(studies=16)), drawn(local, model, batch(studies=16)))


@torch.no_grad()
def test_the_flexibility_weight_does_not_change_which_negatives_are_drawn(tmp_path):
    model = small_pretraining_model().eval()
    some, much = (
        drawn(trainer(tmp_path, model, stage="local", flexibility_weight=weight), model, batch(studies=16))
        for weight in (0.01, 10.0)
    )
    assert torch.equal(some, much)


def test_uniform_negatives_without_a_teacher():
    """What the trainer hands to the sampler without a teacher: equal weights, so each other study equally often."""
    draws = sample_hard_negatives(torch.ones(4000, 5), torch.zeros(4000, 5).bool(), torch.Generator().manual_seed(0))
    counts = torch.bincount(draws[5:], minlength=5)
    assert counts.min() > 700


@pytest.fixture(scope="module")
def studies():
    return small_studies()


def test_studies_train_evaluate_and_log_every_term(tmp_path, studies):
    before = small_pretraining_model()
    options = {"processor": processor(), "studies": studies, "stage": "local", "global_weight": 1.0}
    run = pretrainer("amif", tmp_path, small_pretraining_model(), **options, **SCHEDULE)
    run.train()
    logged = next(entry for entry in run.state.log_history if "loss" in entry)
    weighted = (logged["i2t"] + logged["t2i"]) / 2 + logged["i2i"] + logged["t2t"] + logged["transport"]
    weighted += logged["matching_image_text"] + logged["matching_image_image"] + logged["matching_text_text"]
    assert logged["loss"] == pytest.approx(weighted, rel=1e-3)
    health = ("plan_entropy", "token_cosine_image", "equality_accuracy_text_text", "skipped_negatives", "temperature_1")
    assert all(math.isfinite(logged[name]) for name in health)
    metrics = run.evaluate()
    assert metrics["eval_recall_i2t@10"] == 1.0, "six studies"
    assert {"eval_loss", "eval_i2t", "eval_transport", "eval_matching_accuracy_image_text"} <= metrics.keys()
    encoder = "model.text_model.embeddings.word_embeddings.weight"
    after = dict(run.model.named_parameters())
    assert torch.equal(after[encoder], dict(before.named_parameters())[encoder])
    assert not torch.equal(after["matching_head.weight"], before.matching_head.weight)


@torch.no_grad()
def test_recall_over_a_split_counts_equal_reports_as_hits(tmp_path, studies):
    split = studies["train"].select(range(12))
    split = split.remove_columns("text").add_column(
        "text", [f"a mass of kind {string.ascii_lowercase[row % 4]}" for row in range(12)]
    )
    model = small_pretraining_model()
    options = {"processor": processor(), "studies": studies, "per_device_eval_batch_size": 5}
    metrics = pretrainer("amif", tmp_path, model, **options).evaluate(split)
    rows = [{**split[row], "row": row, "epoch": 0} for row in range(12)]
    inputs = AmifPreTrainingCollator(processor(), max_report_length=64)(rows)
    images = model.embed_images(inputs["pixel_values"][:12])
    texts = model.embed_texts(inputs["input_ids"], inputs["attention_mask"])
    for k in (1, 5):
        ranked = [(images[row] @ texts.T).argsort(descending=True, stable=True)[:k] for row in range(12)]
        hits = [any(int(column) % 4 == row % 4 for column in columns) for row, columns in enumerate(ranked)]
        assert metrics[f"eval_recall_i2t@{k}"] == pytest.approx(np.mean(hits), abs=1e-6)


@pytest.mark.parametrize("stage", ["global", "local"])
def test_resumed_run_ends_with_the_weights_of_the_uninterrupted_one(tmp_path, stage):
    """Dropout, augmentation and the draws of negatives on."""
    check_resumes("amif", tmp_path, small_pretraining_model, processor=processor(), stage=stage)


def test_temperatures_are_learnt_without_decay_or_frozen(tmp_path):
    model = small_pretraining_model()
    assert "log_temperatures" not in trainer(tmp_path, model).get_decay_parameter_names(model)
    trainer(tmp_path, model).compute_loss(model, batch()).backward()
    assert model.log_temperatures.grad.abs().min() > 0
    frozen = small_pretraining_model()
    trainer(tmp_path, frozen, freeze_temperatures=True)
    assert not frozen.log_temperatures.requires_grad


def test_every_study_counts_though_training_drops_the_last(tmp_path, studies):
    options = {"processor": processor(), "studies": studies, "per_device_eval_batch_size": 4}
    pairs = studies["train"].select(range(6))
    expected = pretrainer("amif", tmp_path, small_pretraining_model(), **options).evaluate(pairs)
    dropping = pretrainer("amif", tmp_path, small_pretraining_model(), dataloader_drop_last=True, **options)
    assert dropping.evaluate(pairs)["eval_recall_i2t@1"] == expected["eval_recall_i2t@1"]
    assert dropping.evaluate(pairs)["eval_recall_i2t@5"] < 1, "five of six studies"
    assert dropping.get_train_dataloader().batch_sampler.drop_last


def test_data_loader_workers_cannot_share_an_accelerators_teacher(tmp_path):
    teacher = SimpleNamespace(device=torch.device("cuda"))
    args = AmifPreTrainingArguments(output_dir=str(tmp_path), report_to="none", dataloader_num_workers=2)
    with pytest.raises(ValueError, match="--dataloader_num_workers 0, or --teacher_mode cached"):
        AmifPreTrainer(small_pretraining_model(), args, teacher=teacher, processing_class=processor())


def test_unknown_stage_and_intra_are_refused(tmp_path):
    with pytest.raises(ValueError, match="stage='third'"):
        AmifPreTrainingArguments(output_dir=str(tmp_path), stage="third")


ONE_OF_TWO = """
import os
import sys
import torch
import torch.distributed as dist
here, folder, stage = sys.argv[1:]
sys.path.append(here)
from test_amif_trainer import batch, small_pretraining_model, trainer

model = small_pretraining_model()
arguments = {"freeze_encoders": False, "global_weight": 1.0, "local_contrast": "softplus"}
pretrainer = trainer(folder, model, stage=stage, use_cpu=True, **arguments)
assert dist.get_world_size() == 2
rank = dist.get_rank()
whole = torch.load(folder + "/batch.pt", weights_only=True)
mine = slice(4 * rank, 4 * rank + 4)
share = {name: value[mine] for name, value in whole.items() if "image" not in name and name != "pixel_values"}
for name in ("pixel_values", "teacher_image_embeds"):
    share[name] = torch.cat([whole[name][:8][mine], whole[name][8:][mine]])
share["hard_negatives"] = torch.where(share["hard_negatives"] < 0, -1, share["hard_negatives"] - 4 * rank)
ddp = torch.nn.parallel.DistributedDataParallel(model)  # every parameter that is trained has a gradient
loss = pretrainer.compute_loss(ddp, share)
loss.backward()
dist.all_reduce(loss.detach().div_(2))
model.eval()
for figure in ([0.0], [3.0, float("nan")])[rank]:
    pretrainer._keep({"figure": torch.tensor(figure)})
assert pretrainer._take_means(training=False)["figure"] == 1.5
if rank == 0:
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    torch.save((loss.detach(), gradients), folder + "/two.pt")
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # what gloo leaves can abort the interpreter while it ends
"""


@pytest.mark.parametrize("stage", ["global", "local"])
def test_two_processes_have_the_loss_and_gradients_of_one(tmp_path, stage):
    inputs = batch(studies=8)
    inputs["hard_negatives"] = torch.cat([HARD_NEGATIVES, torch.where(HARD_NEGATIVES < 0, -1, HARD_NEGATIVES + 4)])
    torch.save(inputs, tmp_path / "batch.pt")
    script = tmp_path / "one_of_two.py"
    script.write_text(ONE_OF_TWO)
    run_two(script, Path(__file__).parent, tmp_path, stage)
    loss, gradients = torch.load(tmp_path / "two.pt", weights_only=True)
    model = small_pretraining_model()
    arguments = {"freeze_encoders": False, "global_weight": 1.0, "local_contrast": "softplus"}
    whole = trainer(tmp_path, model, stage=stage, **arguments).compute_loss(model, inputs)
    whole.backward()
    assert_close(loss, whole.detach(), rtol=1e-5, atol=0)
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        # A key's bias moves all scores of a row alike: its gradient is rounding alone.
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-6, name
