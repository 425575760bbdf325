import pytest
import torch
from torch.utils.data import DataLoader

from amif.training.data import PretrainingRows, PretrainingStream, load_pretraining_dataset


@pytest.fixture(scope="module")
def studies():
    return load_pretraining_dataset("phantom", num_studies=12, image_size=16)["train"]


def test_rows_are_undecoded_and_know_their_place(studies):
    rows = PretrainingRows(studies)
    rows.set_epoch(4)
    assert len(rows) == len(studies)
    assert (rows[3]["row"], rows[3]["epoch"], rows[3]["study_id"]) == (3, 4, studies[3]["study_id"])
    assert rows[3]["images"][1]["bytes"].startswith(b"\x89PNG")


def test_a_stream_of_other_columns_is_refused(studies):
    named = studies.to_iterable_dataset().rename_column("images", "image")
    with pytest.raises(ValueError, match=r"and no images: read the stream by load_pretraining_dataset with streaming"):
        PretrainingStream(named)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_gives_each_row_once_with_a_number_of_its_own(studies, workers):
    stream = PretrainingStream(studies.to_iterable_dataset(num_shards=2))
    loader = DataLoader(stream, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    found = list(loader)
    assert sorted(row["study_id"] for row in found) == sorted(studies["study_id"])
    assert len({row["row"] for row in found}) == len(studies)
    stream.set_epoch(2)
    again = {row["study_id"]: row for row in loader}
    assert {row["epoch"] for row in again.values()} == {2}
    assert all(again[row["study_id"]]["row"] == row["row"] for row in found)
    torch.tensor([row["row"] for row in found])
