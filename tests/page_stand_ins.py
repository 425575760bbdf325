"""Small data, encoders and checkpoints under the names that README and docs use for a reader's own."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, Image
from page_commands import Command
from PIL import Image as Images
from small_chat_models import save_chat_model
from small_checkpoints import TOWER, save_small_bert, save_small_clip, save_small_open_clip
from small_sets import (
    medicat_rows,
    slake_row,
    vqa_rad_row,
    write_medicat,
    write_mimic_cxr,
    write_roco,
    write_slake,
    write_table,
    write_vqa_med_2019,
    write_vqa_rad,
)
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from amif.training.checkpoints.provenance import note_trained_on
from amif.training.data.phantom.datasets import phantom_vqa_sentences
from amif.training.processors import small_processor
from amif.training.small_model import small_model, small_pretraining_model

TEXTS = ["is there a mass in the left lung?", "what plane is this? axial sagittal ct mri yes no", "report caption 123"]
BIOMED_CLIP = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
# By option and word, what a page's word stands for where it is no file of the reader's.
WORDS = {
    ("--vision_model", "NAME"): "facebook/dinov2-small",
    ("--text_model", "NAME"): "sentence-transformers/all-MiniLM-L6-v2",
    ("--teacher", "open_clip:NAME"): f"open_clip:{BIOMED_CLIP}",
    ("--against", "OTHER"): "slake",
    ("--against_dir", "DIR2"): "data/slake",
    ("--min_label_count", "20"): "1",
    ("--text", "REPORT"): "A small mass on the left.",
    ("--text", "QUESTION"): "is there a mass?",
}


def with_stand_ins(command: Command) -> list[str]:
    """A command's words, with folders of small sets in place of DIR, by the names of the sets beside them."""
    words, option, sets = [], "", list[str]()
    for word in command.words:
        if word.startswith("--"):
            option = word
            words.append(word)
            continue
        if option == "--dataset":
            sets.append(word.partition("=")[0])
        name, _, value = word.rpartition("=")
        if (option, word) in WORDS:
            word = WORDS[option, word]
        elif option == "--data_dir" and sets:  # a recipe names the sets of paths that are whole
            word = f"data/{sets.pop(0)}"
        elif value.startswith("DIR"):
            word = f"{name}=data/{'vqa_rad' if name == 'data_dir' else name}"
        elif re.fullmatch(r"(CHAT_)?FILE\d?", word):
            word = f"{word}.jsonl"
        words.append(word)
    return words


def write_stand_ins(folder: Path) -> Path:
    """All of them."""
    write_sets(folder / "data")
    write_own_data(folder)
    for name in ("facebook/dinov2-small", "sentence-transformers/all-MiniLM-L6-v2"):
        (folder / name).parent.mkdir(parents=True)
    config = Dinov2Config(image_size=32, patch_size=16, **TOWER)
    Dinov2Model(config).save_pretrained(folder / "facebook" / "dinov2-small")
    size = {"height": 32, "width": 32}
    BitImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder / "facebook/dinov2-small")
    save_small_bert(folder / "sentence-transformers/all-MiniLM-L6-v2", TEXTS, layers=3)  # as many as a recipe takes
    save_small_bert(folder / "emilyalsentzer" / "Bio_ClinicalBERT", TEXTS)
    save_small_clip(folder / "openai" / "clip-vit-base-patch16", TEXTS, vision_layers=12)
    save_small_open_clip(folder / BIOMED_CLIP, TEXTS)
    save_chat_model(folder / "google" / "medgemma-4b-it", "llava")
    save_checkpoints(folder)
    (folder / "path").mkdir()
    (folder / "path" / "to").symlink_to(folder / "data")
    for name in ("ROCO", "MEDICAT", "MIMIC"):
        (folder / name).symlink_to(folder / "data" / {"MIMIC": "mimic_cxr"}.get(name, name.lower()))
    return folder


def save_checkpoints(folder: Path) -> None:
    """Models that answer, `amif-vqa` with knowledge and `START` without, and one that was pre-trained, `STAGE_TWO`."""
    processor = small_processor([*phantom_vqa_sentences(60), *TEXTS], 32)
    processor.answers = ["yes", "no", "ct", "mri", "axial"]
    torch.manual_seed(0)
    with_knowledge = small_model(processor, 32, hidden_size=32)
    with_knowledge.set_knowledge([5, 6, 7])
    models = {
        "amif-vqa": with_knowledge,
        "START": small_model(processor, 32, hidden_size=32, knowledge_fusion="none"),
        "STAGE_TWO": small_pretraining_model(processor, 32, hidden_size=32),
    }
    for name, model in models.items():
        note_trained_on(model.config, ["phantom"])
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)


def blocks(number: int) -> Images.Image:
    """An image unlike that of any other number, also to what looks for near duplicates."""
    values = np.random.default_rng(number).integers(0, 256, (4, 4), dtype=np.uint8)
    return Images.fromarray(values).resize((32, 32), Images.Resampling.NEAREST)


