"""Random damage to the files of checkpoints: found and named, never a foreign traceback, never another state in use."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from our_errors import examples, result_or_our_error
from small_models import save_small_checkpoint

from amif import AmifForVisualQuestionAnswering
from amif.training.checkpoints.checkpoint_files import CHECKPOINT_FILES_NAME, close_checkpoint, what_is_missing
from amif.training.checkpoints.model_files import is_pretrained_only, load_checkpoint
from amif.training.checkpoints.resumable_files import checkpoint_to_resume

STATES = {
    "config.json": b'{"model_type": "amif"}',
    "model.safetensors": bytes(range(100)),
    "optimizer.pt": bytes(range(50)),
    "rng_state.pth": b"random",
    "scheduler.pt": b"rate",
    "trainer_state.json": json.dumps({"global_step": 12, "epoch": 2.0, "best_metric": None}).encode(),
}
# What a disk, a copy or an editor does to a file: where, and which bytes come in place of how many.
DAMAGES = st.tuples(st.floats(0, 1), st.integers(0, 20), st.binary(max_size=20))
JSON = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()), st.lists)
OBJECTS = st.one_of(
    JSON, st.dictionaries(st.sampled_from([*STATES, "order", "bytes", "sha256", "seal", "other"]), JSON)
)


def damaged(content, damage):
    where, gone, put = damage
    place = int(where * len(content))
    return content[:place] + put + content[place + gone :]


def flipped(content, where, bit):
    place = min(int(where * len(content)), len(content) - 1)
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoint-12"
    folder.mkdir()
    for name, content in STATES.items():
        (folder / name).write_bytes(content)
    close_checkpoint(folder)
    return folder


def is_same(name, content, kept):
    """White space changes no list."""
    if name != CHECKPOINT_FILES_NAME:
        return content == kept
    try:
        return json.loads(content) == json.loads(kept)
    except ValueError:
        return False


@examples(60)
@given(st.sampled_from([*STATES, CHECKPOINT_FILES_NAME]), DAMAGES, st.integers(0, 7), st.booleans())
def test_no_damage_to_a_checkpoint_of_a_run_is_resumed_from(run, name, damage, bit, flips):
    kept = (run / name).read_bytes()
    content = flipped(kept, damage[0], bit) if flips else damaged(kept, damage)
    try:
        (run / name).write_bytes(content)
        found = result_or_our_error(lambda: checkpoint_to_resume(True, run.parent))
        assert found == (str(run) if is_same(name, content, kept) else None)
    finally:
        (run / name).write_bytes(kept)
    assert what_is_missing(run) is None


@examples(60)
@given(st.sampled_from(["trainer_state.json", CHECKPOINT_FILES_NAME]), OBJECTS)
def test_any_json_in_place_of_state_or_list(run, name, content):
    kept = {name: (run / name).read_bytes() for name in ("trainer_state.json", CHECKPOINT_FILES_NAME)}
    lengths = {file: len(content) for file, content in STATES.items() if file != "trainer_state.json"}
    try:
        (run / CHECKPOINT_FILES_NAME).write_text(json.dumps(lengths))
        (run / name).write_text(json.dumps(content))
        found = result_or_our_error(lambda: checkpoint_to_resume(True, run.parent))
        assert found is None or (name == CHECKPOINT_FILES_NAME and {*content} >= {"optimizer.pt", "rng_state.pth"})
    finally:
        for file, before in kept.items():
            (run / file).write_bytes(before)


@pytest.fixture(scope="module")
def answering(tmp_path_factory):
    return save_small_checkpoint(tmp_path_factory.mktemp("answering") / "checkpoint-3")


@examples(25)
@given(st.data(), DAMAGES, st.integers(0, 7), st.booleans())
def test_a_damaged_checkpoint_that_answers_is_read_or_refused_in_our_words(answering, data, damage, bit, flips):
    names = sorted(path.name for path in answering.iterdir() if path.suffix in (".json", ".safetensors"))
    name = data.draw(st.sampled_from(names))
    kept = (answering / name).read_bytes()
    content = flipped(kept, damage[0], bit) if flips else damaged(kept, damage)
    try:
        (answering / name).write_bytes(content)
        result_or_our_error(lambda: is_pretrained_only(str(answering)))
        result_or_our_error(lambda: load_checkpoint(str(answering), AmifForVisualQuestionAnswering))
    finally:
        (answering / name).write_bytes(kept)


@examples(25)
@given(st.sampled_from(["config.json", "model.safetensors"]), DAMAGES, st.integers(0, 7), st.booleans())
def test_other_weights_than_a_run_saved_do_not_answer(answering, name, damage, bit, flips):
    sealed = answering.parent / "sealed" / "checkpoint-3"
    if not sealed.exists():
        shutil.copytree(answering, sealed)
        close_checkpoint(sealed)
    kept = (sealed / name).read_bytes()
    content = flipped(kept, damage[0], bit) if flips else damaged(kept, damage)
    try:
        (sealed / name).write_bytes(content)
        read = result_or_our_error(lambda: load_checkpoint(str(sealed), AmifForVisualQuestionAnswering))
        assert (read is not None) == (content == kept)
    finally:
        (sealed / name).write_bytes(kept)
