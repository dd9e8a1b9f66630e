"""What a demo finds ready: accounts, the shipped bundle, an example cohort, static files."""

import contextlib
import hashlib
import json
import secrets
from io import StringIO
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.utils import timezone

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.inference import services as inference
from apps.patients import services as patients
from apps.patients.models import Cohort
from apps.registry import services as registry
from apps.registry.models import Deployment

ROLES = {
    "clinician": User.Role.CLINICIAN,
    "radiologist": User.Role.RADIOLOGIST,
    "manager": User.Role.STUDY_MANAGER,
    "admin": User.Role.ADMIN,
}
SHIPPED_BUNDLE = Path("bundles") / "demo"
SHIPPED_REASON = "Shipped with MIRAGE."
EXAMPLE = Path("static") / "samples" / "sample-50-patients.csv"
EXAMPLE_NAME = "Example: 50 invented people"


def make_accounts(data_dir: Path) -> dict[str, str]:
    """One account for each role. Returns name to password, as made at the first start.

    The passwords are kept in a file that only this user may read; one that was changed in the
    application since is no longer shown.
    """
    path = data_dir / "keys" / "demo-accounts.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    shown = {}
    for name, role in ROLES.items():
        password = known.setdefault(name, secrets.token_hex(8))
        user = User.objects.filter(username=name).first()
        if user is None:
            user = accounts.create_user(username=name, password=password, role=role)
        shown[name] = password if user.check_password(password) else "(changed)"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(known, indent=2) + "\n")
    return shown


def deploy_shipped_bundle() -> str:
    """Register the bundle that comes with the code, and let it answer unless a person decided
    otherwise. Returns what is wrong, if anything is.
    """
    folder = settings.BASE_DIR / SHIPPED_BUNDLE
    if not folder.exists():
        return f"No bundle is shipped in {SHIPPED_BUNDLE}, so nothing can be predicted yet."
    now = timezone.now()
    try:
        bundle = registry.register_bundle(folder=folder, now=now)
    except registry.UnfitBundleError as error:
        return str(error)
    newest = Deployment.objects.first()
    if newest is None or (newest.reason == SHIPPED_REASON and newest.bundle != bundle):
        try:
            registry.deploy(bundle=bundle, deployed_by=None, now=now, reason=SHIPPED_REASON)
        except registry.GateFailedError as error:
            return str(error)
    return ""


def make_example_cohort() -> None:
    """At the very first start, give the clinician something to look at."""
    sample = settings.BASE_DIR / EXAMPLE
    if Cohort.objects.exists() or not sample.exists():
        return
    clinician = User.objects.get(username="clinician")
    now = timezone.now()
    cohort = patients.create_cohort(
        name=EXAMPLE_NAME,
        description="Nobody in it is real: the records were drawn by `python -m ml phantom`.",
        created_by=clinician,
        now=now,
    )
    try:
        call_command("import_ehr", sample, cohort=cohort.name, json=True, stdout=StringIO())
    except SystemExit:
        cohort.delete()
        raise
    with contextlib.suppress(inference.RunRefusedError):  # no model yet; the pages say so
        inference.request_run(cohort=cohort, requested_by=clinician, now=timezone.now())


def collect_static_files() -> None:
    """Gather and compress the static files, unless nothing changed since the last time."""
    stamp_file = Path(settings.STATIC_ROOT) / ".stamp"
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            modified = storage.get_modified_time(name).timestamp()
            digest.update(f"{name} {storage.size(name)} {modified}\n".encode())
    stamp = digest.hexdigest()
    if stamp_file.exists() and stamp_file.read_text() == stamp:
        return
    call_command("collectstatic", verbosity=0, interactive=False, clear=True)
    stamp_file.write_text(stamp)
