import pytest
from PIL import Image as Images
from torch.utils.data import DataLoader

from amif.training.data import VqaRows
from amif.training.data.schema import build_vqa_dataset


@pytest.fixture
def rows(tmp_path):
    Images.new("L", (4, 4)).save(tmp_path / "a.png")
    table = [{"image": str(tmp_path / "a.png"), "question": f"{row}?", "image_id": f"i{row}"} for row in range(3)]
    return VqaRows(build_vqa_dataset(table))


def test_rows_are_undecoded_and_numbered(rows, tmp_path):
    row = rows[2]
    assert row["image"] == {"bytes": None, "path": str(tmp_path / "a.png")}
    assert (row["question"], row["row"], row["epoch"]) == ("2?", 2, 0)
    assert len(rows) == 3
    assert rows.image_ids == ["i0", "i1", "i2"]


def test_persistent_workers_learn_of_the_epoch(rows):
    loader = DataLoader(rows, batch_size=3, num_workers=1, persistent_workers=True, collate_fn=list)
    for epoch in (0, 3):
        rows.set_epoch(epoch)
        assert [row["epoch"] for batch in loader for row in batch] == [epoch] * 3


def test_a_batch_read_at_once_keeps_its_order_and_repeats(rows):
    batch = rows.__getitems__([2, 0, 2])
    assert [(row["question"], row["image_id"], row["row"]) for row in batch] == [
        ("2?", "i2", 2),
        ("0?", "i0", 0),
        ("2?", "i2", 2),
    ]


def test_a_data_loader_reads_a_batch_at_once(rows, monkeypatch):
    read = []
    at_once = VqaRows.__getitems__
    monkeypatch.setattr(VqaRows, "__getitems__", lambda self, places: read.append(places) or at_once(self, places))
    list(DataLoader(rows, batch_size=2, collate_fn=list))
    assert read == [[0, 1], [2]]
