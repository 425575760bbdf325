import base64
import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
import torch
from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image
from remote_loading import run_without_amif
from safetensors.torch import load_file
from small_models import CANDIDATES, save_small_checkpoint, small_config, small_processor
from transformers import AutoModelForVisualQuestionAnswering, AutoProcessor, pipeline
from transformers.pipelines.pt_utils import KeyDataset
from transformers.utils import logging

from amif import AmifForPreTraining, AmifForVisualQuestionAnswering, AmifVqaPipeline

QUESTIONS = ["is there a mass?", "left lung?", "is the right lung in the left lung?"]

REMOTE = """
import json
from transformers import pipeline
path, image, question = sys.argv[1:]
answer = pipeline("medical-vqa", model=path, trust_remote_code=True)
assert type(answer).__module__.startswith("transformers_modules"), type(answer)
ranked = answer(image=image, question=question, top_k=3)
generated = answer(image=image, question=question, generate=True, generate_kwargs={"max_new_tokens": 4})
answer.save_pretrained(path + "-again")
again = pipeline("medical-vqa", model=path + "-again", trust_remote_code=True)
assert again(image=image, question=question, top_k=3) == ranked
print(json.dumps([ranked, generated]))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_small_checkpoint(tmp_path_factory.mktemp("hub") / "amif-vqa")


@pytest.fixture(scope="module")
def answer(checkpoint):
    return pipeline("medical-vqa", model=str(checkpoint))


def random_image(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 32, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def expected(answer):
    """Scores of all candidates, from the model itself."""

    def rank(image, question):
        inputs = answer.processor(images=image, text=question)
        answers = answer.processor.encode_answers()
        ranking = answer.model.rank_answers(**inputs, answers=answers, top_k=5, method="exhaustive")
        indices, scores = ranking.indices[0].tolist(), ranking.scores[0].tolist()
        return [
            {"answer": CANDIDATES[i], "score": pytest.approx(s, abs=1e-4)} for i, s in zip(indices, scores, strict=True)
        ]

    return rank


def test_one_question_gives_ranked_candidates(answer, expected):
    assert type(answer) is AmifVqaPipeline
    for question in QUESTIONS:
        assert answer(image=random_image(0), question=question, top_k=5) == expected(random_image(0), question)
        assert answer(random_image(0), question) == expected(random_image(0), question)[:1]


def test_every_form_of_many_questions_gives_the_same(answer, expected):
    images, first = [random_image(0), random_image(1), random_image(2)], random_image(0)
    rows = [{"image": image, "question": question} for image, question in zip(images, QUESTIONS, strict=True)]
    wanted = [expected(row["image"], row["question"])[:2] for row in rows]
    assert answer(image=images, question=QUESTIONS, top_k=2) == wanted
    assert answer(rows, top_k=2, batch_size=2) == wanted
    assert answer(rows[1], top_k=2) == wanted[1]
    assert list(answer((row for row in rows), top_k=2, batch_size=2)) == wanted
    assert answer(image=first, question=QUESTIONS) == [expected(first, question)[:1] for question in QUESTIONS]
    assert answer(image=images, question=QUESTIONS[0]) == [expected(image, QUESTIONS[0])[:1] for image in images]


class PlainDataset(torch.utils.data.Dataset):
    """As torch has them: places and a length, no iterator, and no error behind the last row."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        return self.rows[place % len(self.rows)]