def write_sets(folder: Path) -> None:
    """Of the published sets a few rows each, in their own layouts."""
    rows = [
        slake_row(place, f"xmlab{place}/source.jpg", q_lang=language, question=f"Which is {place}?", answer=answer)
        for place, (language, answer) in enumerate(6 * [("en", "CT"), ("en", "MRI"), ("zh", "是")])
    ]
    write_slake(folder / "slake", rows)
    rows = [vqa_rad_row(place, f"synpic{place}.jpg", question=f"Is it {place}?") for place in range(12)]
    write_vqa_rad(folder / "vqa_rad", rows, [vqa_rad_row(90, "synpic90.jpg", answer="No")])
    lines = [f"synpic{place}|what plane is this {place}?|{('axial', 'sagittal')[place % 2]}" for place in range(8)]
    write_vqa_med_2019(folder / "vqa_med_2019", lines[:4], lines[4:], ["synpic9|what plane is this?"])
    for split, number in (("train", 12), ("valid", 4), ("test", 4)):
        (folder / "rocov2" / split).mkdir(parents=True)
        names = [f"ROCOv2_2023_{split}_{place:06}" for place in range(number)]
        for place, name in enumerate(names):
            blocks(place).save(folder / "rocov2" / split / f"{name}.jpg")
        captions = [(name, f"Report caption {place}.") for place, name in enumerate(names)]
        write_table(folder / "rocov2" / f"{split}_captions.csv", ["ID", "Caption"], captions)
        concepts = [(name, ("C1", "C2", "C1;C2")[place % 3]) for place, name in enumerate(names)]
        write_table(folder / "rocov2" / f"{split}_concepts.csv", ["ID", "CUIs"], concepts)
    splits = dict(enumerate(4 * ["train"] + 2 * ["validate"] + 2 * ["test"], start=50_000_000))
    images = [(f"d{study}", "10000032", str(study), split, "PA") for study, split in splits.items()]
    write_mimic_cxr(folder / "mimic_cxr", images, {str(study): f"FINDINGS: Mass {study}." for study in splits})
    captions = {"train": "123456", "validation": "78", "test": "9"}
    roco = {split: [(number, f"Caption {number}.") for number in numbers] for split, numbers in captions.items()}
    write_roco(folder / "roco", roco)
    write_medicat(folder / "medicat", medicat_rows(8))
    for place, file in enumerate(sorted([*folder.rglob("*.jpg"), *folder.rglob("*.png")])):
        blocks(3000 + place).save(file)


def write_own_data(folder: Path) -> None:
    """A reader's own files: tables with images, shards, single images, and predictions for SLAKE's test split."""
    for name in ("questions/images", "FOLDER", "SHARDS", "QUESTION_SHARDS"):
        (folder / name).mkdir(parents=True)
    for place in range(12):
        blocks(1000 + place).save(folder / "questions" / "images" / f"{place}.png")
    for name in ("IMAGE", "BEFORE", "AFTER", "image.png", "chest.png", "FOLDER/1.png", "FOLDER/2.png"):
        blocks(2000 + len(name)).save(folder / name, "PNG")
    asked = ["is there a fracture?", "is there a mass?"]
    questions = [(f"images/{place // 2}.png", asked[place % 2], ("yes", "no")[place % 3 == 0]) for place in range(24)]
    write_table(folder / "questions" / "train.csv", ["file", "q", "a"], questions[:20])
    write_table(folder / "questions" / "test.csv", ["file", "q", "a"], questions[20:])
    beside = [(f"questions/{file}", question, answer) for file, question, answer in questions]
    write_table(folder / "questions.csv", ["file", "q", "a"], beside)
    write_table(folder / "own.csv", ["image", "question", "answer"], beside)
    write_table(folder / "new.csv", ["file", "q"], [row[:2] for row in beside[:4]])
    write_table(folder / "images.csv", ["file", "diagnosis"], [(row[0], row[2]) for row in beside[::2]])
    write_table(
        folder / "pairs.csv", ["image", "text"], [(row[0], f"Report {place}.") for place, row in enumerate(beside)]
    )
    for split, places in (("train", range(16)), ("validation", range(16, 20)), ("test", range(20, 24))):
        rows = [beside[place] for place in places]
        pairs = {"image": [row[0] for row in rows], "text": [f"Report {place}." for place in places]}
        write_shard(folder / "SHARDS" / f"{split}.parquet", folder, pairs)
        asked = {"image": [row[0] for row in rows], "question": [row[1] for row in rows]}
        write_shard(
            folder / "QUESTION_SHARDS" / f"{split}.parquet", folder, asked | {"answer": [row[2] for row in rows]}
        )
    slake = json.loads((folder / "data" / "slake" / "test.json").read_text(encoding="utf-8"))
    ids = [str(row["qid"]) for row in slake if row["q_lang"] == "en"]
    write_predictions(
        folder / "CHAT_FILE.jsonl", ids, [f"I think that this is {('ct', 'mri')[place % 2]}." for place in range(12)]
    )
    for place, name in enumerate(("FILE", "FILE2", "FILE3")):
        write_predictions(folder / f"{name}.jsonl", ids, [("ct", "mri")[row % (2 + place) == 0] for row in range(12)])


def write_predictions(file: Path, ids: Iterable[str], answers: Sequence[str]) -> None:
    rows = [{"question_id": one, "prediction": answer} for one, answer in zip(ids, answers, strict=True)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_shard(file: Path, folder: Path, columns: dict[str, list[str]]) -> None:
    content = [{"bytes": (folder / path).read_bytes(), "path": None} for path in columns["image"]]
    Dataset.from_dict(columns | {"image": content}).cast_column("image", Image()).to_parquet(file)
