"""CSV as it comes out of people's programs: read as it was meant, or refused by line."""

import pytest
from PIL import Image as Images

from amif.training.data.readers import csv_files
from amif.training.data.readers.csv_files import read_csv
from amif.training.data.readers.own_data import load_own_data

HEADER = "image,question,answer\n"


def file_of(folder, content):
    path = folder / "own.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + 'a.png,"Is it,yes\nb.png,Is it,no\n', "begins on line 2, a quote is opened and never closed"),
        (HEADER + 'a.png,q,yes\na.png,"Is it,yes\nb.png,"Is it",no\n', "begins on line 3, ',' expected.* on line 4"),
        (HEADER + 'a.png,"Is" it,yes\n', "begins on line 2, ',' expected after"),
        (HEADER + f"a.png,q,{'a ' * 70_000}\n", "line 2, a cell is longer than 131,072 characters, and no image"),
        ('image;question;answer\na.png;"q;yes\n', "begins on line 2, a quote is opened and never closed"),
        (HEADER, "a header .* and no rows"),
        ("\n\n", "is empty"),
        ((HEADER + "a.png,q,yes\n").encode("utf-16"), "UTF-16.*save it as UTF-8"),
        (HEADER.encode() + b"a.png,q,y\0\n", "line 2 holds a zero byte"),
        (HEADER.encode() + b"a.png,q,caf\xe9\n", "line 2 is no UTF-8"),
        ("image,question,answer,answer\n", "header repeats 'answer'"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"own\.csv.*{message}") as error:
        read_csv(file_of(tmp_path, content))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,q", "line 3 has 2 cells and the header 3"),
        ("a.png", "line 3 has 1 cells and the header 3"),
        ("a.png,Is it, or not,yes", "line 3 has 4 cells and the header 3: .*'yes'.* behind the last column"),
        ('a.png,q,"yes\na.png,q2,no"', "line 3 holds another row in one cell, 'a.png,q2,no': close the quote"),
    ],
)
def test_rows_that_do_not_fit_the_header(tmp_path, row, message):
    Images.new("L", (4, 4)).save(tmp_path / "a.png")
    path = file_of(tmp_path, f"{HEADER}a.png,good,yes\n{row}\na.png,last,no\n")
    with pytest.raises(ValueError, match=rf"own\.csv: row 1 \(counted from 0\): {message}"):
        load_own_data(path)
    assert load_own_data(path, on_bad_row="skip")["train"]["question"][:] == ["good", "last"]


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        (HEADER + "a.png,q,yes\n", ["a.png", "q", "yes"]),
        ("\ufeff" + HEADER + "a.png,q,yes", ["a.png", "q", "yes"]),
        (HEADER.replace("\n", "\r\n") + "a.png,q,yes\r\n", ["a.png", "q", "yes"]),
        ("image,question,answer,,\na.png,q,yes,,\n,,,,\n", ["a.png", "q", "yes"]),
        (HEADER + "\na.png,q,yes,,,\n\n", ["a.png", "q", "yes"]),
        (HEADER + 'a.png,"one, two\nthree ""four""",yes\n', ["a.png", 'one, two\nthree "four"', "yes"]),
        (HEADER + 'a.png,the "left" lung,yes\n', ["a.png", 'the "left" lung', "yes"]),
        (HEADER + "a.png,q,\n", ["a.png", "q", ""]),
    ],
)
def test_files_that_are_read_as_meant(tmp_path, content, cells, monkeypatch):
    monkeypatch.setattr(csv_files.logger, "warning", lambda message: None)
    assert read_csv(file_of(tmp_path, content)) == [dict(zip(("image", "question", "answer"), cells, strict=True))]


def test_rows_of_empty_cells_are_counted(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(csv_files.logger, "warning", said.append)
    read_csv(file_of(tmp_path, HEADER + "a.png,q,yes\n,,\n,,\n"))
    assert said == [f"{tmp_path / 'own.csv'}: 2 rows of empty cells are passed over."]


@pytest.mark.parametrize(
    ("name", "header", "separator", "word"),
    [
        ("own.csv", "image;question;answer", ";", "semicolons"),
        ("own.csv", "\ufeffimage;question, if any;answer", ";", "semicolons"),
        ("own.csv", "image\tquestion\tanswer", "\t", "tabs"),
        ("own.csv", "image|question|answer", "|", "vertical bars"),
        ("own.tsv", "image,question,answer", ",", "commas"),
        ("own.tsv", "image\tquestion, of a doctor, if any\tanswer", "\t", None),
        ("own.csv", "image,question; if any,answer", ",", None),
    ],
)
def test_the_header_shows_what_separates_the_cells(tmp_path, monkeypatch, name, header, separator, word):
    said = []
    monkeypatch.setattr(csv_files.logger, "warning", said.append)
    path = tmp_path / name
    path.write_text(f'{header}\na.png{separator}"one, two; three|four\tfive"{separator}yes\n', encoding="utf-8")
    (row,) = read_csv(path)
    assert list(row.values()) == ["a.png", "one, two; three|four\tfive", "yes"]
    assert said == ([f"{path} is read as separated by {word}, as its header shows."] if word else [])


def test_rows_of_semicolons_that_do_not_fit_the_header(tmp_path):
    Images.new("L", (4, 4)).save(tmp_path / "a.png")
    path = file_of(tmp_path, 'image;question;answer\na.png;q;"yes\na.png;q2;no"\na.png;a;b;c\n')
    rows = read_csv(path)
    assert [row[None].partition(":")[0] for row in rows] == [
        "line 2 holds another row in one cell, 'a.png;q2;no'",
        "line 4 has 4 cells and the header 3",
    ]


@pytest.mark.parametrize(("name", "separator"), [("own.csv", ","), ("own.csv", ";"), ("own.tsv", "\t")])
def test_images_in_base64_may_be_longer_than_any_other_cell(tmp_path, name, separator):
    """A radiograph of 100 KB is; an unclosed quote takes in what is no base64."""
    path, long = tmp_path / name, "aB+/" * 35_000
    rows = [[long, "q"], [f'"data:image/png;base64,{long}"', "q2"]]
    path.write_text("\n".join(map(separator.join, [["image", "question"], *rows])))
    assert [row["image"].removeprefix("data:image/png;base64,") for row in read_csv(path)] == [long, long]
    swallowed = "\n".join(separator.join(("a.png", "q")) for _ in range(20_000))
    path.write_text(f'image{separator}question\n"{swallowed}"{separator}q\n')
    with pytest.raises(ValueError, match="line 2, a cell is longer than 131,072"):
        read_csv(path)