def test_images_and_questions_may_be_data_sets(answer, expected):
    images = [random_image(0), random_image(1), random_image(2)]
    rows = PlainDataset([{"image": image, "text": text} for image, text in zip(images, QUESTIONS, strict=True)])
    wanted = [expected(image, question)[:1] for image, question in zip(images, QUESTIONS, strict=True)]
    pairs = KeyDataset(rows, "image"), KeyDataset(rows, "text")
    assert list(answer(*pairs, batch_size=2)) == wanted
    assert list(answer(pairs[0], QUESTIONS)) == wanted
    assert list(answer(image=iter(images), question=iter(QUESTIONS))) == wanted
    assert list(answer(KeyDataset(rows, "image"), QUESTIONS[0])) == answer(images, QUESTIONS[0])
    assert list(answer(images[0], KeyDataset(rows, "text"))) == answer(images[0], QUESTIONS)
    questions = PlainDataset([{"image": row["image"], "question": row["text"]} for row in rows.rows])
    assert list(answer(questions, batch_size=2)) == wanted
    columns = Dataset.from_dict({"image": images, "question": QUESTIONS}).cast_column("image", ImageFeature())
    assert list(answer(columns["image"], columns["question"])) == wanted
    assert list(answer(columns)) == wanted


def test_streams_that_do_not_pair_up_are_refused_by_row(answer):
    answers = answer(iter([random_image(0)] * 2), iter(QUESTIONS), batch_size=1)
    with pytest.raises(ValueError, match='row 2 needs "image" and "question"'):
        list(answers)


def test_an_image_as_web_pages_send_it(answer, tmp_path):
    random_image(0).save(tmp_path / "image.png")
    text = base64.b64encode((tmp_path / "image.png").read_bytes()).decode()
    wanted = answer(str(tmp_path / "image.png"), QUESTIONS[0])
    assert answer(text, QUESTIONS[0]) == answer(f"data:image/png;base64,{text}", QUESTIONS[0]) == wanted


def test_max_new_tokens_is_generates_own(answer):
    limited = answer(random_image(0), QUESTIONS[0], generate=True, max_new_tokens=1)
    assert limited == answer(random_image(0), QUESTIONS[0], generate=True, generate_kwargs={"max_new_tokens": 1})
    assert limited != answer(random_image(0), QUESTIONS[0], generate=True, max_new_tokens=6)


def test_a_generator_is_read_a_batch_at_a_time(answer):
    read = []

    def rows():
        for seed in range(6):
            read.append(seed)
            yield {"image": random_image(seed), "question": QUESTIONS[0]}

    next(answer(rows(), batch_size=2))
    assert len(read) <= 4


def test_an_image_is_encoded_once_a_batch(answer, monkeypatch):
    encoded = []
    encode = answer.model.model.encode_images

    def counting(pixels):
        encoded.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(answer.model.model, "encode_images", counting)
    one, other = random_image(0), random_image(1)
    rows = [{"image": image, "question": question} for image in (one, other) for question in QUESTIONS]
    answer(rows)
    answer(rows, generate=True, generate_kwargs={"max_new_tokens": 2})
    assert encoded == [2, 2]


def test_a_question_about_several_images(answer):
    """Beside others with fewer, in every form of a call; a list of one image is that image."""
    before, after = random_image(0), random_image(1)
    inputs = answer.processor(images=[[before, after]], text=QUESTIONS[0])
    ranking = answer.model.rank_answers(**inputs, answers=answer.processor.encode_answers(), top_k=5)
    expected = [
        {"answer": CANDIDATES[index], "score": pytest.approx(score, abs=1e-4)}
        for index, score in zip(ranking.indices[0].tolist(), ranking.scores[0].tolist(), strict=True)
    ]
    row = {"image": [before, after], "question": QUESTIONS[0]}
    assert answer(row, top_k=5) == expected
    both, one = answer([row, {"image": [before], "question": QUESTIONS[0]}], top_k=5)
    alone = answer(before, QUESTIONS[0], top_k=5)
    assert both == expected
    assert [given["answer"] for given in one] == [given["answer"] for given in alone]
    assert [given["score"] for given in one] == pytest.approx([given["score"] for given in alone], abs=1e-4)
    assert answer(image=[[before, after]], question=QUESTIONS[0], top_k=5) == [expected]
    assert list(answer(image=iter([[before, after], before]), question=QUESTIONS[0], top_k=5)) == [both, one]
    assert answer({"image": [after, before], "question": QUESTIONS[0]}, top_k=5) == expected  # no view embedding
    generated = answer([row, row | {"image": before}], generate=True, generate_kwargs={"max_new_tokens": 3})
    assert len(generated) == 2


