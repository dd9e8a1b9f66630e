"""A net under the readers: a file that makes one of them take too much memory is refused."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apps.patients.importing.source import FileRefusedError

MAX_EXTRA_BYTES = 400_000_000  # of addresses, of which a process uses about half
_USED = Path("/proc/self/statm")


@contextmanager
def bounded(extra_bytes: int = MAX_EXTRA_BYTES) -> Iterator[None]:
    """Let this process grow by so much at most; for a worker, which does one thing at a time.

    Where the kernel does not say how much a process uses (macOS), there is no such net.

    Raises:
        FileRefusedError: more was needed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if not _USED.exists():
        yield
        return
    limit = int(_USED.read_text().split()[0]) * resource.getpagesize() + extra_bytes
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    except MemoryError as error:
        raise FileRefusedError(
            "too_much_memory",
            "Reading this file takes more memory than a file of patients should. Export it again, "
            "or save it as CSV.",
        ) from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
