"""Random images, questions and answers: a right result or an error of ours, never a foreign traceback."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from our_errors import examples, result_or_our_error

from amif.processing_amif import normalize_answer, to_rgb
from amif.training.processors import small_processor

often = examples(100)
ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()))


@pytest.fixture(scope="module")
def processor():
    return small_processor(["is there a mass in the left lung? yes no"], 32)


@often
@given(ANYTHING)
@example(1e400)
@example("x ray - / . ,")
def test_normalising_anything(value):
    once = result_or_our_error(lambda: normalize_answer(value))
    if once is not None:
        assert once == once.strip() != ""
        assert normalize_answer(once) == once


@often
@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_arrays_of_any_kind(array):
    image = result_or_our_error(lambda: to_rgb(array))
    if image is not None:
        assert image.mode == "RGB"
        assert image.size == (array.shape[1], array.shape[0])


@often
@given(st.binary(max_size=300))
@example(b"")
def test_files_of_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.png"
    path.write_bytes(content)
    image = result_or_our_error(lambda: to_rgb(path))
    assert image is None or image.mode == "RGB"


@often
@given(st.one_of(ANYTHING, st.lists(ANYTHING, max_size=3)))
def test_questions_of_any_kind(processor, text):
    encoded = result_or_our_error(lambda: processor(text=text))
    if encoded is not None:
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        assert ids.shape == mask.shape
        assert (ids[:, 0] == processor.tokenizer.cls_token_id).all()
        assert ids.shape[1] <= processor.max_question_length


@often
@given(st.lists(st.text(), max_size=3))
def test_answers_of_any_text(processor, answers):
    encoded = result_or_our_error(lambda: processor.encode_answers(answers))
    assert encoded is None or len(encoded["input_ids"]) == len(answers)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (5, 3), (1, 400)])
def test_images_of_few_pixels_keep_their_colour(processor, size):
    """One or three rows of pixels might pass for colour channels."""
    image = to_rgb(np.full((size[1], size[0], 3), (10, 200, 90), np.uint8))
    pixels = processor(images=image)["pixel_values"]
    expected = (torch.tensor([10, 200, 90]) / 255 - 0.25) / 0.25
    torch.testing.assert_close(pixels, expected.view(1, 3, 1, 1).expand(1, 3, 32, 32))


def test_a_question_of_10000_words_loses_its_end(processor):
    words = ["is there a mass"] * 2500
    ids = processor(text=" ".join(words))["input_ids"][0]
    assert len(ids) == processor.max_question_length
    assert ids[-1] == processor.tokenizer.sep_token_id
    short = processor(text=" ".join(words[:20]))["input_ids"][0]
    assert ids.tolist() == short.tolist()