def test_own_candidates_and_parameters_of_the_whole_pipeline(answer, checkpoint):
    assert {a["answer"] for a in answer(random_image(0), QUESTIONS[0], candidates=["mass", "lung"], top_k=9)} == {
        "mass",
        "lung",
    }
    always_two = pipeline("medical-vqa", model=str(checkpoint), top_k=2)
    assert len(always_two(random_image(0), QUESTIONS[0])) == 2
    assert len(always_two(random_image(0), QUESTIONS[0], top_k=1)) == 1


def test_choices_are_candidates_by_another_name(answer):
    """Rows of data sets have a column `choices`, which is None where a question has none of its own."""
    row = {"image": random_image(0), "question": QUESTIONS[0]}
    own = answer([row | {"choices": ["mass", "Lung."]}, row | {"choices": None}], top_k=9)
    assert own[0] == answer(row["image"], row["question"], choices=["mass", "Lung."], top_k=9)
    assert own[0] == answer(row["image"], row["question"], candidates=["mass", "Lung."], top_k=9)
    for found, expected in zip(own[1], answer(row["image"], row["question"], top_k=9), strict=True):
        assert (found["answer"], found["score"]) == (expected["answer"], pytest.approx(expected["score"]))
    with pytest.raises(ValueError, match="two names of one thing"):
        answer([row | {"choices": ["mass"], "candidates": ["lung"]}])
    with pytest.raises(TypeError, match="two names of one thing"):
        answer(row["image"], row["question"], choices=["mass"], candidates=["lung"])


def test_own_candidates_are_scored_in_the_form_that_training_taught(answer):
    written, plain = ["Left, lung.", "MASS", "right lung"], ["left lung", "mass", "right lung"]
    as_written = answer(random_image(0), QUESTIONS[0], candidates=written, top_k=3)
    expected = answer(random_image(0), QUESTIONS[0], candidates=plain, top_k=3)
    assert [one["score"] for one in as_written] == [one["score"] for one in expected]
    assert [plain[written.index(one["answer"])] for one in as_written] == [one["answer"] for one in expected]


def test_beams_may_be_more_than_answers(answer):
    options = {"num_beams": 3, "max_new_tokens": 3}
    (best,) = answer(random_image(0), QUESTIONS[0], generate=True, generate_kwargs=options)
    assert [best] == answer(random_image(0), QUESTIONS[0], generate=True, top_k=3, generate_kwargs=options)[:1]


@pytest.mark.parametrize(
    ("image", "question", "parameters", "message"),
    [
        (random_image(0), QUESTIONS[0], {"candidates": "yes"}, "not the single string 'yes': put it in a list"),
        (random_image(0), [], {}, "1 images and 0 questions: give at least one of each"),
        ([], QUESTIONS, {}, "0 images and 3 questions: give at least one of each"),
    ],
)
def test_wrong_input_is_named(answer, image, question, parameters, message):
    with pytest.raises(ValueError, match=message):
        answer(image, question, **parameters)


@pytest.mark.parametrize("top_k", [1, 3])
def test_generated_answers_are_scored_as_candidates_are(answer, top_k):
    options = {"max_new_tokens": 3}
    rows = [{"image": random_image(0), "question": question} for question in QUESTIONS]
    for row, generated in zip(rows, answer(rows, generate=True, top_k=top_k, generate_kwargs=options), strict=True):
        assert len(generated) == top_k
        scores = [one["score"] for one in generated]
        assert scores == sorted(scores, reverse=True)
        inputs = answer.processor(images=row["image"], text=row["question"])
        tokens = answer.model.generate(
            **inputs, **options, num_beams=top_k, num_return_sequences=top_k, length_penalty=0.0
        )
        naive = [naive_score(answer.model, inputs, ids) for ids in tokens]
        assert scores == pytest.approx(sorted(naive, reverse=True), abs=1e-3)
        texts = answer.processor.batch_decode(tokens, skip_special_tokens=True)
        assert sorted(one["answer"] for one in generated) == sorted(texts)


