"""Where arguments come from: a recipe, the command line, the defaults."""

import json
import re
from dataclasses import dataclass, field, fields

import pytest
import yaml
from hypothesis import given as any_of
from hypothesis import strategies as st
from our_errors import examples, result_or_our_error

from amif import AmifVqaArguments
from amif.training import recipes as module
from amif.training.fine_tuning.arguments import UNUSED as UNUSED_IN_FINE_TUNING
from amif.training.fine_tuning.arguments import FineTuningDataArguments, VqaModelArguments
from amif.training.pretraining.arguments import UNUSED as UNUSED_IN_PRETRAINING
from amif.training.pretraining.arguments import PretrainingDataArguments
from amif.training.pretraining.objectives import OBJECTIVES
from amif.training.recipes import (
    absolute_paths,
    arguments_of,
    choice_ahead,
    given,
    parse_with_recipe,
    read_recipe,
    warn_of_unused,
)


@dataclass
class Arguments:
    dataset: str = field(default="phantom", metadata={"help": "Which."})
    rate: float = field(default=0.5, metadata={"help": "How fast."})
    stage: str = field(default="global", metadata={"help": "Which part."})
    limit: int | None = field(default=3, metadata={"help": "How many."})
    sets: list[str] = field(default_factory=list, metadata={"help": "Which further ones."})

    def __post_init__(self):
        if self.stage == "none":
            raise ValueError("there is no stage none")


@pytest.fixture
def recipes(tmp_path):
    (tmp_path / "own.yaml").write_text("rate: 0.1\nstage: local\n")
    (tmp_path / "default.json").write_text('{"rate": 0.2}')
    return tmp_path


def parse(folder, *arguments):
    (parsed,) = parse_with_recipe([Arguments], arguments, folder / "default.json", stage="both")
    return parsed


def test_the_command_line_overrides_a_recipe_and_a_data_set_the_default_recipe(recipes):
    own = str(recipes / "own.yaml")
    assert parse(recipes).rate == 0.2
    assert (parse(recipes, own).rate, parse(recipes, own).stage) == (0.1, "local")
    assert parse(recipes).stage == "both"
    assert parse(recipes, own, "--rate", "0.3").rate == 0.3
    assert parse(recipes, "--dataset", "slake").rate == 0.5
    assert parse(recipes, "--dataset=slake").rate == 0.5


def test_a_recipe_overrides_those_before_it(recipes):
    (recipes / "overlay.yaml").write_text("stage: other\nlimit: null\n")
    both = [str(recipes / "own.yaml"), str(recipes / "overlay.yaml")]
    found = parse(recipes, *both)
    assert (found.rate, found.stage, found.limit) == (0.1, "other", None)
    assert parse(recipes, *reversed(both)).stage == "local"
    assert parse(recipes, *both, "--stage", "last").stage == "last"
    choices = ["global", "local", "other"]
    assert choice_ahead(both, "stage", choices) == "other"
    assert choice_ahead(both[::-1], "stage", choices) == "local"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"rate: 1\nstage: local\nrate: 2\n", "line 1: rate is given twice"),
        (b'{"rate": 1, "rate": 2}', "line 1: rate is given twice"),
        (b"rate: !!bool maybe", "KeyError"),
        (b"rate: 2026-99-99", "ValueError"),
        (b"[" * 5000, "RecursionError"),
    ],
)
def test_a_recipe_that_repeats_a_name_or_cannot_be_read_is_named(recipes, content, said):
    """Of two values the last won without a word; the others ended in errors of YAML's without the file's name."""
    (recipes / "own.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"own\.yaml .*{said}"):
        read_recipe(recipes / "own.yaml")


SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)),
    st.sampled_from(["1e-4", "-1", "-x", "no"]),
)
NAMES = st.sampled_from(["rate", "stage", "limit", "sets", "dataset", "other"])


