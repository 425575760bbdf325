import os
from pathlib import Path

# Set before anything imports huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

# A core for each process of pytest-xdist, before torch counts them: threads that share a core block each other.
worker = os.environ.get("PYTEST_XDIST_WORKER")
if worker and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

import pytest  # noqa: E402

SHARED = Path(__file__).parents[1] / ".." / "shared"


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    """What a test draws depends on no test before it."""
    import torch  # not above: the process that hands tests out to others would load it for seconds

    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a long run on random input has tried."""
    if "AMIF_EXAMPLES" in os.environ:
        from our_errors import OUTCOMES

        terminalreporter.write_line(f"Random input: {dict(OUTCOMES)}")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core; none beside this one for slow tests and a GPU's, whose timings others would disturb."""
    if config.option.markexpr == "not slow and not gpu":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    config.option.dist = "no"
    return 0


def _folder_or_skip(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set {variable} to the folder")
    return folder


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Folder of the real pretrained encoders."""
    return _folder_or_skip("AMIF_MODELS", SHARED / "models")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets."""
    return _folder_or_skip("AMIF_DATA", SHARED / "data")