@torch.no_grad()
def naive_score(model, inputs, ids):
    """One token after another, up to [SEP]."""
    total = 0.0
    for place in range(1, len(ids)):
        log_probs = model(**inputs, labels=ids[None, :place]).logits[0, -1].log_softmax(-1)
        total += log_probs[ids[place]].item()
        if ids[place] == model.config.eos_token_id:
            break
    return total


def test_abstention(answer, monkeypatch):
    rows = [{"image": random_image(seed), "question": QUESTIONS[0]} for seed in range(4)]
    ranked = answer(rows, top_k=2)
    threshold = sorted(row[0]["score"] for row in ranked)[2]
    with pytest.raises(ValueError, match="no threshold"):
        answer(rows, abstain=True)
    monkeypatch.setattr(answer.processor, "abstention_threshold", threshold)
    withheld = answer(rows, top_k=2, abstain=True)
    for full, given in zip(ranked, withheld, strict=True):
        below = full[0]["score"] < threshold
        assert given == ([{"answer": None, "score": full[0]["score"]}] if below else full)
    assert sum(given[0]["answer"] is None for given in withheld) == 2
    assert answer(rows, top_k=2) == ranked


def test_errors_say_what_to_do(answer, monkeypatch):
    with pytest.raises(ValueError, match="pass image= and question="):
        answer()
    with pytest.raises(ValueError, match='row 1 needs "image" and "question"'):
        answer([{"image": random_image(0), "question": "a"}, {"image": random_image(0)}])
    with pytest.raises(ValueError, match="2 images and 3 questions"):
        answer([random_image(0)] * 2, QUESTIONS)
    with pytest.raises(TypeError, match="no parameter topk: it has image, question, batch_size, top_k, "):
        answer(random_image(0), "a", topk=3)
    with pytest.raises(TypeError, match="no parameter images: it has image, question"):
        answer(images=random_image(0), question="a")
    with pytest.raises(ValueError, match="max_new_tokens: read with generate=True alone"):
        answer(random_image(0), "a", max_new_tokens=3)
    with pytest.raises(TypeError, match="max_new_tokens is given twice"):
        answer(random_image(0), "a", generate=True, max_new_tokens=3, generate_kwargs={"max_new_tokens": 3})
    monkeypatch.setattr(answer.processor, "answers", None)
    with pytest.raises(ValueError, match=r"candidates=, set processor\.answers, or pass generate=True"):
        answer(random_image(0), "a")


def test_what_the_pipeline_saves_answers_alike(answer, tmp_path):
    answer.save_pretrained(tmp_path)
    again = pipeline("medical-vqa", model=str(tmp_path))
    assert again(random_image(0), QUESTIONS[0], top_k=5) == answer(random_image(0), QUESTIONS[0], top_k=5)
    assert again.processor.answers == CANDIDATES


def test_pipeline_of_loaded_parts(answer, checkpoint):
    model = AutoModelForVisualQuestionAnswering.from_pretrained(checkpoint)
    parts = pipeline("medical-vqa", model=model, processor=AutoProcessor.from_pretrained(checkpoint))
    assert parts(random_image(0), QUESTIONS[0]) == answer(random_image(0), QUESTIONS[0])


def test_checkpoint_answers_where_amif_is_not_installed(answer, checkpoint, tmp_path):
    random_image(0).save(tmp_path / "one.png")
    said = run_without_amif(REMOTE, checkpoint, tmp_path / "one.png", QUESTIONS[0])
    ranked, generated = json.loads(said.splitlines()[-1])
    assert ranked == answer(random_image(0), QUESTIONS[0], top_k=3)
    assert generated == answer(random_image(0), QUESTIONS[0], generate=True, generate_kwargs={"max_new_tokens": 4})


