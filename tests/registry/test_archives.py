"""A bundle goes out as one file and comes back; what is no bundle is refused unread."""

import hashlib
import io
import json
import pickle  # noqa: TID251 - to make what must never be loaded
import stat
import struct
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.registry import archives, selectors
from apps.registry.models import Bundle
from ml.card import judge, sha256_of
from tests.factories import NOW, UserFactory
from tests.registry.cases import make_admin
from tests.registry.test_bundles import bundle_folder

pytestmark = pytest.mark.django_db
WEIGHTS = "weights.safetensors"


def tensors(values=b"\0" * 8, shape=(2,), dtype="F32"):
    """A safetensors file of one tensor."""
    head = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(values)]}})
    return struct.pack("<Q", len(head)) + head.encode() + values


@pytest.fixture(autouse=True)
def _bundles_of_this_test(settings, tmp_path):
    settings.MIRAGE_BUNDLES_DIR = tmp_path / "bundles"


@pytest.fixture
def files(tmp_path):
    """The files of a bundle whose weights are safetensors, by name."""
    return made(tmp_path / "made", tensors())


def made(folder, weights):
    bundle_folder(folder, judge("swap_ratio", 0.9, 0.8, 200))
    (folder / WEIGHTS).write_bytes(weights)
    card = json.loads((folder / "card.json").read_text())
    card["files"] = {WEIGHTS: sha256_of(folder / WEIGHTS)}
    card["schema"] = ["age"]
    return {"card.json": json.dumps(card).encode(), WEIGHTS: weights}


