"""Questions about several images, from the rows of a data set to a batch and back."""

import numpy as np
import pytest
import torch
from datasets import Dataset, Image, IterableDataset
from PIL import Image as Images
from small_models import small_model, small_processor
from written_tables import write

from amif.training.data import AmifVqaCollator, VqaRows, replace_images
from amif.training.data.data_fingerprint import data_fingerprint
from amif.training.data.image_overlap import image_prints, shared_pixels
from amif.training.data.mixtures import VQA_IDS, mix, with_set_name
from amif.training.data.readers.own_data import load_own_data, load_questions
from amif.training.data.readers.vqa_pairs import to_pairs
from amif.training.data.same_images import same_images, with_one_name_an_image
from amif.training.data.schema import build_vqa_dataset
from amif.training.data.views import alike, asks_about_several, first_shown, has_views, view_ids, view_ids_of
from amif.training.data.vqa_rows import VqaStream, read_stream
from amif.training.fine_tuning.cached_images import encode_unique_images

# The images of each row, as letters; "ba" and "b" share an image, "d" is alone.
ROWS = ["ab", "c", "ba", "d", "b", "aec"]


def row_of(folder, images, number):
    paths = [str(folder / f"{letter}.png") for letter in images]
    return {
        "image": paths if len(paths) > 1 else paths[0],
        "question": "is there a mass?",
        "answer": "yes",
        "image_id": "|".join(images),
        "question_id": str(number),
    }


@pytest.fixture
def folder(tmp_path):
    for number, letter in enumerate("abcde"):
        pixels = np.random.default_rng(number).integers(0, 256, (16 + number, 20, 3), dtype=np.uint8)
        Images.fromarray(pixels).save(tmp_path / f"{letter}.png")
    return tmp_path


@pytest.fixture
def rows(folder):
    return build_vqa_dataset([row_of(folder, images, number) for number, images in enumerate(ROWS)])


def shown(batch):
    """The pixels of each question's images in a batch."""
    index = batch["image_index"] if batch["image_index"].dim() == 2 else batch["image_index"][:, None]
    return [batch["pixel_values"][views[views >= 0]] for views in index]


def test_ids_of_the_images_of_a_row(rows):
    """A single image keeps its id whatever it holds; an id of another number of parts is numbered."""
    assert view_ids("a|b", 1) == ["a|b"]
    assert view_ids("a|b", 2) == ["a", "b"]
    assert view_ids("study", 2) == view_ids("study", 2) == ["study|1", "study|2"]
    assert view_ids_of(rows) == [list(images) for images in ROWS]
    assert view_ids_of(rows.select([2, 0])) == [["b", "a"], ["a", "b"]]
    assert first_shown(rows) == {"a": (0, 0), "b": (0, 1), "c": (1, 0), "d": (3, 0), "e": (5, 1)}
    assert has_views(rows)
    assert asks_about_several(rows)
    assert not asks_about_several(rows.select([1, 3]))


def test_a_batch_holds_each_image_once(folder, rows):
    collator, processor = AmifVqaCollator(small_processor()), small_processor()
    items = VqaRows(rows)
    batch = collator(items.__getitems__(list(range(6))))
    assert batch["image_index"].tolist() == [[0, 1, -1], [2, -1, -1], [1, 0, -1], [3, -1, -1], [1, -1, -1], [0, 4, 2]]
    for pixels, images in zip(shown(batch), ROWS, strict=True):
        expected = processor(images=[str(folder / f"{letter}.png") for letter in images])
        assert torch.equal(pixels, expected["pixel_values"])
    assert collator([items[1], items[4]])["image_index"].tolist() == [0, 1]
    stream = VqaStream(IterableDataset.from_generator(lambda: iter(rows), features=rows.features))
    assert torch.equal(collator(list(stream))["pixel_values"], batch["pixel_values"])
    again = VqaRows(read_stream(rows.to_iterable_dataset()))
    assert torch.equal(collator([again[row] for row in range(6)])["pixel_values"], batch["pixel_values"])


def test_states_of_images_that_are_kept_equal_those_of_their_pixels(rows):
    model, processor = small_model(), small_processor()
    states = encode_unique_images(model, processor, rows, batch_size=2, progress=False)
    assert list(states) == ["a", "b", "c", "d", "e"]
    collator = AmifVqaCollator(processor)
    kept = collator([VqaRows(rows, states)[row] for row in range(6)])
    read = collator([VqaRows(rows)[row] for row in range(6)])
    assert torch.equal(kept["image_index"], read["image_index"])
    with torch.no_grad():
        expected = model.model.encode_images(read["pixel_values"])
    torch.testing.assert_close(kept["image_states"], expected)


@pytest.mark.parametrize("how", ["blank", "shuffle"])
def test_every_image_of_a_question_is_replaced(rows, how):
    collator = AmifVqaCollator(small_processor())
    before = collator(VqaRows(rows).__getitems__(list(range(6))))
    after = collator(VqaRows(replace_images(rows, how)).__getitems__(list(range(6))))
    assert torch.equal(after["image_index"], before["image_index"])
    for own, others in zip(shown(before), shown(after), strict=True):
        for image, other in zip(own, others, strict=True):
            assert not torch.equal(image, other)
            if how == "blank":
                assert other.unique().numel() == 1
            else:
                assert any(torch.equal(other, known) for known in before["pixel_values"])


