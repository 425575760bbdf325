"""Where arguments come from: a recipe, the command line, the defaults."""

from dataclasses import dataclass, field

import pytest

from amif.training.recipes import absolute_paths, choice_ahead, given, parse_with_recipe


@dataclass
class Arguments:
    dataset: str = field(default="phantom", metadata={"help": "Which."})
    rate: float = field(default=0.5, metadata={"help": "How fast."})
    stage: str = field(default="global", metadata={"help": "Which part."})


@pytest.fixture
def recipes(tmp_path):
    (tmp_path / "own.yaml").write_text("rate: 0.1\nstage: local\n")
    (tmp_path / "default.json").write_text('{"rate": 0.2}')
    return tmp_path


def parse(recipes, *arguments):
    (parsed,) = parse_with_recipe([Arguments], arguments, recipes / "default.json", stage="both")
    return parsed


def test_the_command_line_overrides_a_recipe_and_a_data_set_the_default_recipe(recipes):
    own = str(recipes / "own.yaml")
    assert parse(recipes).rate == 0.2
    assert (parse(recipes, own).rate, parse(recipes, own).stage) == (0.1, "local")
    assert parse(recipes).stage == "both"
    assert parse(recipes, own, "--rate", "0.3").rate == 0.3
    assert parse(recipes, "--dataset", "slake").rate == 0.5
    assert parse(recipes, "--dataset=slake").rate == 0.5


def test_help_tells_the_defaults_without_a_recipe(recipes, capsys):
    with pytest.raises(SystemExit):
        parse(recipes, "--help")
    assert "How fast. (default: 0.5)" in capsys.readouterr().out


def test_a_choice_is_known_before_the_other_arguments(recipes):
    choices = ["global", "local"]
    own = str(recipes / "own.yaml")
    assert choice_ahead(["--rate", "1"], "stage", choices) == "global"
    assert choice_ahead([own, "--rate", "1"], "stage", choices) == "local"
    assert choice_ahead([own, "--stage", "global"], "stage", choices) == "global"
    (recipes / "wrong.yaml").write_text("stage: none")
    for wrong in (["--stage", "none"], [str(recipes / "wrong.yaml")]):
        with pytest.raises(SystemExit):
            choice_ahead(wrong, "stage", choices)
    (recipes / "empty.yaml").write_text("")
    with pytest.raises(ValueError, match=r"empty\.yaml holds no arguments"):
        parse(recipes, str(recipes / "empty.yaml"))


def test_words_without_an_equals_sign_are_refused():
    with pytest.raises(ValueError, match="'epochs' is not of the form"):
        given(["a=1=2", "epochs"])
    with pytest.raises(ValueError, match="a is given twice: write several values as a list into the recipe"):
        given(["a=1", "b=1", "a=2"])
    assert given(["a=1=2"]) == {"a": "1=2"}


def test_relative_paths_hold_in_the_folder_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slake").mkdir()
    (tmp_path / "own.csv").write_text("")
    words = ["data_dir=slake", "dataset=slake", "text_model=user/model", "vision_model=slake", "teacher=amif:slake"]
    assert given([*words, "add_vqa_pairs=slake=slake"]) == {
        "data_dir": str(tmp_path / "slake"),
        "dataset": "slake",
        "text_model": "user/model",
        "vision_model": str(tmp_path / "slake"),
        "teacher": f"amif:{tmp_path / 'slake'}",
        "add_vqa_pairs": f"slake={tmp_path / 'slake'}",
    }
    (tmp_path / "rocov2").mkdir()
    assert given(["dataset=rocov2"]) == {"dataset": "rocov2"}
    (tmp_path / "questions").mkdir()
    assert given(["dataset=questions"]) == {"dataset": str(tmp_path / "questions")}
    sets = {"also_train_on": ["slake=slake", "vqa_rad=elsewhere"], "num_train_epochs": 2}
    assert absolute_paths(sets) == sets | {"also_train_on": [f"slake={tmp_path / 'slake'}", "vqa_rad=elsewhere"]}
    assert given(["dataset=own.csv", "teacher=none"]) == {"dataset": str(tmp_path / "own.csv"), "teacher": "none"}
