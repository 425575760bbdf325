"""Starting a script as a process of its own, and stopping it with this one."""

import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from ..distributed import die_with

# Runs one script; called with its path, its arguments, the working folder and the file for its output.
Launch = Callable[[Path, list[str], Path, Path], None]

_LOG_LINES_SHOWN = 15


def can_fork() -> bool:
    """Whether a script may run in a copy of this process."""
    # A forked process cannot use an accelerator that its parent has seen; and beside its runs, a start is short.
    return "fork" in multiprocessing.get_all_start_methods() and not torch.accelerator.is_available()


def fork_script(script: Path, arguments: list[str], folder: Path, log: Path) -> None:
    """Run a script in a copy of this process, which has imported what the script imports.

    Args:
        script: The script's absolute path.
        arguments: Its command line.
        folder: The folder to start it in.
        log: The file that its output is appended to.

    Raises:
        RuntimeError: If the script fails; with the end of its output.
    """
    words = (os.getpid(), script, arguments, folder, log)
    process = multiprocessing.get_context("fork").Process(target=_run_forked, args=words)
    # Python swallows what a signal's handler raises in the hooks around a fork.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    process.start()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        process.join()
    finally:
        if process.is_alive():
            process.terminate()  # SIGTERM, upon which training saves a checkpoint
            process.join()
    _check_exit(process.exitcode, script, log)


def _run_forked(parent: int, script: Path, arguments: list[str], folder: Path, log: Path) -> None:
    die_with(parent)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # Open until this process ends; what is written below Python goes there too.
    sys.stdout = sys.stderr = open(log, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    os.chdir(folder)
    for handler in list(logging.root.handlers):  # the script sets up its own
        logging.root.removeHandler(handler)
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


def start_script(script: Path, arguments: list[str], folder: Path, log: Path) -> None:
    """Run a script in a new interpreter; arguments and errors are those of `fork_script`."""
    with open(log, "a", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(die_with, os.getpid()) if os.name == "posix" else None,
        )
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    _check_exit(process.returncode, script, log)


def _check_exit(code: int | None, script: Path, log: Path) -> None:
    if code:
        end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
        raise RuntimeError(f"{script.name} ended with code {code}; the end of {log}:\n{end}")


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end this process as an exception does, so that the run that is under way is told."""

    def stop(*_: object) -> None:
        """Exit with the status that a shell gives to what a signal ended, 143."""
        raise SystemExit(128 + signal.SIGTERM)

    earlier = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