def zipped(files, method=zipfile.ZIP_STORED, **entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in (files | entries).items():
            archive.writestr(name, content)
    return out.getvalue()


def take_in(content):
    return archives.take_in(io.BytesIO(content), now=NOW)


def exported(bundle):
    out = io.BytesIO()
    archives.export(bundle, out)
    return out.getvalue()


def test_what_is_exported_is_imported_elsewhere_as_the_same_version(files, settings, tmp_path):
    bundle, is_new = take_in(zipped(files, zipfile.ZIP_DEFLATED))
    assert is_new
    content = exported(bundle)
    Bundle.objects.all().delete()
    settings.MIRAGE_BUNDLES_DIR = tmp_path / "another installation"

    back, _ = take_in(content)

    assert back.fingerprint == bundle.fingerprint
    assert not selectors.problem_of(back)
    assert selectors.champion() is None


def test_an_export_has_the_same_bytes_every_time(files):
    bundle, _ = take_in(zipped(files))

    assert exported(bundle) == exported(bundle)
    assert zipfile.ZipFile(io.BytesIO(exported(bundle))).namelist() == ["card.json", WEIGHTS]


def test_a_real_bundle_goes_out_and_comes_back(bundle, settings, tmp_path):
    content = exported(bundle)
    settings.MIRAGE_BUNDLES_DIR = tmp_path / "another installation"

    back, is_new = take_in(content)

    assert (back, is_new) == (bundle, False)
    assert not selectors.problem_of(back)


def a_link(files):
    out = io.BytesIO(zipped(files))
    with zipfile.ZipFile(out, "a") as archive:
        entry = zipfile.ZipInfo("link.safetensors")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


def doubled(files):
    out = io.BytesIO(zipped(files))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(out, "a") as archive:
        archive.writestr(WEIGHTS, b"again")
    return out.getvalue()


def with_card(files, /, **changes):
    card = json.loads(files["card.json"]) | changes
    return zipped(files | {"card.json": json.dumps(card).encode()})


def with_weights(files, weights):
    """With a card that names the hash of these weights: it is the head that gives them away."""
    card = json.loads(files["card.json"])
    card["files"] = {WEIGHTS: hashlib.sha256(weights).hexdigest()}
    return zipped({"card.json": json.dumps(card).encode(), WEIGHTS: weights})


class Opens:
    """A pickle of it would create a file where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


HOSTILE = {
    "no zip": (lambda files: b"\x89PNG and so on", "no zip"),
    "cut": (lambda files: zipped(files)[:-30], "no zip"),
    "no card": (lambda files: zipped({WEIGHTS: files[WEIGHTS]}), "holds no card.json"),
    "a pickle beside it": (lambda files: zipped(files, **{"x.pkl": b"cos\n"}), "neither card.json"),
    "a file the card does not name": (
        lambda files: zipped(files, **{"more.safetensors": tensors()}),
        "its card names 'weights.safetensors', the zip holds 'more.safetensors', 'weights",
    ),
    "a file that the card names is missing": (
        lambda files: zipped({"card.json": files["card.json"]}), "the zip holds nothing",
    ),
    "a folder": (lambda files: zipped(files, **{"in/w.safetensors": b""}), "lies in a folder"),
    "outside": (lambda files: zipped(files, **{"../w.safetensors": b""}), "outside the zip"),
    "many": (
        lambda files: zipped(files, **{f"{n}.safetensors": b"" for n in range(9)}),
        "it holds 11 files; at most 8",
    ),
    "a link": (a_link, "a link, a folder or a device"),
    "two of one name": (doubled, "two files of one name"),
    "a bomb": (
        lambda files: zipped(
            files | {WEIGHTS: b"\0" * 10_000_000}, zipfile.ZIP_DEFLATED
        ),
        "unpacks to more than 50 times its size",
    ),
    "another hash": (lambda files: zipped(files | {WEIGHTS: tensors(b"\1" * 8)}), "SHA-256"),
    "a card that is no JSON": (
        lambda files: zipped(files | {"card.json": b"{"}), "no card of a bundle",
    ),
    "a card of lists in lists": (
        lambda files: zipped(files | {"card.json": b"[" * 100_000}), "no card of a bundle",
    ),
    "a card of another format": (lambda files: with_card(files, format=7), "format 7"),
    "a card that names a place": (
        lambda files: with_card(files, files={"/etc/passwd": "0" * 64}), "outside the zip",
    ),
    "a number that is a word": (lambda files: with_card(files, base_rate="high"), "a field of its"),
    "a concept that nobody knows": (
        lambda files: with_card(files, schema=["soul"]), "a field of its",
    ),
    "a head of another length": (lambda files: with_weights(files, tensors()[:-1]), "its head is"),
    "tensors with a gap": (
        lambda files: with_weights(files, tensors(b"\0" * 12, (2,))), "its head is",
    ),
    "a head that is too long": (
        lambda files: with_weights(files, struct.pack("<Q", 2**60) + b"{}"), "its head is",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made_of", "words"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_bundle_is_refused_in_plain_words_and_leaves_nothing(
    files, settings, made_of, words
):
    with pytest.raises(archives.ArchiveError) as caught:
        take_in(made_of(files))

    assert words in str(caught.value)
    assert str(settings.MIRAGE_BUNDLES_DIR) not in str(caught.value)
    assert not Bundle.objects.exists()
    assert not list(settings.MIRAGE_BUNDLES_DIR.iterdir())


def test_a_pickle_that_is_called_safetensors_is_refused_and_never_run(files, tmp_path):
    trace = tmp_path / "it ran"

    with pytest.raises(
        archives.ArchiveError, match="is no safetensors file, whatever it is called"
    ):
        take_in(with_weights(files, pickle.dumps(Opens(trace))))

    assert not trace.exists()


def test_a_changed_copy_is_not_exported(files):
    bundle, _ = take_in(zipped(files))
    (selectors.folder_of(bundle) / WEIGHTS).write_bytes(b"changed")

    with pytest.raises(archives.ArchiveError, match="cannot be used"):
        exported(bundle)


def test_an_administrator_imports_and_downloads_in_the_browser(client, files):
    client.force_login(make_admin())
    url = reverse("registry:import-bundle")
    upload = SimpleUploadedFile("b.zip", zipped(files))

    response = client.post(url, {"file": upload}, follow=True)
    assert "demo 1.0 is imported. Nothing answers with it yet." in response.content.decode()

    bundle = Bundle.objects.get()
    response = client.get(reverse("registry:download", args=[bundle.pk]))
    assert response["Content-Disposition"] == 'attachment; filename="demo-1.0.zip"'
    assert b"".join(response.streaming_content) == exported(bundle)

    response = client.post(url, {"file": SimpleUploadedFile("b.zip", b"hello")})
    assert response.status_code == 422
    assert "This file is not a bundle: it is no zip" in response.content.decode()


def test_nobody_else_does(client, files):
    client.force_login(UserFactory())
    upload = SimpleUploadedFile("b.zip", zipped(files))

    assert client.post(reverse("registry:import-bundle"), {"file": upload}).status_code == 403
    assert not Bundle.objects.exists()
