"""Log lines without patient data."""

import logging
import traceback
from types import TracebackType

from apps.errors import MirageError

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Formatter(logging.Formatter):
    """Time, level, logger, message; of an exception its kind and place, not its text.

    The text of a foreign exception may quote a value (float("Jane Doe"), a database's "failing row
    contains ..."), so only our own errors, which promise to hold no patient data, are quoted.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - the name is logging's
        kind, error, trace = ei
        if kind is None or error is None:
            return ""
        text = str(error) if isinstance(error, MirageError) else "(text withheld)"
        return "".join([*traceback.format_tb(trace), f"{kind.__module__}.{kind.__name__}: {text}"])