def test_images_that_rows_share_are_found_by_each(folder, rows):
    """By id, pixels and bytes; and rows that share one of several images are on one side where they are parted."""
    Images.open(folder / "e.png").save(folder / "f.png")
    other = build_vqa_dataset([row_of(folder, "fd", 0)])
    assert shared_pixels(image_prints(rows), image_prints(other)) == {"d": ["d"], "f": ["e"]}
    twins = same_images({"train": rows, "test": other})
    assert twins == {("test", "d"): ("train", "d"), ("test", "f"): ("train", "e")}
    named = with_one_name_an_image(rows, {}, "group")["group"]
    assert len({named[row] for row in (0, 1, 2, 4, 5)}) == 1  # c is shared by way of the last row
    assert named[3] == "d"
    assert data_fingerprint(rows) != data_fingerprint(rows.select([2, 1, 0, 3, 4, 5]))


def test_sets_with_and_without_several_images_are_joined(folder, rows):
    single = build_vqa_dataset([row_of(folder, "d", 0), row_of(folder, "a", 1)])
    assert single.features["image"] == Image()
    assert alike([single, single])[0].features == single.features
    joined = mix(alike([with_set_name(part, name, VQA_IDS) for name, part in (("one", single), ("two", rows))]))
    assert view_ids_of(joined) == [["one/d"], ["one/a"], *([f"two/{letter}" for letter in images] for images in ROWS)]
    assert [len(images) for images in joined["image"]] == [1, 1, *map(len, ROWS)]
    assert isinstance(joined, Dataset)
    assert joined[0]["image"][0].size == (20, 19)


def test_pairs_for_pre_training_have_all_images_of_a_question(rows):
    assert [len(images) for images in to_pairs(rows)["images"]] == list(map(len, ROWS))


GOOD = {"image": "good.png", "question": "Is it?", "answer": "yes"}

TABLE = [
    {"image": "images/007.png", "question": "How many?", "answer": 2},
    {"image": "images/007.png", "question": "Contrast agent?", "answer": "None"},
    {"image": "images/8.png", "question": "Where?", "answer": "left lobe"},
]


@pytest.fixture
def table_folder(tmp_path):
    (tmp_path / "images").mkdir()
    for value, name in ((7, "good"), (3, "images/007"), (1, "images/8")):
        Images.new("L", (4, 4), value).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_a_question_about_several_images(table_folder, suffix):
    """A list, or names with | between; a list of one image is that image, and a split without lists gets them too."""
    views = [["./images/007.png", "good.png"], ["good.png"], ["images/8.png", "images/007.png", "good.png"]]
    written = [" | ".join(names) for names in views] if suffix == ".csv" else views
    write(table_folder / f"train{suffix}", [row | {"image": image} for row, image in zip(TABLE, written, strict=True)])
    write(table_folder / "test.csv", [GOOD])
    splits = load_own_data(table_folder)
    assert splits["train"]["image_id"] == [
        "images/007.png|good.png",
        "good.png",
        "images/8.png|images/007.png|good.png",
    ]
    assert splits["train"]["question_id"][0] == "images/007.png|good.png|How many?"
    pixels = [[image.getpixel((0, 0)) for image in images] for images in splits["train"]["image"]]
    assert pixels == [[3, 7], [7], [1, 3, 7]]
    assert splits["test"].features["image"] == splits["train"].features["image"]
    assert load_questions(table_folder / "test.csv").features["image"] == Image()


def test_several_embedded_images(table_folder):
    cells = {name: (table_folder / f"{name}.png").read_bytes() for name in ("good", "images/007", "images/8")}
    rows = {
        "image": [
            [{"bytes": cells[name], "path": None} for name in names] for names in (["good", "images/8"], ["good"])
        ]
    }
    rows |= {"question": ["Is it?"] * 2, "answer": ["yes"] * 2, "image_id": ["pair", "alone"]}
    Dataset.from_dict(rows).to_parquet(table_folder / "train.parquet")
    train = load_own_data(table_folder / "train.parquet")["train"]
    assert [[image.getpixel((0, 0)) for image in images] for images in train["image"]] == [[7, 1], [7]]
    assert view_ids_of(train) == [["pair|1", "pair|2"], ["alone"]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"image": ["good.png"] * 5}, "1 to 4"),
        ({"image": []}, "1 to 4"),
        ({"image": "good.png|"}, "the image is ''"),
        ({"image": "good.png | none.png"}, "none.png does not exist"),
        ({"image": ["good.png", "broken.png"]}, "broken.png"),
        ({"image": ["good.png", "images/8.png"], "image_id": ["g"]}, "as many as the row has images, 2"),
        ({"image": ["good.png", "images/8.png"], "image_id": "images/007.png|g"}, "names .*good.png here and"),
    ],
)
def test_bad_rows_of_several_images(table_folder, bad, message):
    """Each is named with its row, and can be left out."""
    (table_folder / "broken.png").write_bytes((table_folder / "good.png").read_bytes()[:40])
    path = write(table_folder / "questions.json", [*TABLE, GOOD | bad])
    with pytest.raises((ValueError, FileNotFoundError), match=f"row 3 .*{message}"):
        load_own_data(path)
    assert load_own_data(path, on_bad_row="skip")["train"]["answer"] == ["2", "None", "left lobe"]
