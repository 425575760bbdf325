"""The commands of docs/reproduce.md, in order, in small: their recipes on all layouts of data and kinds of encoder."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from small_checkpoints import save_small_bert, save_small_clip, save_small_open_clip
from small_sets import (
    medicat_rows,
    path_vqa_row,
    slake_row,
    vqa_rad_row,
    write_medicat,
    write_mimic_cxr,
    write_path_vqa,
    write_roco,
    write_slake,
    write_vqa_med_2019,
    write_vqa_rad,
)
from started_scripts import run_script

from amif.training.data.readers.vqa_med_2019 import ANSWERED_TEST, TEST
from amif.training.experiments.ablation import load_setting

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "recipes" / "paper"
START = r"^(?:accelerate launch --config_file (\S+)|(?:CUDA_VISIBLE_DEVICES=0 )?python) examples/(\w+\.py) "
COMMAND = re.compile(rf"{START}((?:.*\\\n)*.*)$", re.MULTILINE)

# What makes a run small, by script; the rest is the recipe's.
SMALL = ["--use_cpu", "--num_train_epochs", "1", "--per_device_train_batch_size", "4", "--dataloader_num_workers", "0"]
SMALL += ["--disable_tqdm", "true"]
SMALL_ENCODERS = ["--image_size", "32", "--num_co_attention_layers", "1"]


def commands() -> list[tuple[str, list[str]]]:
    """Script and words of each command of the page."""
    found = COMMAND.findall((ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8"))
    assert {config for config, *_ in found} <= {"", "examples/accelerate_configs/two_gpus.yaml"}
    whole = [(script, words.replace("\\\n", " ")) for _, script, words in found if not words.endswith("...")]
    return [(script, shlex.split(words)) for script, words in whole]


def write_data(folder: Path) -> None:
    splits = dict(enumerate(8 * ["train"] + 2 * ["validate"] + 2 * ["test"], start=50_000_000))
    images = [
        (f"d{study}{view}", "10000032", str(study), split, view)
        for study, split in splits.items()
        for view in ("PA", "LATERAL")
    ]
    report = "FINDINGS: A mass of {0} mm.\n\nIMPRESSION: Mass {0}."
    write_mimic_cxr(folder / "mimic_cxr", images, {str(study): report.format(study % 100) for study in splits})
    captions = {"train": "123456", "validation": "78", "test": "9"}
    roco = {split: [(number, f"Caption {number}.") for number in numbers] for split, numbers in captions.items()}
    write_roco(folder / "roco", roco)
    write_medicat(folder / "medicat", medicat_rows(16))
    rows = [vqa_rad_row(number, f"synpic{number % 5}.jpg", question=f"Is it {number}?") for number in range(12)]
    write_vqa_rad(folder / "vqa_rad", rows, [vqa_rad_row(90, "synpic1.jpg", question="Is it?", answer="No")])
    rows = [slake_row(number, f"xmlab{number}/source.jpg", answer=("CT", "MRI")[number % 2]) for number in range(6)]
    write_slake(folder / "slake", rows)
    write_path_vqa(folder / "path_vqa", lambda split: [path_vqa_row(split, number) for number in range(4)])
    lines = [f"synpic{number}|what plane is this?|{('axial', 'sagittal')[number % 2]}" for number in range(5)]
    write_vqa_med_2019(folder / "vqa_med_2019", lines[:3], lines[3:4], ["synpic9|what plane is this?"])
    (folder / "vqa_med_2019" / TEST / ANSWERED_TEST).write_text("synpic9|plane|what plane is this?|axial\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clone's root as far as commands read it, with small weights in folders that are named as those on the Hub."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "examples").symlink_to(ROOT / "examples")
    write_data(folder / "data")
    texts = ["a mass of 123 mm", "what plane is this", "axial sagittal ct mri yes no"]
    save_small_clip(folder / "openai" / "clip-vit-base-patch16", texts)
    save_small_bert(folder / "emilyalsentzer" / "Bio_ClinicalBERT", texts)
    save_small_open_clip(folder / "microsoft" / "BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", texts)
    return folder


@pytest.fixture(scope="module")
def done(folder):
    """What each command printed, by the folder that it leaves, all as the page has them but for their sizes."""
    (folder / "small.yaml").write_text(yaml.safe_dump(small_setting()))
    (folder / "paper" / "ablation_slake").mkdir(parents=True)
    for name in ("openai", "emilyalsentzer", "microsoft"):  # where the ablation's runs start
        (folder / "paper" / "ablation_slake" / name).symlink_to(folder / name)
    printed = {}
    for script, words in commands():
        if script == "run_ablation.py":
            words += ["--setting", "small.yaml", "--table", "4"]
        else:
            words += [*SMALL, *(SMALL_ENCODERS if "--model_name_or_path" not in words else [])]
        started = run_script(script, *words, folder=folder)
        assert started.returncode == 0, f"{script} {words}\n{started.stderr}"
        printed[words[words.index("--output_dir") + 1].removeprefix("paper/")] = started
    return printed


def small_setting() -> dict[str, object]:
    """The setting of the ablations, in small."""
    setting = yaml.safe_load((ROOT / "examples" / "ablations" / "paper.yaml").read_text(encoding="utf-8"))
    setting["common"] |= {"use_cpu": True, "dataloader_num_workers": 0, "image_size": 32}
    for part in ("stage_one", "stage_two", "fine_tuning"):
        setting[part] |= {"num_train_epochs": 1, "per_device_train_batch_size": 4}
    setting["stage_one"]["num_co_attention_layers"] = setting["fine_tuning"]["num_co_attention_layers"] = 1
    return setting


OUTPUTS = ["stage_one", "stage_two", "vqa_rad", "slake", "path_vqa", "vqa_med_2019", "slake_paper_protocol"]


def test_the_commands_run_in_order_and_say_of_nothing_that_it_changes_nothing(done):
    assert list(done) == [*OUTPUTS, "ablation_slake"]
    assert not [line for one in done.values() for line in one.stderr.splitlines() if "change" in line]
    assert "Parsing model identifier" not in done["stage_one"].stderr, "open_clip tells of each of its steps"


@pytest.mark.parametrize("name", OUTPUTS[:6])
def test_a_run_follows_its_recipe(done, folder, name):
    """But for what makes it small, bfloat16 where a CPU has none, and encoders, of which the weights are noted."""
    file = RECIPES / f"{'pretraining_' if 'stage' in name else ''}{name}.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    other = {word.removeprefix("--") for word in [*SMALL, *SMALL_ENCODERS] if word.startswith("--")}
    other |= {"bf16", "vision_model", "text_model"}
    given = json.loads((folder / "paper" / name / "run_settings.json").read_text())["values"]
    kept = {key: value for key, value in recipe.items() if key not in other and f"--{key}" in given}
    assert {key: given[f"--{key}"] for key in kept} == kept
    # These say how a result is come by and looked at, and not what it is.
    looks = {"protocol", "per_device_eval_batch_size", "load_best_model_at_end", "activation_checkpointing"}
    assert recipe.keys() - kept.keys() - other <= looks


def test_pretraining_learns_from_the_three_sets_and_fine_tuning_remembers_them(done, folder):
    sets = ["mimic_cxr", "roco", "medicat"]
    for name, learned in (("stage_two", sets), ("slake", [*sets, "slake"])):
        config = json.loads((folder / "paper" / name / "config.json").read_text())
        assert sorted(config["trained_on"]) == sorted(learned)


@pytest.mark.parametrize("name", OUTPUTS[2:])
def test_each_answers_its_test_split_in_its_protocol(done, folder, name):
    metrics = json.loads((folder / "paper" / name / "metrics.json").read_text())
    protocol = "paper" if name == "slake_paper_protocol" else "clean"
    assert (metrics["protocol"], metrics["split"]) == (protocol, "test")
    assert metrics["dataset"] == name.removesuffix("_paper_protocol")


def test_every_row_of_the_table_is_measured(done, folder):
    table = json.loads((folder / "paper" / "ablation_slake" / "table4.json").read_text())
    assert {name for name, row in table["rows"].items() if row["accuracies"]} == set("123456")


def test_the_setting_of_the_ablations_is_that_of_the_recipes():
    setting = load_setting(ROOT / "examples" / "ablations" / "paper.yaml")
    # Two GPUs there, one here; the rest is what rows and the command line say.
    elsewhere = {"per_device_train_batch_size", "dataloader_num_workers", "teacher", "protocol", "intra"}
    elsewhere |= {"local_weight", "hard_negative_weight"}
    files = {"stage_one": "pretraining_stage_one", "stage_two": "pretraining_stage_two", "fine_tuning": "slake"}
    for part, file in files.items():
        recipe = yaml.safe_load((RECIPES / f"{file}.yaml").read_text(encoding="utf-8"))
        ours = setting.common | getattr(setting, part)
        assert {name: ours.get(name) for name in recipe.keys() - elsewhere} == {
            name: recipe[name] for name in recipe.keys() - elsewhere
        }
        assert ours["per_device_train_batch_size"] == 2 * recipe["per_device_train_batch_size"]
    assert setting.teacher == yaml.safe_load((RECIPES / "pretraining_stage_one.yaml").read_text())["teacher"]
