"""What tests of random input try, and what they accept: a result, or an error of the package's own."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

# Results and errors of ours so far, which the summary of a run with AMIF_EXAMPLES tells.
OUTCOMES: Counter[str] = Counter()

ROOT = Path(__file__).parents[1].resolve()
PLAIN_TYPES = (ValueError, TypeError, FileNotFoundError)


def examples(number: int) -> settings:
    """Settings of a test of random input: `number` examples, the same in every run.

    With the environment variable AMIF_EXAMPLES as many as it says, and others in each run.
    """
    asked = os.environ.get("AMIF_EXAMPLES")
    return settings(
        max_examples=int(asked or number),
        derandomize=asked is None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def result_or_our_error(call: Callable[[], Any]) -> Any:
    """What `call` returns, or None where it raises an error of ours: of a plain type, raised by a line of the package.

    A foreign library's error, or one of Python's own kinds such as UnicodeDecodeError or KeyError, passes through.
    """
    try:
        result = call()
    except PLAIN_TYPES as error:
        if not is_ours(error):
            raise
        OUTCOMES["clear errors"] += 1
        return None
    OUTCOMES["results"] += 1
    return result


def is_ours(error: BaseException, types: tuple[type[Exception], ...] = PLAIN_TYPES) -> bool:
    """Whether an error is of one of these types itself, not of a kind of them, and was raised by the package."""
    frame = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    raised_in = Path(frame.tb_frame.f_code.co_filename).resolve()
    in_package = raised_in.is_relative_to(ROOT) and raised_in.relative_to(ROOT).parts[0] != "tests"
    return type(error) in types and in_package and bool(str(error))
