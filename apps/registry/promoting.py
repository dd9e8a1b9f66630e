"""Giving an alias to a bundle: promotion, roll-back, shadow. Each is signed and only ever added.

One act at a time: whoever comes second finds what the first did, and is told so.
"""

from datetime import datetime

from django.db import connection, transaction

from apps.accounts.models import User
from apps.accounts.signing import Signature
from apps.errors import MirageError
from apps.jobs.models import JobState
from apps.registry.models import CHALLENGER, CHAMPION, Bundle, Deployment, GateCheck
from apps.registry.selectors import champion, problem_of, shadowed_by
from ml.card import Gate, gate_words


class PromotionRefusedError(MirageError):
    """A bundle does not get an alias; the text says why and what to do."""


class ChampionChangedError(PromotionRefusedError):
    """The champion is another one than the person who signs had before them."""


class NotAdminError(PromotionRefusedError):
    """Only an administrator decides which model answers."""


def may_administer(user: User) -> bool:
    """Whether a user may change what answers."""
    return bool(user.is_active and user.role == User.Role.ADMIN)


def failed_gates_of(check: GateCheck) -> list[Gate]:
    """The gates of a check that the candidate did not pass."""
    return [gate for gate in map(_gate, check.gates) if gate.passed is False]


@transaction.atomic
def promote(
    *,
    bundle: Bundle,
    gate_check: GateCheck | None,
    signature: Signature,
    now: datetime,
    despite: str = "",
) -> Deployment:
    """Let a bundle answer from now on. Runs under way finish with the one they started with.

    Args:
        bundle: the candidate.
        gate_check: what the person who signs had before them; None only where nothing answers yet.
        signature: of an administrator.
        now: the time.
        despite: why it may answer although a gate failed; kept with the reason.

    Raises:
        PromotionRefusedError: there is no check of the present pair, a gate failed and `despite`
            is empty, or the files are damaged.
        ChampionChangedError: somebody else was quicker.
    """
    _check_admin(signature)
    one_at_a_time()
    model = champion()
    if bundle == model:
        raise ChampionChangedError(f"{bundle} answers already. Nothing was changed.")
    _check_files(bundle)
    failed = _check_evidence(bundle, model, gate_check)
    reason = signature.reason
    if failed:
        if not despite.strip():
            raise PromotionRefusedError(
                f"{bundle} failed {_count(len(failed), 'gate')}, so nothing was promoted. Say why "
                "it may answer nevertheless, or train it again."
            )
        words = " ".join(f"{gate_words(gate)}." for gate in failed)
        reason = f"{reason} Although: {words} {despite.strip()}"
    return _deploy(CHAMPION, bundle, signature, now, reason, gate_check)


@transaction.atomic
def roll_back(
    *, bundle: Bundle, seen: Bundle | None, signature: Signature, now: datetime
) -> Deployment:
    """Let a former champion answer again, at once: its gates were answered for when it was one.

    Args:
        bundle: the former champion.
        seen: the champion that the person who signs had before them.
        signature: of an administrator.
        now: the time.

    Raises:
        PromotionRefusedError: it never was champion, or its files are damaged.
        ChampionChangedError: somebody else was quicker.
    """
    _check_admin(signature)
    one_at_a_time()
    model = champion()
    if model != seen or bundle == model:
        raise ChampionChangedError(_changed(model))
    if not bundle.deployments.filter(alias=CHAMPION).exists():
        raise PromotionRefusedError(
            f"{bundle} was never the champion, so there is nothing to go back to. Check its gates "
            "and promote it."
        )
    _check_files(bundle)
    reason = f"Roll-back from {model}, without a check: it was champion before. {signature.reason}"
    return _deploy(CHAMPION, bundle, signature, now, reason, None)


@transaction.atomic
def set_challenger(*, bundle: Bundle, signature: Signature, now: datetime) -> Deployment:
    """Let a bundle answer beside the champion, unseen by those who ask.

    Raises:
        PromotionRefusedError: there is no champion, it is the champion, or its files are damaged.
    """
    _check_admin(signature)
    one_at_a_time()
    model = champion()
    if model is None:
        raise PromotionRefusedError(
            "There is no champion that it could answer beside. Promote a model first."
        )
    if bundle in (model, shadowed_by()):
        raise PromotionRefusedError(f"{bundle} answers already. Nothing was changed.")
    _check_files(bundle)
    return _deploy(CHALLENGER, bundle, signature, now, signature.reason, None)


@transaction.atomic
def end_shadow(*, signature: Signature, now: datetime) -> Deployment:
    """Have nobody answer beside the champion any more: it becomes its own challenger.

    Raises:
        PromotionRefusedError: nobody does.
    """
    _check_admin(signature)
    one_at_a_time()
    model = champion()
    if model is None or shadowed_by() is None:
        raise PromotionRefusedError("No model answers beside the champion. Nothing was changed.")
    return _deploy(CHALLENGER, model, signature, now, signature.reason, None)


def one_at_a_time() -> None:
    """Make the next one who deploys wait until this transaction is through. Reading goes on."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE registry_deployment IN SHARE ROW EXCLUSIVE MODE")


def deployed_at(now: datetime) -> datetime:
    """Never before the newest deployment: the clocks of two machines may differ."""
    newest = Deployment.objects.order_by("-deployed_at").first()
    return max(now, newest.deployed_at) if newest else now


def _check_admin(signature: Signature) -> None:
    if not may_administer(signature.user):
        raise NotAdminError("Only an administrator decides which model answers. Ask one.")


def _check_files(bundle: Bundle) -> None:
    if problem := problem_of(bundle):
        raise PromotionRefusedError(f"Nothing was promoted. {problem}")


def _check_evidence(bundle: Bundle, model: Bundle | None, check: GateCheck | None) -> list[Gate]:
    """The failed gates of a check that is about this very pair."""
    if check is None:
        if model is None:
            return []
        raise PromotionRefusedError(
            f"No gates of {bundle} beside {model} were checked. Check them on a holdout first."
        )
    if check.candidate_id != bundle.pk or check.state != JobState.SUCCEEDED:
        raise PromotionRefusedError(
            f"This is no finished check of {bundle}. Choose one, or check its gates on a holdout."
        )
    if check.champion != model:
        raise ChampionChangedError(_changed(model))
    if check.holdout.retired_at is not None:
        raise PromotionRefusedError(
            f"The holdout {check.holdout.name} was retired since, so its verdict no longer counts. "
            "Check the gates on another holdout."
        )
    return failed_gates_of(check)


def _changed(model: Bundle | None) -> str:
    return (
        f"Somebody else was quicker: {model or 'no model'} answers by now. Nothing was changed. "
        "Look at the page again; gates are checked against the model that answers."
    )


def _deploy(
    alias: str,
    bundle: Bundle,
    signature: Signature,
    now: datetime,
    reason: str,
    check: GateCheck | None,
) -> Deployment:
    return Deployment.objects.create(
        alias=alias,
        bundle=bundle,
        deployed_by=signature.user,
        deployed_at=deployed_at(now),
        reason=reason,
        gate_check=check,
    )


def _gate(entry: dict[str, object]) -> Gate:
    return Gate(**entry)  # type: ignore[arg-type]


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
