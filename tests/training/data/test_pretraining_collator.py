import io
import random
from collections import Counter

import pytest
import torch
from PIL import Image as Images

from amif.processing_amif import normalize_report
from amif.training.data import AmifPreTrainingCollator, PretrainingRows, choose_views, load_pretraining_dataset
from amif.training.processors import small_processor


@pytest.fixture(scope="module")
def studies():
    return load_pretraining_dataset("phantom", num_studies=12, image_size=32)["train"]


@pytest.fixture(scope="module")
def processor(studies):
    return small_processor(map(normalize_report, studies["text"]), 16)


def mark(image, *, epoch, row):
    """An augmentation that writes what it was called with."""
    return Images.new("RGB", image.size, (row % 256, epoch, image.getpixel((0, 0))[0]))


def png(grey):
    file = io.BytesIO()
    Images.new("L", (16, 16), grey).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


def study(row, text="a mass", study_id=None, images=1, **more):
    images = [png(40 * row + 10 * place) for place in range(images)]
    return {"images": images, "text": text, "study_id": study_id or f"s{row}", "row": row, "epoch": 3, **more}


def test_equals_processing_each_study_alone(studies, processor):
    rows = PretrainingRows(studies)
    batch = AmifPreTrainingCollator(processor)([rows[row] for row in (4, 0, 2)])
    assert batch["pixel_values"].shape == (6, 3, 16, 16)
    assert batch["row"].tolist() == [4, 0, 2]
    for place, row in enumerate((4, 0, 2)):
        for view in range(2):
            alone = processor(images=studies[row]["images"][view])["pixel_values"][0]
            assert torch.equal(batch["pixel_values"][view * 3 + place], alone), "first views, then second views"
        alone = processor.encode_reports([studies[row]["text"]])["input_ids"][0]
        assert batch["input_ids"][place, : len(alone)].tolist() == alone.tolist()
        assert batch["attention_mask"][place].sum() == len(alone)
        words = processor.tokenizer.decode(alone, skip_special_tokens=True)
        assert words.split() == normalize_report(studies[row]["text"]).split()
    assert {batch[name].dtype for name in ("row", "text_group", "input_ids")} == {torch.long}


def test_studies_of_which_the_same_is_seen_are_told_by_the_ground_truth_alone(processor):
    seen = {"modality": "ct", "plane": "axial", "organ": "chest", "finding": None, "side": None, "size": None}
    rows = [study(0, **seen), study(1, "no finding", **seen), study(2, **seen | {"finding": "mass"})]
    groups = AmifPreTrainingCollator(processor)(rows)["visible_group"].tolist()
    assert groups[0] == groups[1] != groups[2]
    assert "visible_group" not in AmifPreTrainingCollator(processor)([study(0)])


def test_a_study_of_one_image_without_augmentation_has_equal_views(processor):
    pixels = AmifPreTrainingCollator(processor)([study(0), study(1)])["pixel_values"]
    assert torch.equal(pixels[:2], pixels[2:])


@pytest.mark.parametrize("augmentation", [None, mark])
def test_each_image_is_decoded_once(processor, decoded, augmentation):
    batch = AmifPreTrainingCollator(processor, augmentation)([study(0), study(1, images=2)])
    assert batch["pixel_values"].shape[0] == 4
    assert len(decoded) == 3


def test_each_view_has_a_draw_of_its_own(processor):
    collate = AmifPreTrainingCollator(processor, augmentation=mark)
    pixels = collate([study(0), study(7)])["pixel_values"]
    # `mark` writes its `row` into red and `epoch` into green; undo the processor's scaling.
    red, green = ((pixels[:, :2, 0, 0] * 0.25 + 0.25) * 255).T
    assert red.round().tolist() == [0, 14, 1, 15]
    assert green.round().tolist() == [3] * 4


