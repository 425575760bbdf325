from pathlib import Path

import pytest
import torch
from PIL import Image as Images
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, ViTImageProcessor

from amif.processing_amif import AmifProcessor
from amif.training.data import AmifVqaCollator, LateralitySafeAugmentation, VqaRows
from amif.training.data.schema import build_vqa_dataset
from amif.training.data.vqa_collator import vqa_lengths

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
WORDS = [
    *SPECIAL.values(),
    "is",
    "there",
    "a",
    "lesion",
    "where",
    "left",
    "lung",
    "yes",
    "no",
    "right",
    "lower",
    "lobe",
]


@pytest.fixture
def processor():
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
    return AmifProcessor(ViTImageProcessor(size={"height": 16, "width": 16}), fast)


@pytest.fixture
def rows(tmp_path):
    table = []
    answers = ["Yes.", "Left lung", "no", "right lower lobe", "yes", "Left  Lung"]
    for row, image in enumerate("aababc"):
        Images.effect_noise((20, 30), 10 + 20 * "abc".index(image)).save(tmp_path / f"{image}.png")
        question = "Is there a lesion?" if row % 2 else "Where?"
        table.append({"image": str(tmp_path / f"{image}.png"), "question": question, "answer": answers[row]})
        table[-1] |= {"image_id": image, "question_id": str(row)}
    return VqaRows(build_vqa_dataset(table))


def pixels_of_each(batch):
    return batch["pixel_values"][batch["image_index"]]


def test_the_batch(processor, rows):
    batch = AmifVqaCollator(processor)([rows[row] for row in range(6)])
    assert batch["pixel_values"].shape == (3, 3, 16, 16)
    assert batch["image_index"].tolist() == [0, 0, 1, 0, 1, 2]
    assert batch["row"].tolist() == list(range(6))
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert all(batch[name].dtype == torch.long for name in ("image_index", "row", "labels", "input_ids"))
    assert batch["labels"][0].tolist() == [2, WORDS.index("yes"), 3, -100, -100]
    assert torch.equal(batch["labels"][1], batch["labels"][5]), "targets are normalised"


def test_each_text_is_encoded_once(processor, rows, monkeypatch):
    encoded = []

    def encode(answers):
        encoded.extend(answers)
        return AmifProcessor.encode_answers(processor, answers)

    monkeypatch.setattr(processor, "encode_answers", encode)
    AmifVqaCollator(processor)([rows[row] for row in range(6)])
    assert encoded == ["yes", "left lung", "no", "right lower lobe"]


def test_equals_processing_each_question_alone(processor, rows):
    batch = AmifVqaCollator(processor)([rows[row] for row in range(6)])
    for row in range(6):
        item = rows[row]
        alone = processor(images=item["image"]["path"], text=item["question"])
        assert torch.equal(pixels_of_each(batch)[row], alone["pixel_values"][0])
        length = alone["input_ids"].shape[1]
        assert torch.equal(batch["input_ids"][row, :length], alone["input_ids"][0])
        assert batch["attention_mask"][row].sum() == length
        answer = processor.encode_answers([processor.normalize_answer(item["answer"])])["input_ids"][0]
        assert batch["labels"][row][batch["labels"][row] != -100].tolist() == answer.tolist()


@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1, 0], [3, 0, 5], [1]])
def test_order_and_company_do_not_matter(processor, rows, order):
    collate = AmifVqaCollator(processor)
    whole, part = collate([rows[row] for row in range(6)]), collate([rows[row] for row in order])
    assert torch.equal(pixels_of_each(whole)[order], pixels_of_each(part))
    length = part["input_ids"].shape[1]
    assert torch.equal(whole["input_ids"][order, :length], part["input_ids"])
    assert torch.equal(whole["labels"][order, : part["labels"].shape[1]], part["labels"])


@pytest.mark.parametrize("augmentation", [None, LateralitySafeAugmentation(16)])
def test_each_image_is_decoded_once(processor, rows, decoded, augmentation):
    AmifVqaCollator(processor, augmentation)([rows[row] for row in range(6)])
    assert len(decoded) == len(set(decoded)) == 3


def test_images_and_bytes_serve_as_well_as_paths(processor, rows):
    expected = AmifVqaCollator(processor)([rows[0]])["pixel_values"]
    path = rows[0]["image"]["path"]
    for image in (Images.open(path), {"path": None, "bytes": Path(path).read_bytes()}):
        assert torch.equal(AmifVqaCollator(processor)([{**rows[0], "image": image}])["pixel_values"], expected)


def test_ids_and_not_objects_tell_images_apart(processor, rows):
    image = Images.new("L", (8, 8))
    batch = AmifVqaCollator(processor)([{**rows[0], "image": image}, {**rows[2], "image": image}])
    assert batch["pixel_values"].shape[0] == 2
    assert batch["image_index"].tolist() == [0, 1]


def test_cached_states_open_no_image(processor, rows):
    states = {image: torch.randn(5, 4) for image in "abc"}
    cached = VqaRows(rows.dataset, image_states=states)
    batch = AmifVqaCollator(processor)([{**cached[row], "image": None} for row in (2, 0, 4)])
    assert "pixel_values" not in batch
    assert torch.equal(batch["image_states"], torch.stack([states["b"], states["a"]]))
    assert batch["image_index"].tolist() == [0, 1, 0]
    with pytest.raises(KeyError, match="c"):
        VqaRows(rows.dataset, image_states={"a": states["a"]})[5]


def test_one_unknown_answer_means_no_labels(processor, rows):
    batch = AmifVqaCollator(processor)([rows[0], {**rows[1], "answer": None}])
    assert "labels" not in batch


def test_the_whole_answer_is_learned(processor, rows):
    labels = AmifVqaCollator(processor)([{**rows[0], "answer": "Lung #yes"}])["labels"]
    assert torch.equal(labels, processor.encode_answers(["lung yes"])["input_ids"])


def test_augmentation_is_shared_by_an_images_questions(processor, rows):
    augmentation = LateralitySafeAugmentation(16)
    collate = AmifVqaCollator(processor, augmentation=augmentation)
    rows.set_epoch(2)
    batch = collate([rows[row] for row in (1, 0, 2)])
    assert batch["pixel_values"].shape[0] == 2
    image = augmentation(Images.open(rows[1]["image"]["path"]).convert("RGB"), epoch=2, row=1)
    assert torch.equal(batch["pixel_values"][0], processor(images=image)["pixel_values"][0])


def test_lengths_put_answers_first_and_then_questions(processor):
    """Answers of 3, 4 and 3 tokens by hand, [CLS] and [SEP] counted."""
    questions = ["Is there a lesion?", "Where", "Where"]
    lengths = vqa_lengths(processor, questions, ["Yes.", "Left lung", "no"])
    assert sorted(range(3), key=lengths.__getitem__) == [2, 0, 1]
    question_tokens = processor(text=questions)["attention_mask"].sum(dim=1)
    unit = int(question_tokens.max()) + 1
    assert [divmod(length, unit) for length in lengths] == [
        (answer, question) for answer, question in zip([3, 4, 3], question_tokens.tolist(), strict=True)
    ]
