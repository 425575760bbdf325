import pytest

from amif.training.data.sources import Source, read_mixing, sources_of

FOLDERS = ("mimic_cxr", "roco", "medicat")


def test_sets_and_their_folders_are_named_in_either_way():
    both = [Source("roco", "A"), Source("medicat", "B")]
    assert sources_of(["roco", "medicat"], ["A", "B"], FOLDERS) == both
    assert sources_of(["roco=A", "medicat=B"], None, FOLDERS) == both
    mixed = [Source("phantom"), both[0], Source("own/pairs.csv"), both[1]]
    assert sources_of(["phantom", "roco", "own/pairs.csv", "medicat=B"], ["A"], FOLDERS) == mixed
    assert sources_of("roco", "A", FOLDERS) == sources_of(["roco=A"], None, FOLDERS) == both[:1]
    assert sources_of("owner/name", None, FOLDERS) == [Source("owner/name")]
    assert mixed[2].name == "pairs.csv"


def test_a_path_may_hold_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.csv").touch()
    assert sources_of(["a=b.csv", "roco"], ["A"], FOLDERS) == [Source("a=b.csv"), Source("roco", "A")]


@pytest.mark.parametrize(
    ("dataset", "data_dir", "said"),
    [
        (["mimic_cxr", "roco", "medicat"], ["A", "B"], r"A B, .* 3 need a folder .*\(mimic_cxr, roco, medicat\)"),
        (["mimic_cxr", "phantom"], ["A", "B"], r"1 need a folder .*\(mimic_cxr\)"),
        (["mimic_cxr", "roco"], None, "not given, .* 2 need a folder"),
        (["roco=A", "medicat=B"], "C", r"0 need a folder from there \(none\)"),
        (["roco=A", "roco=B"], None, "names roco twice"),
        (["one/pairs.csv", "two/pairs.csv"], None, r"names pairs\.csv twice"),
        (["rocco=A"], None, "name=folder is for mimic_cxr, roco, medicat"),
        (["phantom=A", "roco=B"], None, "phantom=A: name=folder is for"),
        (["roco="], None, "roco=: name=folder"),
    ],
)
def test_folders_that_do_not_fit_are_refused(dataset, data_dir, said):
    with pytest.raises(ValueError, match=said):
        sources_of(dataset, data_dir, FOLDERS)


def test_wrong_mixings_are_refused():
    assert read_mixing(["equal"], 2) == "equal"
    assert read_mixing("proportional", 1) == "proportional"
    for mixing, number, said in (
        ("equal", 1, "there is one set"),
        (["0.5"], 1, "there is one set"),
        (["1", "2"], 3, "give 3 weights above 0"),
        (["1", "0"], 2, "give 2 weights above 0"),
        (["1", "nan"], 2, "give 2 weights above 0"),
        (["1", "much"], 2, "proportional, equal, or one weight"),
    ):
        with pytest.raises(ValueError, match=said):
            read_mixing(mixing, number)