def test_views_are_drawn_for_training_and_fixed_for_evaluation(processor):
    rows = [study(0, images=3, view_positions=["PA", "PA", "LATERAL"]) | {"epoch": epoch} for epoch in range(40)]

    def chosen(collate):
        pixels = collate(rows)["pixel_values"][:, 2, 0, 0].mul(0.25).add(0.25).mul(255).round()
        return list(zip(pixels[:40].tolist(), pixels[40:].tolist(), strict=True))

    assert set(chosen(AmifPreTrainingCollator(processor))) == {(0, 20)}
    drawn = chosen(AmifPreTrainingCollator(processor, augmentation=mark))
    assert set(drawn) == {(0, 20), (20, 0), (10, 20), (20, 10)}
    assert chosen(AmifPreTrainingCollator(processor, augmentation=mark)) == drawn
    assert chosen(AmifPreTrainingCollator(processor, augmentation=mark, seed=1)) != drawn


def test_one_view_is_the_first_of_two(processor):
    rows = [study(0, images=3), study(1)]
    both, one = (AmifPreTrainingCollator(processor, mark, views=views)(rows) for views in (2, 1))
    assert torch.equal(one.pop("pixel_values"), both.pop("pixel_values")[:2])
    assert one.keys() == both.keys()
    embeds = {"teacher_image_embeds": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "teacher_text_embeds": [1.0]}
    rows = [study(0, images=3, **embeds)]
    both, one = (AmifPreTrainingCollator(processor, mark, views=views)(rows) for views in (2, 1))
    assert torch.equal(one["teacher_image_embeds"], both["teacher_image_embeds"][:1])


def test_which_tokens_continue_a_word(processor):
    inputs = AmifPreTrainingCollator(processor, word_pieces=True)([study(0, "lunglung, masss"), study(1, "a mass")])
    tokens = [processor.tokenizer.convert_ids_to_tokens(row) for row in inputs["input_ids"].tolist()]
    assert sum(token.startswith("##") for token in tokens[0]) >= 2
    assert inputs["continued"].tolist() == [[token.startswith("##") for token in row] for row in tokens]


def test_groups_join_equal_studies_and_equal_reports(processor):
    rows = [
        study(0, "A mass."),
        study(1, "no mass", "same"),
        study(2, "a MASS"),
        study(3, "a cyst", "same"),
        study(4, "no mass"),
        study(5, "fluid"),
    ]
    batch = AmifPreTrainingCollator(processor)(rows)
    groups = batch["text_group"]
    equal = groups[:, None] == groups[None]
    expected = torch.eye(6, dtype=torch.bool)
    for clique in ((0, 2), (1, 3, 4)):
        for i in clique:
            for j in clique:
                expected[i, j] = True
    assert torch.equal(equal, expected)
    again = AmifPreTrainingCollator(processor)([rows[5], rows[2]])
    assert again["text_group"].tolist() == [groups[5], groups[0]], "equal reports keep their number between batches"


def test_teacher_embeddings_of_a_study_or_of_each_image(processor):
    positions = ["PA", "PA", "LATERAL"]
    text = {"teacher_text_embeds": [1.0, 2.0]}
    rows = [study(0, images=3, teacher_image_embeds=[[9, 0], [9, 1], [9, 2]], view_positions=positions, **text)]
    rows.append(study(1, images=1, teacher_image_embeds=[[1, 0]], view_positions=["AP"], **text))
    batch = AmifPreTrainingCollator(processor)(rows)
    assert batch["teacher_image_embeds"].tolist() == [[9, 0], [1, 0], [9, 2], [1, 0]]
    assert batch["teacher_text_embeds"].tolist() == [[1, 2], [1, 2]]
    whole = AmifPreTrainingCollator(processor)([row | {"teacher_image_embeds": [5.0]} for row in rows])
    assert whole["teacher_image_embeds"].tolist() == [[5], [5], [5], [5]], "for each of the two views"
    assert batch["teacher_image_embeds"].dtype == whole["teacher_text_embeds"].dtype == torch.float32


