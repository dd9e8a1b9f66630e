"""Which bundle answers, and whether it is fit to."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from apps.registry.models import CHALLENGER, CHAMPION, Bundle, Deployment
from ml.card import BundleError, fingerprint, gate_words, gates_of, verify
from ml.concepts import schema

NONE_DEPLOYED = (
    "No model bundle is deployed, so nothing can be predicted. An administrator registers one with "
    "`manage.py register_bundle FOLDER --deploy`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionState:
    """The bundle that answers now, and what is wrong with it, if anything."""

    bundle: Bundle | None
    problem: str


def champion() -> Bundle | None:
    """The bundle that answers now."""
    newest = Deployment.objects.filter(alias=CHAMPION).select_related("bundle").first()
    return newest.bundle if newest else None


def shadowed_by() -> Bundle | None:
    """The bundle that answers beside the champion, unseen; None if none does.

    A promotion or a roll-back ends it: what was compared was compared with the champion before.
    """
    newest = Deployment.objects.select_related("bundle").first()
    if newest is None or newest.alias != CHALLENGER:
        return None
    return None if newest.bundle == champion() else newest.bundle


def inputs_of(bundle: Bundle | None) -> tuple[str, ...]:
    """Concepts that a bundle reads: the schema without what it holds out as too near the label."""
    return tuple(bundle.card["schema"]) if bundle else schema()


def folder_of(bundle: Bundle) -> Path:
    """Where the registered copy of a bundle is."""
    return Path(settings.MIRAGE_BUNDLES_DIR) / bundle.folder


def failed_gates(bundle: Bundle) -> list[str]:
    """A sentence for each gate that keeps a bundle from answering; empty if none does.

    A gate with too few test people to judge by keeps nobody from anything: the page says so.
    """
    gates = gates_of(bundle.card)
    if not gates:
        return ["Its card holds no gates: it was trained before they were measured."]
    return [f"Gate {gate_words(gate)}." for gate in gates if gate.passed is False]


def champion_state() -> ChampionState:
    """The champion and its problem: none deployed, files missing, or changed since it was made."""
    bundle = champion()
    if bundle is None:
        return ChampionState(bundle=None, problem=NONE_DEPLOYED)
    return ChampionState(bundle=bundle, problem=problem_of(bundle))


def problem_of(bundle: Bundle) -> str:
    """What is wrong with the files of a bundle; empty if nothing is."""
    folder = folder_of(bundle)
    try:
        stamp = tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in _files(folder))
    except OSError:
        stamp = ()
    key = (bundle.fingerprint, stamp)
    if key not in _known_problems:
        while len(_known_problems) >= PROBLEMS_KEPT:
            _known_problems.pop(next(iter(_known_problems)))
        _known_problems[key] = _verify(bundle, folder)
    return _known_problems[key]


PROBLEMS_KEPT = 8
# Hashing 20 MB with every page would be slow; a file that changes gets another time or size.
_known_problems: dict[tuple[str, tuple[tuple[str, int, int], ...]], str] = {}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _verify(bundle: Bundle, folder: Path) -> str:
    try:
        verify(folder)
        found = fingerprint(folder)
    except BundleError as error:
        return f"The bundle {bundle} cannot be used. {error}"
    if found != bundle.fingerprint:
        return (
            f"The bundle {bundle} is another one than was registered: its card.json has "
            f"sha256 {found[:12]}..., not {bundle.fingerprint[:12]}.... Register it again with "
            "`manage.py register_bundle FOLDER --deploy`."
        )
    return ""
