"""Which checkpoints are whole, which is the newest, and which are deleted, whatever the clock says."""

import json
import os
from pathlib import Path

import pytest

from amif.training.checkpoints.checkpoint_files import (
    CHECKPOINT_FILES_NAME,
    check_saved_weights,
    checkpoints_by_age,
    close_checkpoint,
    delete_older_checkpoints,
    newest_complete_checkpoint,
    what_is_missing,
)
from amif.training.checkpoints.resumable_files import checkpoint_to_resume

CONTENTS = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "optimizer.pt": b"moments",
    "rng_state.pth": b"random",
    "scheduler.pt": b"rate",
    "processor_config.json": b"{}",
}


def build(run: Path, step: int, close: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if close:
        close_checkpoint(folder)
    return folder


def flip(path: Path, place: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def replace(old: bytes, new: bytes):
    def change(path: Path) -> None:
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("model.safetensors", flip, "model.safetensors is damaged: its bytes are not those that were saved"),
        ("optimizer.pt", flip, "optimizer.pt is damaged"),
        ("optimizer.pt", Path.unlink, "optimizer.pt is missing"),
        (
            "scheduler.pt",
            lambda path: path.write_bytes(b""),
            "scheduler.pt is cut off or damaged: 0 bytes instead of 4",
        ),
        ("rng_state.pth", lambda path: path.write_bytes(b"rand"), "4 bytes instead of 6"),
        ("trainer_state.json", Path.unlink, "trainer_state.json is missing"),
        ("trainer_state.json", replace(b"6", b"7"), "trainer_state.json is damaged"),
        ("trainer_state.json", lambda path: path.write_bytes(b""), "trainer_state.json is cut off or damaged"),
        (CHECKPOINT_FILES_NAME, Path.unlink, f"{CHECKPOINT_FILES_NAME} is missing"),
        (CHECKPOINT_FILES_NAME, flip, f"{CHECKPOINT_FILES_NAME} is damaged"),
        (CHECKPOINT_FILES_NAME, lambda path: path.write_bytes(b""), f"{CHECKPOINT_FILES_NAME} is damaged"),
        (CHECKPOINT_FILES_NAME, lambda path: path.write_bytes(b"{}"), f"{CHECKPOINT_FILES_NAME} is damaged"),
        (CHECKPOINT_FILES_NAME, lambda path: path.write_bytes(b"[]"), f"{CHECKPOINT_FILES_NAME} is damaged"),
        (CHECKPOINT_FILES_NAME, replace(b'"order": 2', b'"order": 0'), f"{CHECKPOINT_FILES_NAME} is damaged"),
        (CHECKPOINT_FILES_NAME, replace(b"optimizer.pt", b"optimizer.pu"), f"{CHECKPOINT_FILES_NAME} is damaged"),
    ],
)
def test_what_was_damaged_is_passed_over_and_named(tmp_path, monkeypatch, name, damage, said):
    older, newer = build(tmp_path, 3), build(tmp_path, 6)
    assert what_is_missing(newer) is None
    damage(newer / name)
    assert said in what_is_missing(newer)
    warnings = []
    monkeypatch.setattr("amif.training.checkpoints.checkpoint_files.logger.warning", warnings.append)
    assert newest_complete_checkpoint(tmp_path) == older
    assert len(warnings) == 1
    assert said in warnings[0]
    assert "checkpoint-6" in warnings[0]


def test_a_changed_threshold_of_abstention_damages_nothing(tmp_path):
    folder = build(tmp_path, 3)
    (folder / "processor_config.json").write_text('{"abstention_threshold": -1.0}')
    assert what_is_missing(folder) is None


def test_a_run_is_not_begun_anew_where_its_checkpoints_are_damaged(tmp_path):
    flip(build(tmp_path, 3) / "optimizer.pt")
    build(tmp_path, 6, close=False)
    with pytest.raises(ValueError, match=r"None of .*checkpoint-3 can be resumed; .*delete them to train from the beg"):
        checkpoint_to_resume(True, tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint-3 cannot be resumed: optimizer\.pt is damaged"):
        checkpoint_to_resume(str(tmp_path / "checkpoint-3"), tmp_path)


def test_what_was_never_written_to_its_end_may_begin_anew(tmp_path):
    build(tmp_path, 6, close=False)
    assert checkpoint_to_resume(True, tmp_path) is None


def test_weights_alone_are_not_resumed_with_a_fresh_optimizer(tmp_path):
    folder = build(tmp_path, 3, close=False)
    (folder / "optimizer.pt").unlink()
    close_checkpoint(folder)
    assert what_is_missing(folder) == "it was saved without its optimizer states"
    check_saved_weights(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"global_step": "x"}', b'{"unknown": 1}', b"\xff", b"null"])
def test_a_state_that_was_saved_damaged(tmp_path, content):
    folder = build(tmp_path, 3, close=False)
    (folder / "trainer_state.json").write_bytes(content)
    close_checkpoint(folder)
    assert what_is_missing(folder) == "trainer_state.json is damaged"


@pytest.mark.parametrize("seconds", [-1e6, 0, 1e6])
def test_the_clock_decides_nothing(tmp_path, seconds):
    """A longer, earlier run left checkpoint-9; the clock was set back, or on, before the second checkpoint of this."""
    folders = [build(tmp_path, step) for step in (9, 3, 6)]
    for place, folder in enumerate(folders):
        for path in [*folder.iterdir(), folder]:
            os.utime(path, (2e9 + place * seconds,) * 2)
    assert checkpoints_by_age(tmp_path) == folders
    assert newest_complete_checkpoint(tmp_path).name == "checkpoint-6"
    delete_older_checkpoints(tmp_path, 1, None)
    assert checkpoints_by_age(tmp_path) == folders[2:]


@pytest.mark.parametrize(
    ("kept", "best", "left"),
    [
        (None, None, 4),
        (0, None, 4),
        (5, None, 4),
        (2, None, 2),
        (1, None, 1),
        (1, 3, 2),
        (1, 9, 1),
        (2, 3, 2),
        (3, 3, 3),
    ],
)
def test_the_newest_and_the_best_checkpoint_stay(tmp_path, kept, best, left):
    build(tmp_path, 12, close=False)
    folders = [build(tmp_path, step) for step in (3, 6, 9)]
    delete_older_checkpoints(tmp_path, kept, None if best is None else str(tmp_path / f"checkpoint-{best}"))
    stayed = checkpoints_by_age(tmp_path)
    assert len(stayed) == left
    assert folders[2] in stayed
    assert best is None or tmp_path / f"checkpoint-{best}" in stayed


def test_weights_that_changed_since_they_were_saved_are_not_used(tmp_path):
    folder = build(tmp_path, 3)
    check_saved_weights(folder)
    flip(folder / "optimizer.pt")
    check_saved_weights(folder)
    flip(folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"checkpoint-3: model\.safetensors is damaged.*Copy the checkpoint again"):
        check_saved_weights(folder)
    (folder / CHECKPOINT_FILES_NAME).write_text("[]")
    with pytest.raises(ValueError, match=r"checkpoint_files\.json is damaged: copy the checkpoint again"):
        check_saved_weights(folder)
