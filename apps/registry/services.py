"""Every write to the registry starts here."""

import json
import shutil
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.db import transaction

from apps.accounts.models import User
from apps.errors import MirageError
from apps.registry.models import CHAMPION, Bundle, BundleNote, Deployment
from apps.registry.promoting import deployed_at, one_at_a_time
from apps.registry.selectors import champion, failed_gates
from ml.card import CARD_FILE, BundleError, fingerprint, verify


class UnfitBundleError(MirageError):
    """A folder is not a bundle that may be registered."""


class GateFailedError(MirageError):
    """A bundle failed a gate, and nobody said why it may answer nevertheless."""


def register_bundle(*, folder: Path, now: datetime) -> Bundle:
    """Check a bundle folder and keep a copy of it. Registering it again changes nothing.

    Raises:
        UnfitBundleError: a file is missing or not the one the card describes.
    """
    try:
        card = verify(folder)
        mark = fingerprint(folder)
    except BundleError as error:
        raise UnfitBundleError(str(error)) from error
    name = mark[:16]
    _copy(folder, Path(settings.MIRAGE_BUNDLES_DIR) / name, [CARD_FILE, *card.files])
    bundle, _ = Bundle.objects.get_or_create(
        fingerprint=mark,
        defaults={
            "name": card.name,
            "version": card.version,
            "folder": name,
            "card": _as_json(folder),
            "registered_at": now,
        },
    )
    return bundle


@transaction.atomic
def deploy(
    *, bundle: Bundle, deployed_by: User | None, now: datetime, reason: str, despite: str = ""
) -> Deployment:
    """Let a bundle answer from now on. Runs under way finish with the bundle they started with.

    Args:
        despite: why it may answer although a gate failed; kept with the reason.

    Raises:
        GateFailedError: a gate of the bundle failed and `despite` is empty.
    """
    one_at_a_time()
    if failed := failed_gates(bundle):
        found = f"{bundle} was not put in use. {' '.join(failed)}"
        if not despite.strip():
            raise GateFailedError(
                f"{found} Train it again, or say why it may answer nevertheless "
                "(`manage.py register_bundle FOLDER --deploy --despite-failed-gates REASON`)."
            )
        reason = f"{reason} Although: {' '.join(failed)} {despite.strip()}"
    return Deployment.objects.create(
        alias=CHAMPION,
        bundle=bundle,
        deployed_by=deployed_by,
        deployed_at=deployed_at(now),
        reason=reason,
    )


def add_note(*, bundle: Bundle, author: User, text: str, now: datetime) -> BundleNote:
    """Write a note on a bundle. There is no way to change or remove one."""
    return BundleNote.objects.create(bundle=bundle, author=author, text=text, written_at=now)


def deploy_if_new(*, bundle: Bundle, now: datetime, reason: str) -> None:
    """Deploy a bundle unless it answers already."""
    if champion() != bundle:
        deploy(bundle=bundle, deployed_by=None, now=now, reason=reason)


def _as_json(folder: Path) -> object:
    return json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))


def _copy(source: Path, target: Path, names: list[str]) -> None:
    """Copy the bundle's files so that the target is there whole or not at all."""
    draft = target.with_name(f"{target.name}.{uuid4().hex}")
    draft.mkdir(parents=True)
    try:
        for name in names:
            shutil.copyfile(source / name, draft / name)
        if target.exists():
            _replace_broken(target)
        if not target.exists():
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace_broken(target: Path) -> None:
    """Take away an earlier copy that has been damaged since."""
    try:
        verify(target)
    except BundleError:
        shutil.rmtree(target)
