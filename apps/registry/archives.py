"""A bundle as one file: a zip of exactly card.json and the safetensors files that the card names.

Nothing of it is believed before it is checked: the directory of the zip first, then the card, then
the head of each weight file (a pickle that is called .safetensors goes no further), then the
hashes. Standard library only: no weight is ever loaded here.
"""

import json
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from apps.errors import MirageError
from apps.registry.models import Bundle
from apps.registry.selectors import folder_of, problem_of
from apps.registry.services import UnfitBundleError, register_bundle
from ml.card import CARD_FILE, FORMAT, BundleError, gate_words, read_card
from ml.concepts import dictionary
from ml.data.zip_end import claimed_entries

WEIGHTS = ".safetensors"
MOST_FILES = 8
MOST_CARD_BYTES = 2 * 2**20
MOST_BYTES = 128 * 2**20
MOST_RATIO = 50
MOST_NAME, MOST_VERSION = 100, 50  # characters, as the table keeps them
MOST_SPACING_MM = 20
HEADER_BYTES = 2 * 2**20
CHUNK_BYTES = 2**20
STAMP = (1980, 1, 1, 0, 0, 0)
"""The first date of the format: an export has the bytes of what is in it and of nothing else."""
DTYPES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
AGAIN = "Export the bundle again where it was made (Models, the version, Download)."


class ArchiveError(MirageError):
    """A file is no bundle that may be taken in; the text says why."""


def file_name(bundle: Bundle) -> str:
    """What the export of a bundle is called."""
    word = "".join(c if c.isalnum() or c in "-._" else "-" for c in f"{bundle}".replace(" ", "-"))
    return f"{word}.zip"


def export(bundle: Bundle, out: IO[bytes]) -> None:
    """Write a bundle as a zip: the same bundle gives the same bytes, anywhere and always.

    Raises:
        ArchiveError: its files are missing or changed.
    """
    if problem := problem_of(bundle):
        raise ArchiveError(problem)
    folder = folder_of(bundle)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in (CARD_FILE, *sorted(bundle.card["files"])):
            entry = zipfile.ZipInfo(name, STAMP)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            with (folder / name).open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)


def take_in(file: IO[bytes], *, now: datetime) -> tuple[Bundle, bool]:
    """Check an uploaded zip and register the bundle in it.

    Returns:
        The bundle, and whether it is new here.

    Raises:
        ArchiveError: it is no bundle, or its files are not those that its card names.
    """
    parent = Path(settings.MIRAGE_BUNDLES_DIR)
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="import.", dir=parent) as draft:
        folder = Path(draft)
        _unpack(file, folder)
        _check_card(folder)
        known = Bundle.objects.count()
        try:
            bundle = register_bundle(folder=folder, now=now)
        except UnfitBundleError as error:
            text = str(error).replace(f" in {folder}", "").replace(f"{folder}/", "")
            raise ArchiveError(f"Nothing was imported. {text}") from error
        return bundle, Bundle.objects.count() > known


def _unpack(file: IO[bytes], folder: Path) -> None:
    """Write the files of a zip that has passed every check, under the names of its card."""
    if (claimed := claimed_entries(file)) > MOST_FILES:
        raise _refused(f"it holds {claimed:,} files; at most {MOST_FILES} are taken")
    try:
        with zipfile.ZipFile(file) as archive:
            entries = _checked(archive)
            names = set(_card_files(_bytes(archive, entries[CARD_FILE])))
            found = set(entries) - {CARD_FILE}
            if names != found:
                raise _refused(f"its card names {_listed(names)}, the zip holds {_listed(found)}")
            for name in sorted(names):
                _check_head(archive, entries[name])
            for name, entry in entries.items():
                with (folder / name).open("wb") as out:
                    for chunk in _chunks(archive, entry):
                        out.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError,
            struct.error, ValueError) as error:  # fmt: skip
        if isinstance(error, OSError) and error.errno is not None:
            raise ArchiveError(
                f"The bundle could not be stored ({error.strerror}). Make room on the disk of the "
                "bundles, then import it again."
            ) from error
        raise _refused("it is no zip, or it is damaged or cut") from None


