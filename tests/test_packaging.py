import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ["amif", "modeling_amif", "processing_amif", "training"]


def test_wheel_holds_the_package_under_one_name_and_nothing_else(tmp_path):
    """Built from a copy whose folder has another name, as a clone may."""
    copy = tmp_path / "some-clone"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "*.egg-info", "build", "__pycache__", "amif-vqa"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {"amif/model_cards/template.md"}
    for folder in FOLDERS:
        for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.json")]:
            expected.add("/".join((["amif"] if folder != "amif" else []) + list(path.relative_to(ROOT).parts)))
    assert names == expected
