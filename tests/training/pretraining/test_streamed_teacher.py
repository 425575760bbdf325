"""A teacher's embeddings of a stream: those of its rows, kept by shards, and never those of others."""

import pyarrow.parquet as pq
import pytest
import torch
from pretraining_runs import small_studies
from torch.utils.data import DataLoader

from amif.training.data import PretrainingStream
from amif.training.pretraining import streamed_teacher
from amif.training.pretraining.streamed_teacher import embed_shards, with_embeddings
from amif.training.pretraining.teacher import Teacher


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
        self.studies = 0

    def embed_images(self, pixels):
        return pixels @ self.weight

    def embed_texts(self, text):
        self.studies += len(text)
        return text @ self.weight


def pixels_of(image):
    return torch.tensor(list(image.resize((2, 2)).convert("L").tobytes()), dtype=torch.float)


@pytest.fixture
def teacher():
    network = Network()
    return Teacher(
        network,
        images=lambda images: torch.stack([pixels_of(image) for image in images]),
        texts=lambda texts: {"text": torch.tensor([[len(t), t.count("a"), t.count("e"), 1.0] for t in texts])},
        encode_images=network.embed_images,
        encode_texts=network.embed_texts,
        preprocessing="tiny",
    )


def streamed(rows=slice(0, 10), shards=3):
    return small_studies()["train"].select(range(*rows.indices(42))).to_iterable_dataset(num_shards=shards)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_row_has_its_own_embeddings(tmp_path, teacher, workers):
    stream = streamed()
    embedded = with_embeddings(stream, embed_shards(stream, teacher, tmp_path, batch_size=3))
    assert embedded.num_shards == 3
    rows = list(DataLoader(PretrainingStream(embedded), batch_size=None, num_workers=workers))
    studies = {row["study_id"]: row for row in small_studies()["train"].select(range(10))}
    assert sorted(row["study_id"] for row in rows) == sorted(studies)
    for row in rows:
        own = studies[row["study_id"]]
        assert [image["bytes"] is not None for image in row["images"]] == [True] * len(own["images"])
        images = torch.tensor(row["teacher_image_embeds"])
        torch.testing.assert_close(images, teacher.embed_images(own["images"]), rtol=0, atol=1e-6)
        torch.testing.assert_close(torch.tensor([row["teacher_text_embeds"]]), teacher.embed_texts([own["text"]]))


def test_an_interrupted_embedding_keeps_whole_shards_alone(tmp_path, teacher, monkeypatch):
    stream, embed = streamed(), streamed_teacher.embed_batch

    def dying(rows, numbers, teacher):
        if "00001-of" in numbers[0] and numbers[0].startswith("2 "):
            raise KeyboardInterrupt
        return embed(rows, numbers, teacher)

    monkeypatch.setattr(streamed_teacher, "embed_batch", dying)
    with pytest.raises(KeyboardInterrupt):
        embed_shards(stream, teacher, tmp_path, batch_size=2)
    monkeypatch.setattr(streamed_teacher, "embed_batch", embed)
    (folder,) = tmp_path.iterdir()
    assert [file.stem for file in folder.glob("*.parquet")] == ["00000-of-00003"]
    teacher.model.studies = 0
    files = embed_shards(stream, teacher, tmp_path, batch_size=2)
    assert teacher.model.studies == 6, "of the shard that was whole none"
    assert len(list(with_embeddings(stream, files))) == 10
    content = bytearray(files[2].read_bytes())
    content[len(content) // 3] ^= 255
    files[2].write_bytes(content)
    teacher.model.studies = 0
    embed_shards(stream, teacher, tmp_path)
    assert teacher.model.studies == 3, "those of a damaged file"


def test_processes_share_the_shards_out(tmp_path, teacher):
    embed_shards(streamed(), teacher, tmp_path, process=(1, 2))
    (folder,) = tmp_path.iterdir()
    assert [file.stem for file in folder.iterdir()] == ["00001-of-00003"]
    assert pq.read_metadata(next(folder.iterdir())).num_rows == 3


def test_embeddings_of_other_rows_are_refused(tmp_path, teacher):
    files = embed_shards(streamed(), teacher, tmp_path)
    for other in (streamed(slice(1, 11)), streamed(slice(0, 9)), streamed(slice(0, 12))):
        with pytest.raises(ValueError, match="other studies than its shard: the data are no longer those"):
            list(with_embeddings(other, files))
