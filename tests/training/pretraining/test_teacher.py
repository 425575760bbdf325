import json
import os
import shutil

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset, DatasetDict, Features, Image, List, Value, concatenate_datasets
from small_checkpoints import save_small_clip, save_small_open_clip
from transformers import CLIPModel, CLIPProcessor

from amif.training.pretraining import teacher as teacher_module
from amif.training.pretraining.teacher import Teacher, add_teacher_embeddings, load_teacher
from amif.training.processors import small_processor
from amif.training.small_model import small_pretraining_model

TEXTS = ["mass in the left lung", "no acute finding", "mass in the right kidney"]


def image_of(seed):
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    torch.manual_seed(0)
    return save_small_clip(tmp_path_factory.mktemp("clip"), TEXTS)


@pytest.fixture(scope="module")
def open_clip_folder(tmp_path_factory):
    torch.manual_seed(1)
    return save_small_open_clip(tmp_path_factory.mktemp("open_clip"), TEXTS)


@pytest.fixture(scope="module")
def amif_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("amif")
    torch.manual_seed(2)
    processor = small_processor(TEXTS, 32)
    small_pretraining_model(processor, 32).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(params=["hf", "open_clip", "amif"])
def spec(request, clip_folder, open_clip_folder, amif_folder):
    return f"{request.param}:{ {'hf': clip_folder, 'open_clip': open_clip_folder, 'amif': amif_folder}[request.param] }"


def pairs(images=None):
    images = images or [[image_of(0), image_of(1)], [image_of(2)], [image_of(3)]]
    features = Features({"images": List(Image()), "text": Value("string"), "study_id": Value("string")})
    rows = {"images": images, "text": TEXTS, "study_id": ["a", "b", "c"]}
    return DatasetDict({"train": Dataset.from_dict(rows, features=features)})


def test_embeddings_are_unit_vectors_of_one_space_that_no_batch_changes(spec):
    teacher = load_teacher(spec)
    images, texts = teacher.embed_images([image_of(0), image_of(1), image_of(2)]), teacher.embed_texts(TEXTS)
    assert images.shape == texts.shape
    assert images.dtype == texts.dtype == torch.float32
    torch.testing.assert_close(torch.cat([images, texts]).norm(dim=1), torch.ones(6))
    torch.testing.assert_close(teacher.embed_images([image_of(1).convert("RGBA")]), images[1:2], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(teacher.embed_texts(TEXTS[1:2]), texts[1:2], atol=1e-5, rtol=1e-4)


def test_teachers_are_frozen_and_in_evaluation_mode(spec):
    teacher = load_teacher(spec)
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


def test_hf_embeddings_are_those_of_the_models_own_forward(clip_folder):
    teacher = load_teacher(f"hf:{clip_folder}")
    model, processor = CLIPModel.from_pretrained(clip_folder), CLIPProcessor.from_pretrained(clip_folder)
    inputs = processor(images=[image_of(0)] * 3, text=TEXTS, padding=True, return_tensors="pt")
    output = model(**inputs)
    torch.testing.assert_close(teacher.embed_texts(TEXTS), output.text_embeds, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(teacher.embed_images([image_of(0)] * 3), output.image_embeds, atol=1e-5, rtol=1e-4)


def test_open_clip_embeddings_are_those_of_its_own_encoders(open_clip_folder):
    teacher = load_teacher(f"open_clip:{open_clip_folder}")
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{open_clip_folder}")
    expected = model.encode_image(transform(image_of(0)).unsqueeze(0), normalize=True)
    torch.testing.assert_close(teacher.embed_images([image_of(0)]), expected.detach())


def test_the_same_weights_pooled_in_another_way_are_another_teacher(amif_folder, tmp_path):
    shutil.copytree(amif_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"pooling_mode": "mean"}))
    one, other = load_teacher(f"amif:{amif_folder}"), load_teacher(f"amif:{tmp_path}")
    assert not torch.allclose(one.embed_texts(TEXTS), other.embed_texts(TEXTS))
    assert one.fingerprint() != other.fingerprint()


def test_long_texts_are_cut(spec):
    teacher = load_teacher(spec)
    assert teacher.embed_texts(["mass in the left lung " * 200]).isfinite().all()


def test_cached_embeddings_are_the_teachers_and_stand_in_their_rows(spec, tmp_path):
    splits, teacher = pairs(), load_teacher(spec)
    rows = add_teacher_embeddings(splits, spec, batch_size=2, cache_dir=tmp_path)["train"]
    assert rows["text"] == TEXTS
    assert [len(study) for study in rows["images"]] == [2, 1, 1]
    embeds = torch.tensor([image for study in rows["teacher_image_embeds"] for image in study])
    expected = teacher.embed_images([image_of(seed) for seed in range(4)])
    torch.testing.assert_close(embeds, expected, atol=1e-5, rtol=1e-4)
    texts = torch.tensor(rows["teacher_text_embeds"][:])
    torch.testing.assert_close(texts, teacher.embed_texts(TEXTS), atol=1e-5, rtol=1e-4)


