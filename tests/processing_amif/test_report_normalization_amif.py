import pytest

from amif.processing_amif import normalize_report


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("Chest X-ray: no acute   findings.", "chest x ray no acute findings"),
        ("A 1.5 x 2.0cm mass, 1,200 HU; >5%.", "a 1.5 x 2.0cm mass 1,200 hu >5%"),
        ("Ms. ___ has\n\n the patient's tube -- (unchanged)", "ms has the patients tube unchanged"),
        ("T1/T2 \u2013 \u201clesion\u201d.", "t1 t2 lesion"),
        ("Kanüle °C ±2", "kanüle °c ±2"),
        (" ... ", ""),
        ("Ste\u0301nose, le\u200bft '\u0301", "sténose left ́"),
        ("e'\u0301", "é"),
        ("ＣＴ：正常。１．５ｃｍ", "ct 正常 1.5cm"),
        ("10² ½", "10² ½"),
        ("\u200b\ufeff", ""),
    ],
)
def test_known_forms(report, expected):
    assert normalize_report(report) == expected
    assert normalize_report(expected) == expected


def test_long_reports_lose_their_end():
    report = " ".join(f"w{i}," for i in range(300))
    assert normalize_report(report).split() == [f"w{i}" for i in range(200)]
    assert normalize_report(report, max_words=3) == "w0 w1 w2"
