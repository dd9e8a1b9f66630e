"""What the end of a zip claims, read before anybody lists its entries. Standard library alone."""

import struct
from typing import Protocol, runtime_checkable

_LONGEST = 65_557  # bytes of the end record with its longest comment
_SIGNATURE = b"PK\x05\x06"
_LEAST = 22  # bytes of the end record without a comment


@runtime_checkable
class Seekable(Protocol):
    """An open file, or an upload that reads like one."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def read(self) -> bytes: ...


def claimed_entries(file: Seekable) -> int:
    """How many entries the end record of a zip names; 0 if there is no such record.

    The file is left at its beginning.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _LONGEST))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(_SIGNATURE)
    if not 0 <= at <= len(tail) - _LEAST:
        return 0
    count: int = struct.unpack_from("<H", tail, at + 10)[0]
    return count
