import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_equations_names_what_there_is():
    table = (ROOT / "docs" / "model.md").read_text(encoding="utf-8").split("\n## ")[0]
    rows = re.findall(r"^\| .*`.*$", table, flags=re.MULTILINE)
    assert len(rows) == 17
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for row in rows:
        *_, where, proofs = row.strip("| ").split(" | ")
        files = "".join((ROOT / path).read_text(encoding="utf-8") for path in re.findall(r"`(\S+\.py)`", where))
        for symbol in re.findall(r"`([\w.]+)(?<!\.py)`", where):
            for name in symbol.split("."):
                assert re.search(rf"(def|class) {name}\b|self\.{name} =", files), f"{symbol} in {where}"
        assert re.findall(r"`(\w+)`", proofs)
        for name in re.findall(r"`(\w+)`", proofs):
            assert f"def {name}(" in tests, name