def test_a_second_run_reads_the_cache_and_a_changed_image_does_not(clip_folder, tmp_path, monkeypatch):
    spec, calls = f"hf:{clip_folder}", []
    embed = Teacher.embed_images
    monkeypatch.setattr(Teacher, "embed_images", lambda self, images: calls.append(1) or embed(self, images))
    path = tmp_path / "image.png"
    image_of(0).save(path)
    images = [[str(path)], [image_of(1)], [image_of(2)]]
    first = add_teacher_embeddings(pairs(images), spec, cache_dir=tmp_path)["train"]
    count = len(calls)
    second = add_teacher_embeddings(pairs(images), spec, cache_dir=tmp_path)["train"]
    assert len(calls) == count > 0
    assert first["teacher_image_embeds"][:] == second["teacher_image_embeds"][:]

    image_of(9).save(path)
    os.utime(path, ns=(1, 1))
    changed = add_teacher_embeddings(pairs(images), spec, cache_dir=tmp_path)["train"]
    assert len(calls) > count
    assert changed["teacher_image_embeds"][0] != first["teacher_image_embeds"][0]


def test_rows_that_are_not_read_are_not_embedded(clip_folder, tmp_path, monkeypatch):
    spec, embedded = f"hf:{clip_folder}", []
    embed = Teacher.embed_texts
    monkeypatch.setattr(Teacher, "embed_texts", lambda self, texts: embedded.extend(texts) or embed(self, texts))
    splits = DatasetDict(pairs() | {"validation": pairs()["train"], "test": pairs()["train"]})
    read = {"train": [0, 2], "validation": range(3)}
    some = add_teacher_embeddings(splits, spec, cache_dir=tmp_path, read=read)
    assert embedded == [TEXTS[0], TEXTS[2], *TEXTS]
    assert some["test"].column_names == splits["test"].column_names
    whole = some["validation"]
    for column in ("teacher_image_embeds", "teacher_text_embeds"):
        assert some["train"][column][1] is None
        for row in (0, 2):
            torch.testing.assert_close(torch.tensor(some["train"][column][row]), torch.tensor(whole[column][row]))
    assert some["train"]["study_id"] == ["a", "b", "c"]


def test_a_study_that_comes_several_times_is_embedded_once(clip_folder, tmp_path, monkeypatch):
    embed, embedded = Teacher.embed_texts, []
    monkeypatch.setattr(Teacher, "embed_texts", lambda self, texts: embedded.extend(texts) or embed(self, texts))
    rows = pairs()["train"]
    twice = DatasetDict({"train": concatenate_datasets([rows, rows.select([2, 0])])})
    drawn = add_teacher_embeddings(twice, f"hf:{clip_folder}", cache_dir=tmp_path)["train"]
    assert embedded == TEXTS
    once = add_teacher_embeddings(pairs(), f"hf:{clip_folder}", cache_dir=tmp_path)["train"]
    for column in ("study_id", "teacher_text_embeds", "teacher_image_embeds"):
        assert drawn[column][:] == [once[column][row] for row in (0, 1, 2, 2, 0)]


