"""Scripts as a user starts them, their libraries loaded already: a new Python reads torch and transformers for seconds.

A server process loads them once and is forked for every run. Nothing has computed in it, so that forks are safe.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
LOADED = [
    "amif",
    "amif.training.fine_tuning.trainer",
    "amif.training.fine_tuning.evaluation",
    "amif.training.pretraining.objectives",
    "amif.training.pretraining.trial",
    "amif.training.data",
    "amif.training.recipes",
    "transformers.models.vit.modeling_vit",
    "transformers.models.bert.modeling_bert",
    "scipy.stats",
]

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(LOADED)


def _be_script(script: str, arguments: list[str], folder: str, environment: dict[str, str], streams: list[str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate(streams, start=1):
        os.dup2(os.open(name, os.O_WRONLY), number)
    sys.argv, sys.path[0] = [script, *arguments], str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


def run_script(
    name: str, *arguments: object, folder: Path, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run a script of examples/ in `folder`, as `subprocess.run` would."""
    script, words = str(EXAMPLES / name), list(map(str, arguments))
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as error:
        process = _PROCESSES.Process(
            target=_be_script, args=(script, words, str(folder), dict(environment), [out.name, error.name])
        )
        process.start()
        process.join()
        code = process.exitcode
        printed = [file.read().decode() for file in (out, error)]
    return subprocess.CompletedProcess([script, *words], -1 if code is None else code, *printed)