@pytest.mark.parametrize(
    ("images", "text", "message"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0], "study 's1' .*3 values, and others have 2"),
        ([[1.0, 2.0]], [1.0], "study 's1' .*1 values, and others have 2"),
        ([[0.0, 0.0]], [1.0, 2.0], "study 's1' .*teacher_image_embeds is no vector"),
        ([], [1.0, 2.0], "study 's1' .*teacher_image_embeds is no vector"),
        ([[1.0, 2.0]], [1.0, float("nan")], "study 's1' .*teacher_text_embeds is no vector"),
        ([[1.0, 2.0]], None, "study 's1' .*teacher_text_embeds is no vector"),
        (None, [1.0, 2.0], "study 's1' .*teacher_image_embeds is no vector"),
        ("text", [1.0, 2.0], "study 's1' .*teacher_image_embeds is no vector"),
    ],
)
def test_teacher_embeddings_that_are_none_name_their_study(processor, images, text, message):
    good = study(0, teacher_image_embeds=[[1.0, 2.0]], teacher_text_embeds=[1.0, 2.0])
    bad = study(1, teacher_image_embeds=images, teacher_text_embeds=text)
    with pytest.raises(ValueError, match=message):
        AmifPreTrainingCollator(processor)([good, bad])


def test_reports_are_cut(processor):
    batch = AmifPreTrainingCollator(processor, max_report_length=5)([study(0, "mass " * 50)])
    assert batch["input_ids"].shape == (1, 5)


def test_an_image_that_is_cut_off_is_named(processor, tmp_path):
    file = tmp_path / "cut.jpg"
    Images.effect_noise((64, 64), 50).save(file)
    file.write_bytes(file.read_bytes()[:600])
    row = study(0) | {"images": [{"bytes": None, "path": str(file)}]}
    with pytest.raises(ValueError, match=r"cannot read the image .*cut\.jpg"):
        AmifPreTrainingCollator(processor)([row])


def test_an_online_teacher_sees_the_augmented_views_and_the_reports_as_written(processor):
    class Recorder:
        def embed_images(self, images):
            return torch.tensor([[float(value) for value in image.getpixel((0, 0))] for image in images])

        def embed_texts(self, texts):
            self.texts = texts
            return torch.zeros(len(texts), 3)

    teacher = Recorder()
    rows = [study(1, "A Mass.", teacher_image_embeds=[9.0]), study(2, "No mass.", teacher_image_embeds=[9.0])]
    batch = AmifPreTrainingCollator(processor, mark, teacher=teacher)(rows)
    # What the augmentation wrote: twice the row and the view, the epoch, and the image's grey.
    assert batch["teacher_image_embeds"].tolist() == [[2, 3, 40], [4, 3, 80], [3, 3, 40], [5, 3, 80]]
    assert teacher.texts == ["A Mass.", "No mass."]


def draws(number, positions, count=3000):
    draw = random.Random(0)
    return Counter(choose_views(number, positions, draw) for _ in range(count))


def test_a_single_image_is_both_views():
    assert choose_views(1) == (0, 0)
    assert choose_views(1, ["PA"], random.Random(0)) == (0, 0)


def test_different_positions_come_first():
    assert choose_views(3, ["PA", "PA", "LATERAL"]) == (0, 2)
    found = draws(3, ["PA", "PA", "LATERAL"])
    assert set(found) == {(0, 2), (2, 0), (1, 2), (2, 1)}
    assert all(650 < count < 850 for count in found.values())


def test_any_two_where_positions_are_unknown_or_equal():
    assert choose_views(2) == (0, 1)
    assert choose_views(2, [None, "PA"]) == (0, 1)
    assert len(draws(3, ["AP", "AP", "AP"])) == len(draws(3, None)) == 6
    assert set(draws(3, [None, "AP", "LL"])) == {(1, 2), (2, 1)}
