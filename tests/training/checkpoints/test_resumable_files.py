import pytest

from amif.training.checkpoints.resumable_files import check_output_folder


def test_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"output folder .*file/out: Not a directory\. Choose another --output_dir"):
        check_output_folder(tmp_path / "file" / "out")


def test_output_folder_that_can_be_written_is_made_and_left_empty(tmp_path):
    check_output_folder(tmp_path / "new" / "out")
    assert not list((tmp_path / "new" / "out").iterdir())