@examples(100)
@any_of(st.dictionaries(NAMES, st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=3), st.booleans())
def test_any_values_of_a_recipe_arrive_as_they_are_or_are_refused(tmp_path_factory, values, as_yaml):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(values) if as_yaml else json.dumps(values, ensure_ascii=False), encoding="utf-8")
    parsed = result_or_our_error(lambda: arguments_of([Arguments], read_recipe(path), "any.yaml"))
    kinds = {"rate": float, "stage": str, "limit": int, "dataset": str}
    for name, value in values.items() if parsed else ():
        found = getattr(parsed[0], name)
        if value is None:
            assert (name, found) == ("limit", None)
        elif name == "sets":
            one_by_one = value if isinstance(value, list) else [value]
            assert found == [json.dumps(one) if isinstance(one, bool) else str(one) for one in one_by_one]
        else:  # a list of one is one value, as on a command line
            one = value[0] if isinstance(value, list) else value
            assert found == kinds[name](json.dumps(one) if isinstance(one, bool) else str(one))


@examples(100)
@any_of(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_recipes_of_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    values = result_or_our_error(lambda: read_recipe(path))
    assert values is None or all(isinstance(name, str) for name in values)


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


def test_values_of_a_recipe_are_read_as_words_of_a_command_line_are(recipes):
    (recipes / "own.yaml").write_text("rate: 1e-3\nlimit: null\nsets: [a, b]\nstage: 5\n")
    assert vars(parse(recipes, str(recipes / "own.yaml"))) == {
        **{"dataset": "phantom", "rate": 0.001, "stage": "5", "limit": None, "sets": ["a", "b"]}
    }
    (recipes / "own.yaml").write_text("sets: a\n")
    assert parse(recipes, str(recipes / "own.yaml")).sets == ["a"]
    assert parse(recipes, str(recipes / "own.yaml"), "--sets", "c", "d").sets == ["c", "d"]
    assert arguments_of([Arguments], {"rate": "2", "sets": ["a"]}, "a run")[0].rate == 2


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ("", [], r"own\.yaml holds no arguments"),
        ("- 1", [], r"own\.yaml holds no arguments"),
        ("1: 2", [], r"own\.yaml holds no arguments"),
        ("rate: [1", [], r"own\.yaml is neither JSON nor YAML in UTF-8, line 1: "),
        ("\xff", [], r"own\.yaml is neither JSON nor YAML in UTF-8\."),
        ("rate: fast", [], r"own\.yaml: argument --rate: invalid float value: 'fast'"),
        ("rate: null", [], r"own\.yaml: rate is null: give a value, or leave it out\."),
        ("rate: [1, 2]", [], r"own\.yaml: unrecognized arguments: 2"),
        ("limit: 1.5", [], r"own\.yaml: argument --limit: invalid int value: '1.5'"),
        ("stag: local", [], r"own\.yaml has unknown arguments: stag\. Did you mean stage\?"),
        ("rate: 1", ["--rat_e", "2"], r"unknown arguments: --rat_e 2\. Did you mean rate\?"),
        ("rate: 1", ["folder"], r"unknown arguments: folder\. --help"),
        ("rate: 1", ["--stage", "none"], r"there is no stage none"),
        (None, [], r"the recipe .*own\.yaml cannot be read: No such file"),
    ],
)
def test_what_is_wrong_ends_the_script_with_one_line(recipes, capsys, content, words, said):
    (recipes / "own.yaml").unlink()
    if content is not None:
        (recipes / "own.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(SystemExit) as ended:
        parse(recipes, str(recipes / "own.yaml"), *words)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(f": error: .*{said}", line)


def test_arguments_that_are_no_command_line_raise():
    for values, said in [({"rat": 1}, "a run has unknown arguments: rat"), ({"stage": "none"}, "a run: there is no")]:
        with pytest.raises(ValueError, match=said):
            arguments_of([Arguments], values, "a run")


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
    assert given(["vision_model=open_clip:slake"]) == {"vision_model": f"open_clip:{tmp_path / 'slake'}"}
    (tmp_path / "rocov2").mkdir()
    assert given(["dataset=rocov2"]) == {"dataset": "rocov2"}
    (tmp_path / "questions").mkdir()
    assert given(["dataset=questions"]) == {"dataset": str(tmp_path / "questions")}
    sets = {"also_train_on": ["slake=slake", "vqa_rad=elsewhere"], "num_train_epochs": 2}
    assert absolute_paths(sets) == sets | {"also_train_on": [f"slake={tmp_path / 'slake'}", "vqa_rad=elsewhere"]}
    assert given(["dataset=own.csv", "teacher=none"]) == {"dataset": str(tmp_path / "own.csv"), "teacher": "none"}


VQA = (VqaModelArguments, FineTuningDataArguments, AmifVqaArguments)


def types_and_rules(objective):
    if objective == "vqa":
        return VQA, UNUSED_IN_FINE_TUNING
    chosen = OBJECTIVES[objective]
    return (
        (chosen.model_arguments, PretrainingDataArguments, chosen.arguments),
        (*UNUSED_IN_PRETRAINING["all"], *UNUSED_IN_PRETRAINING[objective]),
    )


@pytest.mark.parametrize(
    ("objective", "words", "said"),
    [
        ("vqa", "", []),
        ("vqa", "--model_name_or_path a --use_lora --lora_rank 4 --image_size 48", []),
        ("vqa", "--lora_rank 4", ["--lora_rank 4 changes nothing without --use_lora."]),
        (
            "vqa",
            "--decoder_model d --save_steps 9",
            ["--save_steps 9.0 changes", "--decoder_model d changes"],
        ),
        ("vqa", "--eval_steps 9", ["--eval_steps 9.0 changes nothing without --eval_strategy steps."]),
        (
            *("vqa", "--model_name_or_path a --vision_model v --text_model t --text_layers 2"),
            ["--vision_model v, --text_model t, --text_layers 2 change nothing beside --model_name_or_path."],
        ),
        (
            "vqa",
            "--model_name_or_path m --initializer_range 0.15",
            ["--initializer_range 0.15 changes nothing beside --model_name_or_path."],
        ),
        (
            "vqa",
            "--freeze_vision_encoder --vision_learning_rate 1",
            ["--vision_learning_rate 1.0 changes"],
        ),
        (
            *("vqa", "--knowledge none --knowledge_fusion add --knowledge_zero_init"),
            ["--knowledge_fusion add, --knowledge_zero_init True change nothing with --knowledge none."],
        ),
        ("vqa", "--predict_file q.csv --eval_split test", ["--eval_split test changes nothing with --predict_file."]),
        (
            "vqa",
            "--dataset own.csv --data_dir d",
            ["--data_dir d changes nothing where --dataset is generated"],
        ),
        ("vqa", "--dataset slake --data_dir d", []),
        ("vqa", "--do_train false --also_train_on a=b --use_lora", ["--use_lora True, --also_train_on ['a=b'] "]),
        ("amif", "", []),
        ("amif", "--stage local --local_weight 2 --teacher amif:x --flexibility_weight 1", []),
        (
            *("amif", "--local_weight 2 --matching_kinds image_text"),
            ["--local_weight 2.0, --matching_kinds image_text change nothing in --stage global."],
        ),
        (
            "amif",
            "--stage local --intra text",
            ["--intra text changes nothing in --stage local without"],
        ),
        ("amif", "--stage local --global_weight 1 --intra text", []),
        ("amif", "--soft_label_temperature 1", ["--soft_label_temperature 1.0 changes nothing without --teacher."]),
        (
            "amif",
            "--teacher amif:x --soft_labels false",
            ["--teacher amif:x changes nothing with --soft_labels"],
        ),
        ("amif", "--validation_by wording", ["--validation_by wording changes nothing without --vqa_dataset"]),
        ("amif", "--dataset rocov2 --data_dir d", []),
        ("aga", "--grouping softmax --gate fixed", ["--gate fixed changes nothing with --grouping softmax."]),
        ("mpma", "--memory_size 0 --memory_top_k 4", ["--memory_top_k 4 changes nothing with --memory_size 0."]),
    ],
)
def test_arguments_that_change_nothing_are_named(monkeypatch, objective, words, said):
    types, rules = types_and_rules(objective)
    heard = []
    monkeypatch.setattr(module.logger, "warning", heard.append)
    fixed = [] if "--dataset" in words else ["--dataset", "phantom"]
    fixed += [] if objective == "vqa" else ["--objective", objective]
    arguments = parse_with_recipe(types, [*fixed, "--use_cpu", *words.split()], "none", do_train=True)
    warn_of_unused(rules, arguments)
    assert len(heard) == len(said), heard
    assert all(text.startswith(start) for text, start in zip(heard, said, strict=True)), heard


@pytest.mark.parametrize("objective", ["vqa", *OBJECTIVES])
def test_what_changes_nothing_are_arguments_that_there_are(objective):
    types, rules = types_and_rules(objective)
    known = {field.name for one in types for field in fields(one)}
    assert {name for rule in rules for name in rule.names} <= known