def test_an_interruption_costs_the_part_that_it_meets_alone(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_module, "ROWS_A_PART", 2)
    embed, embedded = Teacher.embed_texts, []

    def interrupted(self, texts):
        embedded.extend(texts)
        if TEXTS[2] in texts:
            raise KeyboardInterrupt
        return embed(self, texts)

    monkeypatch.setattr(Teacher, "embed_texts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add_teacher_embeddings(pairs(), f"hf:{clip_folder}", cache_dir=tmp_path)
    assert embedded == TEXTS
    embedded.clear()
    monkeypatch.setattr(Teacher, "embed_texts", lambda self, texts: embedded.extend(texts) or embed(self, texts))
    rows = add_teacher_embeddings(pairs(), f"hf:{clip_folder}", cache_dir=tmp_path)["train"]
    assert embedded == TEXTS[2:]
    expected = load_teacher(f"hf:{clip_folder}").embed_texts(TEXTS)
    torch.testing.assert_close(torch.tensor(rows["teacher_text_embeds"][:]), expected, atol=1e-5, rtol=1e-4)


def test_a_bad_image_of_a_later_part_is_named_by_its_row(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_module, "ROWS_A_PART", 2)
    monkeypatch.setattr(teacher_module, "_row_digests", lambda rows: [name.encode() for name in rows["study_id"]])
    images = [[image_of(0)], [image_of(1)], [str(tmp_path / "gone.png")]]
    with pytest.raises(ValueError, match=r"row 2 .*gone\.png is not there"):
        add_teacher_embeddings(pairs(images), f"hf:{clip_folder}", cache_dir=tmp_path)


def damaged_caches():
    """What happens to a file of embeddings, by name."""
    return {
        "truncated": lambda content: content[: len(content) // 2],
        "without its end": lambda content: content[:-8],
        "empty": lambda content: b"",
        "text": lambda content: b"no embeddings",
        "a changed number": lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    }


@pytest.mark.parametrize("damage", damaged_caches())
def test_a_damaged_cache_is_computed_anew_and_said(clip_folder, tmp_path, damage, monkeypatch):
    said = []
    monkeypatch.setattr(teacher_module.logger, "warning", said.append)
    whole = add_teacher_embeddings(pairs(), f"hf:{clip_folder}", cache_dir=tmp_path)["train"]
    expected = whole["teacher_image_embeds"][:]
    del whole
    (file,) = tmp_path.iterdir()
    file.write_bytes(damaged_caches()[damage](file.read_bytes()))
    again = add_teacher_embeddings(pairs(), f"hf:{clip_folder}", cache_dir=tmp_path)["train"]
    assert again["teacher_image_embeds"][:] == expected
    assert said == [f"{file}, which keeps the teacher's embeddings, is damaged: they are computed anew."]
    add_teacher_embeddings(pairs(), f"hf:{clip_folder}", cache_dir=tmp_path)
    assert len(said) == 1


def test_an_interruption_leaves_nothing_that_passes_for_whole(clip_folder, tmp_path, monkeypatch):
    embed, calls = Teacher.embed_images, []

    def interrupted(self, images):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return embed(self, images)

    monkeypatch.setattr(Teacher, "embed_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add_teacher_embeddings(pairs(), f"hf:{clip_folder}", batch_size=1, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    # As a killed process leaves it.
    (tmp_path / "killed").mkdir()
    rows = add_teacher_embeddings(pairs(), f"hf:{clip_folder}", batch_size=1, cache_dir=tmp_path)["train"]
    assert [len(study) for study in rows["teacher_image_embeds"]] == [2, 1, 1]


def test_embeddings_that_cannot_be_kept_say_where(clip_folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot be kept in .*file .*HF_DATASETS_CACHE"):
        add_teacher_embeddings(pairs(), f"hf:{clip_folder}", cache_dir=tmp_path / "file")


def test_a_teacher_that_says_nothing_of_an_image_is_refused(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Teacher, "embed_texts", lambda self, texts: torch.full((len(texts), 24), torch.nan))
    with pytest.raises(ValueError, match=r"row 0 .*teacher_text_embeds holds NaN"):
        add_teacher_embeddings(pairs(), f"hf:{clip_folder}", cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_vanished_image_names_its_row(clip_folder, tmp_path):
    images = [[image_of(0)], [str(tmp_path / "gone.png")], [image_of(2)]]
    with pytest.raises((ValueError, FileNotFoundError), match=r"gone\.png .*put it back"):
        add_teacher_embeddings(pairs(images), f"hf:{clip_folder}", cache_dir=tmp_path)
    image_of(1).save(tmp_path / "gone.png")
    rows = pairs(images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_module, "_row_digests", lambda split: [b"unread", b"gone", b"read"])
        (tmp_path / "gone.png").unlink()
        with pytest.raises(ValueError, match=r"row 1 .*gone\.png is not there: put it back"):
            add_teacher_embeddings(rows, f"hf:{clip_folder}", cache_dir=tmp_path)


def test_fingerprint_follows_the_weights_not_the_folder(clip_folder, tmp_path):
    teacher = load_teacher(f"hf:{clip_folder}")
    teacher.model.save_pretrained(tmp_path)
    CLIPProcessor.from_pretrained(clip_folder).save_pretrained(tmp_path)
    assert load_teacher(f"hf:{tmp_path}").fingerprint() == teacher.fingerprint()
    with torch.no_grad():
        teacher.model.logit_scale.add_(1)
    assert load_teacher(f"hf:{clip_folder}").fingerprint() != teacher.fingerprint()


def test_columns_of_the_data_serve_as_teacher():
    vectors = F.normalize(torch.randn(3, 4), dim=1).tolist()
    rows = pairs()["train"].add_column("clip_image_embeds", vectors).add_column("clip_text_embeds", vectors)
    named = add_teacher_embeddings(DatasetDict({"train": rows}), "column:clip")["train"]
    assert named["teacher_image_embeds"][:] == rows["clip_image_embeds"][:]
    broken = rows.remove_columns("clip_text_embeds").add_column("clip_text_embeds", [*vectors[:2], [0.0] * 4])
    with pytest.raises(ValueError, match=r"train: row 2 .*clip_text_embeds is a vector of zeros"):
        add_teacher_embeddings(DatasetDict({"train": broken}), "column:clip")
    with pytest.raises(ValueError, match="other_image_embeds and other_text_embeds missing"):
        add_teacher_embeddings(DatasetDict({"train": rows}), "column:other")


def test_none_changes_nothing_and_unknown_teachers_are_refused(amif_folder):
    splits = pairs()
    assert add_teacher_embeddings(splits, "none") is splits
    for spec in ("clip", "hf:", "timm:name"):
        with pytest.raises(ValueError, match="column:NAME"):
            load_teacher(spec)
    with pytest.raises(ValueError, match="without image and text features"):
        load_teacher(f"hf:{amif_folder}")