def test_a_checkpoint_that_has_not_learned_to_answer_is_refused(tmp_path):
    small_processor().save_pretrained(tmp_path)
    AmifForPreTraining(small_config()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds AmifForPreTraining, whose answers would be chance: fine-tune it"):
        pipeline("medical-vqa", model=str(tmp_path))


def test_a_row_with_its_own_candidates_is_answered_from_them(answer):
    """Rows that share an image stay one batch, whatever their candidates; what else they hold is named."""
    row = {"image": random_image(0), "question": QUESTIONS[0]}
    rows = [row, row | {"candidates": ["mass", "right lung"]}, row | {"candidates": None}, row | {"candidates": ["no"]}]
    answers = answer(rows, top_k=9)
    assert [{one["answer"] for one in given} for given in answers] == [
        set(CANDIDATES),
        {"mass", "right lung"},
        set(CANDIDATES),
        {"no"},
    ]
    for given, own in zip(answers, rows, strict=True):
        expected = answer(random_image(0), QUESTIONS[0], candidates=own.get("candidates"), top_k=9)
        assert [one["score"] for one in given] == pytest.approx([one["score"] for one in expected], abs=1e-4)
    assert {one["answer"] for one in answer(rows, candidates=["yes"], top_k=9)[1]} == {"mass", "right lung"}


def test_what_rows_hold_and_nothing_reads_is_named(answer, caplog):
    caplog.set_level("WARNING", logger="transformers")
    monkeyed = logging.get_logger("transformers")
    monkeyed.addHandler(caplog.handler)
    try:
        answer([{"image": random_image(0), "question": QUESTIONS[0], "organ": "lung", "option": ["a"]}])
    finally:
        monkeyed.removeHandler(caplog.handler)
    assert "option, organ are not read" in caplog.text


@pytest.mark.parametrize("part", ["image_projection", "decoder.bert.encoder", "decoder.cls"])
@pytest.mark.parametrize("generate", [False, True])
def test_weights_of_nan_are_no_abstention(answer, part, generate):
    (name, weight), *_ = [
        (name, weight) for name, weight in answer.model.named_parameters() if part in name and weight.dim() == 2
    ]
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] = float("nan")
    try:
        with pytest.raises(ValueError, match=r"weights hold NaN or infinity, .*take an earlier checkpoint"):
            answer(random_image(0), QUESTIONS[0], generate=generate)
        inputs = answer.processor(images=random_image(0), text=QUESTIONS[0])
        for method in ("exhaustive", "search"):
            with pytest.raises(ValueError, match=name.rsplit(".", 2)[1]):
                answer.model.rank_answers(**inputs, answers=answer.processor.encode_candidates(), method=method)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_a_pickle_of_weights_is_never_loaded(checkpoint, tmp_path, monkeypatch):
    folder = tmp_path / "pickled"
    shutil.copytree(checkpoint, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with pytest.raises((OSError, ValueError), match=r"no file named model\.safetensors"):
        pipeline("medical-vqa", model=str(folder))
    with pytest.raises(ValueError, match="from safetensors alone"):
        AutoModelForVisualQuestionAnswering.from_pretrained(folder, use_safetensors=False)
    with pytest.raises(FileNotFoundError, match=r"never pytorch_model\.bin"):
        AmifForVisualQuestionAnswering.from_pretraining(str(folder))


def test_nobody_is_asked_to_run_code_beside_the_weights(checkpoint, tmp_path, monkeypatch):
    folder = tmp_path / "foreign"
    shutil.copytree(checkpoint, folder)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Foreign", "auto_map": {"AutoTokenizer": ["code.Foreign", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "code.py").write_text("raise SystemExit('code ran')")
    # Whether transformers then refuses the tokenizer or knows one for the model's type, no line of the code runs.
    with suppress(ValueError, OSError):
        AutoProcessor.from_pretrained(folder)
    with suppress(ValueError, OSError):
        pipeline("medical-vqa", model=str(folder))
