"""Programs as a user starts them, their libraries loaded already: a new Python reads torch for seconds.

A server process loads them once and is forked for every run. Nothing has computed in it, so that forks are safe.
"""

import gc
import json
import multiprocessing
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

EXAMPLES = Path(__file__).parents[1] / "examples"
LIBRARIES = """
import transformers.models.auto.modeling_auto
import transformers.models.bert.modeling_bert
import transformers.models.vit.image_processing_vit
import transformers.models.vit.modeling_vit
import transformers.pipelines
"""
OURS = """
import amif
import amif.training.data
import amif.training.fine_tuning.evaluation
import amif.training.fine_tuning.trainer
import amif.training.pretraining.objectives
import amif.training.pretraining.trial
import amif.training.recipes
import scipy.stats
import transformers.models.bert.modeling_bert
import transformers.models.vit.modeling_vit
"""


class StartedProgram:
    """A program that runs, or has run; its methods are those of `subprocess.Popen`."""

    returncode: int | None = None

    def __init__(self, words: list[str], status: IO[bytes], streams: tuple[IO[bytes], IO[bytes]]) -> None:
        self.words, self.status, self._streams = words, status, streams
        self.pid = self._told()

    def _told(self) -> int:
        told = self.status.read(4)
        assert len(told) == 4, "the Python that was to start it has ended"
        return int.from_bytes(told, signed=True)

    def poll(self) -> int | None:
        """The exit status, or None where the program still runs."""
        if self.returncode is None and select.select([self.status], [], [], 0)[0]:
            self.returncode = self._told()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self) -> tuple[str, str]:
        """Wait for the end; what was printed, and what was said on standard error."""
        if self.returncode is None:
            select.select([self.status], [], [])
            self.poll()
        for stream in self._streams:
            stream.seek(0)
        out, error = (stream.read().decode() for stream in self._streams)
        return out, error


class LoadedPython:
    """A Python that has run `code`, which imports libraries, and is forked for every program."""

    def __init__(self, code: str, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno()), code]
        self._server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=dict(environment)
        )
        theirs.close()

    def start(
        self, *command: object, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> StartedProgram:
        """Start a program, given as after `python`: its file or `-c` and its code, and its arguments."""
        words = [str(word) for word in command]
        out, error = (tempfile.TemporaryFile("a+b") for _ in range(2))  # noqa: SIM115
        read, write = os.pipe()
        with tempfile.TemporaryFile("w+") as job:
            json.dump([words, str(folder or Path.cwd()), dict(environment or self._environment)], job)
            job.flush()
            socket.send_fds(self._channel, [b"."], [job.fileno(), out.fileno(), error.fileno(), write])
            os.close(write)
        return StartedProgram(words, open(read, "rb", buffering=0), (out, error))

    def run(
        self, *command: object, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Start a program, and wait for its end."""
        return ended(self.start(*command, folder=folder, environment=environment))


def ended(program: StartedProgram) -> subprocess.CompletedProcess[str]:
    out, error = program.communicate()
    return subprocess.CompletedProcess(program.words, program.returncode or 0, out, error)


@cache
def python_with_amif(**variables: str) -> LoadedPython:
    """With everything that the scripts import; our modules are found as in this process."""
    return LoadedPython(OURS, os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables)


def start_script(
    name: str, *arguments: object, folder: Path, environment: Mapping[str, str] = os.environ
) -> StartedProgram:
    """Start a script of examples/ in `folder`."""
    return python_with_amif().start(EXAMPLES / name, *arguments, folder=folder, environment=environment)


def run_script(
    name: str, *arguments: object, folder: Path, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run a script of examples/ in `folder`, as `subprocess.run` would."""
    return ended(start_script(name, *arguments, folder=folder, environment=environment))


def run_two(*command: object) -> None:
    """Run a program in two processes that compute together, as torchrun does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [{"RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"} for rank in "01"]
    two = [python_with_amif().start(*command, environment=os.environ | address | rank) for rank in ranks]
    running = list(two)
    while running:
        select.select([program.status for program in running], [], [])
        for program in two:
            if program in running and program.poll() is not None:
                running.remove(program)
                if program.returncode:  # the other one would wait for it
                    for other in running:
                        other.send_signal(signal.SIGKILL)
    assert [program.returncode for program in two] == [0, 0], [program.communicate()[1] for program in two]


def serve(channel: socket.socket) -> NoReturn:
    """Fork for every program that is asked for, until nobody is there to ask."""
    gc.freeze()  # a collection in a fork would copy all that is loaded
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        message, descriptors, *_ = socket.recv_fds(channel, 1, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            channel.close()
            watch(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def watch(job: int, out: int, error: int, status: int) -> NoReturn:
    """Tell of a program its number and, when it has ended, how."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = multiprocessing.get_context("fork").Process(target=be_program, args=(job, out, error, status))
    program.start()
    os.write(status, program.pid.to_bytes(4, signed=True))
    program.join()
    os.write(status, program.exitcode.to_bytes(4, signed=True))
    os._exit(0)


def be_program(job: int, out: int, error: int, status: int) -> None:
    os.close(status)
    os.dup2(out, 1)
    os.dup2(error, 2)
    with open(job) as file:
        file.seek(0)
        (first, *words), folder, environment = json.load(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if first == "-c":
        sys.argv, sys.path[0] = ["-c", *words[1:]], ""
        exec(compile(words[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = [first, *words], str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    exec(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])))
