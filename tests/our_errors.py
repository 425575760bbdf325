"""What tests of random input accept: a result, or an error of the package's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1].resolve()
PLAIN_TYPES = (ValueError, TypeError, FileNotFoundError)


def result_or_our_error(call: Callable[[], Any]) -> Any:
    """What `call` returns, or None where it raises an error of ours: of a plain type, raised by a line of the package.

    A foreign library's error, or one of Python's own kinds such as UnicodeDecodeError or KeyError, passes through.
    """
    try:
        return call()
    except PLAIN_TYPES as error:
        if not _is_ours(error):
            raise
        return None


def _is_ours(error: Exception) -> bool:
    frame = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    raised_in = Path(frame.tb_frame.f_code.co_filename).resolve()
    in_package = raised_in.is_relative_to(ROOT) and raised_in.relative_to(ROOT).parts[0] != "tests"
    return type(error) in PLAIN_TYPES and in_package and bool(str(error))