def _checked(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries by name: few, flat, of known kinds, and not larger than they may be."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise _refused(f"it holds {len(entries):,} files; at most {MOST_FILES} are taken")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.orig_filename
        if name in found:
            raise _refused("it holds two files of one name")
        if Path(name).name != name or "\\" in name or "\0" in name or name.startswith("."):
            raise _refused("a file of it lies in a folder or outside the zip")
        if name != CARD_FILE and not name.endswith(WEIGHTS):
            raise _refused(f"it holds {name[:40]!a}, which is neither {CARD_FILE} nor {WEIGHTS}")
        _check_entry(entry)
        found[name] = entry
    if CARD_FILE not in found:
        raise _refused(f"it holds no {CARD_FILE}")
    total = sum(entry.file_size for entry in entries)
    if total > MOST_BYTES or found[CARD_FILE].file_size > MOST_CARD_BYTES:
        raise _refused(
            f"it unpacks to {total:,} bytes; at most {MOST_BYTES:,} are taken, {MOST_CARD_BYTES:,} "
            "of them for the card"
        )
    return found


def _check_entry(entry: zipfile.ZipInfo) -> None:
    mode = entry.external_attr >> 16
    if entry.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        raise _refused("an entry of it is a link, a folder or a device, not a file")
    if entry.flag_bits & 1:
        raise _refused("it is encrypted")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise _refused(f"it is compressed by method {entry.compress_type}; 0 and 8 are taken")
    if entry.file_size > MOST_RATIO * max(1, entry.compress_size):
        raise _refused(
            f"a file of it unpacks to more than {MOST_RATIO} times its size, as no bundle does"
        )


def _card_files(text: bytes) -> list[str]:
    """The names that a card lists; the whole of it is read when it is registered."""
    try:
        card: Any = json.loads(text)
        if card["format"] != FORMAT:
            raise _refused(f"its card has format {card['format']!r}; this version reads {FORMAT}")
        files = [str(name) for name in card["files"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _refused(f"its {CARD_FILE} is no card of a bundle") from None
    if not files or any(Path(name).name != name for name in files):
        raise _refused("its card names no file, or one outside the zip")
    return files


def _check_card(folder: Path) -> None:
    """Pages and workers read these fields without asking what they are."""
    try:
        card = read_card(folder)
        people = card.reference
        is_well = (
            0 < len(card.name) <= MOST_NAME
            and 0 < len(card.version) <= MOST_VERSION
            and datetime.fromisoformat(card.created_at) is not None
            and 0 <= card.base_rate <= 1
            and 0 < card.spacing_mm <= MOST_SPACING_MM
            and 0 <= people.n_ad <= people.n
            and 0 <= people.age_low_years <= people.age_high_years
            and set(card.schema) <= set(dictionary())
            and 0 <= card.min_inputs <= len(card.schema)
            and all(isinstance(each, dict) for each in (card.metrics, card.training, card.files))
            and all(isinstance(text, str) for text in (card.limits, card.command, card.profile,
                                                       people.description))
            and all(gate_words(gate) for gate in card.gates)
        )  # fmt: skip
    except (BundleError, TypeError, ValueError, AttributeError):
        is_well = False
    if not is_well:
        raise _refused(f"a field of its {CARD_FILE} is missing or is not what it is called")


def _check_head(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """The head of a safetensors file: its length, then JSON whose tensors fill the file exactly."""
    with archive.open(entry) as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(HEADER_BYTES, entry.file_size - 8):
            raise _no_tensors(entry)
        head = file.read(length)
    try:
        tensors = json.loads(head)
        tensors.pop("__metadata__", None)
        spans = sorted(_span(each) for each in tensors.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _no_tensors(entry) from None
    ends = [0, *(end for _, end in spans)]
    if [start for start, _ in spans] != ends[:-1] or ends[-1] != entry.file_size - 8 - length:
        raise _no_tensors(entry)


def _span(tensor: dict[str, Any]) -> tuple[int, int]:
    """Where the bytes of a tensor are, if they are as many as its shape says."""
    start, end = tensor["data_offsets"]
    size = DTYPES[tensor["dtype"]]
    for edge in tensor["shape"]:
        size *= int(edge)
    if not 0 <= start <= end or end - start != size:
        raise ValueError
    return int(start), int(end)


def _no_tensors(entry: zipfile.ZipInfo) -> ArchiveError:
    return _refused(
        f"{entry.filename!a} is no safetensors file, whatever it is called: its head is not "
        "the list of its tensors. It was not opened"
    )


def _bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    return b"".join(_chunks(archive, entry))


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of an entry, and not one more than the directory says."""
    left = entry.file_size
    with archive.open(entry) as file:
        while chunk := file.read(min(CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile
            yield chunk


def _listed(names: set[str]) -> str:
    return ", ".join(ascii(name[:40]) for name in sorted(names)) or "nothing"


def _refused(why: str) -> ArchiveError:
    return ArchiveError(f"This file is not a bundle: {why}. {AGAIN}")
