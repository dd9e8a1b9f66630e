"""What a manager can do with a study before it is opened, and opening it."""

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from apps.accounts.models import User
from apps.errors import MirageError
from apps.jobs import queue
from apps.patients.models import Cohort
from apps.review import drawing, selectors
from apps.review.models import (
    Case,
    Reader,
    ReaderStudy,
    StudyEvent,
    StudyFreeze,
    StudyState,
)
from apps.review.protocol import Arm, Protocol

logger = logging.getLogger(__name__)
MANAGER_ROLES = (User.Role.STUDY_MANAGER, User.Role.ADMIN)
MOST_READERS = 50
DRAW_PARTS = ("arms", "cases_per_arm", "practice_cases", "spacing_mm", "same_people", "seed")
_Kind = StudyEvent.Kind


class StudyRefusedError(MirageError):
    """This cannot be done to the study; the text says why and what to do."""


def may_manage(user: User) -> bool:
    """Whether a user may set up studies at all."""
    return user.role in MANAGER_ROLES


@transaction.atomic
def create_study(
    *, title: str, manager: User, now: datetime, protocol: Protocol | None = None
) -> ReaderStudy:
    """Begin a draft, with the paper's questions unless another protocol is given.

    Raises:
        StudyRefusedError: the user may not manage studies, or there is no title.
        ProtocolError: the protocol cannot be followed.
    """
    if not may_manage(manager):
        raise StudyRefusedError(
            "Only study managers set up reader studies. Ask the administrator for that role."
        )
    if not title.strip():
        raise StudyRefusedError("The study needs a title, of at most 120 characters.")
    protocol = protocol or Protocol()
    _check_protocol(protocol)
    study = ReaderStudy.objects.create(
        title=title.strip(), manager=manager, created_at=now, protocol=protocol.to_json()
    )
    _log(study, _Kind.CREATED, manager, now)
    return study


@transaction.atomic
def change_protocol(
    *, study: ReaderStudy, protocol: Protocol, changed_by: User, now: datetime
) -> bool:
    """Write another protocol into a draft.

    Returns:
        Whether the drawn cases are gone, because they were drawn for another design.

    Raises:
        StudyRefusedError: the study is not the user's, or no draft any more.
        ProtocolError: the protocol cannot be followed.
    """
    held = _draft(study, changed_by)
    _check_protocol(protocol)
    before = held.plan
    if before == protocol:
        return False
    redesigned = any(getattr(before, part) != getattr(protocol, part) for part in DRAW_PARTS)
    had_cases = redesigned and held.cases.exists()
    if redesigned:
        held.cases.all().delete()
    held.protocol = protocol.to_json()
    held.save(update_fields=["protocol"])
    _log(held, _Kind.PROTOCOL_CHANGED, changed_by, now, sha256=protocol.sha256())
    study.protocol = held.protocol
    return had_cases


@transaction.atomic
def draw_cases(
    *, study: ReaderStudy, cohorts: Sequence[Cohort], drawn_by: User, now: datetime
) -> list[Case]:
    """Draw all cases anew from cohorts that the manager belongs to.

    Raises:
        StudyRefusedError: the study is no draft of the user's, or a cohort is not theirs.
        DrawError: there are too few volumes; the cases drawn before stay.
    """
    held = _draft(study, drawn_by)
    mine = set(Cohort.objects.visible_to(drawn_by).values_list("pk", flat=True))
    if not cohorts or any(cohort.pk not in mine for cohort in cohorts):
        raise StudyRefusedError("Choose at least one of the cohorts that you belong to.")
    plan = held.plan
    drawn = drawing.draw(selectors.candidates_of(cohorts), plan)
    held.cases.all().delete()
    cases = Case.objects.bulk_create([_case(held, each) for each in drawn])
    _log(
        held,
        _Kind.CASES_DRAWN,
        drawn_by,
        now,
        algorithm=drawing.ALGORITHM,
        seed=plan.seed,
        cohorts=len(cohorts),
        cases=len(cases),
    )
    return cases


def _case(study: ReaderStudy, drawn: drawing.Drawn) -> Case:
    candidate = drawn.candidate
    is_decoded = candidate.arm is Arm.PSEUDO_MRI
    return Case(
        study=study,
        number=drawn.number,
        arm=candidate.arm,
        is_practice=drawn.is_practice,
        scan_id=None if is_decoded else candidate.source,
        pseudo_mri_id=candidate.source if is_decoded else None,
        patient_id=candidate.patient,
        source_sha256=candidate.sha256,
        is_ad=candidate.is_ad,
        age_years=candidate.age_years,
        is_female=candidate.is_female,
    )


@transaction.atomic
def invite_reader(
    *,
    study: ReaderStudy,
    user: User,
    invited_by: User,
    now: datetime,
    knows_cases: str = "",
    is_simulated: bool = False,
) -> Reader:
    """Add a reader to a draft.

    Args:
        study: which.
        user: the reader's account.
        invited_by: the manager.
        now: the time.
        knows_cases: why somebody reads who may know cases; flagged in every result.
        is_simulated: whether the reader is a program; marks the whole study.

    Raises:
        StudyRefusedError: the manager, another role, a reader already, or somebody who belongs to
            a cohort of the cases, without a reason.
    """
    held = _draft(study, invited_by)
    _check_reader(held, user, knows_cases)
    last = held.readers.aggregate(last=Max("number"))["last"] or 0
    if held.readers.count() >= MOST_READERS:
        raise StudyRefusedError(f"A study has at most {MOST_READERS} readers.")
    reader = Reader.objects.create(
        study=held,
        user=user,
        number=last + 1,
        invited_at=now,
        knows_cases=knows_cases.strip(),
        is_simulated=is_simulated,
    )
    if is_simulated and not held.is_simulated:
        held.is_simulated = study.is_simulated = True
        held.save(update_fields=["is_simulated"])
    _log(held, _Kind.READER_INVITED, invited_by, now, reason=knows_cases.strip(), reader=last + 1)
    return reader


def _check_reader(study: ReaderStudy, user: User, knows_cases: str) -> None:
    who = user.get_username()
    if user.pk == study.manager_id:
        raise StudyRefusedError(
            "You manage this study and know its cases, so you cannot read them. Invite others."
        )
    if user.role != User.Role.RADIOLOGIST or not user.is_active:
        raise StudyRefusedError(
            f"{who} is no radiologist with an open account. Ask the administrator for an account "
            "with that role."
        )
    if study.readers.filter(user=user).exists():
        raise StudyRefusedError(f"{who} reads this study already.")
    known = selectors.known_cohorts(study, user)
    if known and not knows_cases.strip():
        raise StudyRefusedError(
            f"{who} belongs to {_names(known)}, where cases of this study come from, and may know "
            "them. Invite somebody else, or give a reason: the reader is then flagged in every "
            "result."
        )


def _names(cohorts: Sequence[Cohort]) -> str:
    return f"the cohort{'s' if len(cohorts) > 1 else ''} " + " and ".join(c.name for c in cohorts)


@transaction.atomic
def remove_reader(*, reader: Reader, removed_by: User, now: datetime) -> None:
    """Take a reader out of a draft.

    Raises:
        StudyRefusedError: the study is no draft of the user's.
    """
    held = _draft(reader.study, removed_by)
    reader.delete()
    if held.is_simulated and not held.readers.filter(is_simulated=True).exists():
        held.is_simulated = False
        held.save(update_fields=["is_simulated"])
    _log(held, _Kind.READER_REMOVED, removed_by, now, reader=reader.number)


def reasons_against_opening(study: ReaderStudy) -> list[str]:
    """What is missing before a draft can be opened, as sentences; none if nothing is."""
    plan, found = study.plan, []
    if not study.cases.exists():
        found.append("No cases are drawn. Draw them first.")
    for arm in plan.arms:
        n = study.cases.filter(arm=arm, is_practice=False, patient__isnull=False).count()
        if study.cases.exists() and n != plan.cases_per_arm:
            found.append(
                f"{n} of {plan.cases_per_arm} {drawing.WORDS[arm][0]} are left: patients were "
                "deleted since the draw. Draw the cases again."
            )
    readers = list(study.readers.select_related("user"))
    if not readers:
        found.append("No reader is invited. Invite at least one.")
    found += [
        f"Reader {reader.number} ({reader.user.get_username()}) belongs to {_names(known)} and may "
        "know cases. Remove them, or invite them again with a reason."
        for reader in readers
        if not reader.knows_cases and (known := selectors.known_cohorts(study, reader.user))
    ]
    return found


@transaction.atomic
def request_freeze(*, study: ReaderStudy, requested_by: User, now: datetime) -> StudyFreeze:
    """Queue the freeze of a draft, after which the study is open and nothing in it changes.

    Raises:
        StudyRefusedError: the study is no draft of the user's, or something is missing.
        ProtocolError: the protocol cannot be followed.
    """
    held = _draft(study, requested_by)
    _check_protocol(held.plan)
    if reasons := reasons_against_opening(held):
        raise StudyRefusedError(" ".join(reasons))
    held.state = study.state = StudyState.FREEZING
    held.save(update_fields=["state"])
    freeze = StudyFreeze.objects.create(
        study=held, requested_by=requested_by, requested_at=now, total=held.cases.count()
    )
    _log(held, _Kind.FREEZE_REQUESTED, requested_by, now, sha256=held.plan.sha256())
    queue.send_on_commit(freeze)
    return freeze


@transaction.atomic
def retry_freeze(*, study: ReaderStudy, requested_by: User) -> None:
    """Queue a failed freeze again; it goes on where it stopped.

    Raises:
        StudyRefusedError: there is none that failed.
    """
    held = _managed(study, requested_by)
    freeze = StudyFreeze.objects.filter(study=held).first()
    if freeze is None or not StudyFreeze.objects.retry(freeze.pk):
        raise StudyRefusedError("There is no failed freeze to retry. Reload the page.")
    queue.send_on_commit(freeze)


@transaction.atomic
def return_to_draft(*, study: ReaderStudy, returned_by: User, now: datetime) -> None:
    """Undo a freeze that has not succeeded: its study copies go, everything else stays.

    Raises:
        StudyRefusedError: the study is open already, or a draft.
    """
    held = _managed(study, returned_by)
    if held.state != StudyState.FREEZING:
        raise StudyRefusedError(
            f"The study is {held.get_state_display().lower()}; only one that is being frozen can "
            "go back to draft."
        )
    files = [name for name in held.cases.values_list("file", flat=True) if name]
    StudyFreeze.objects.filter(study=held).delete()
    held.cases.update(file="", sha256="")
    held.state = study.state = StudyState.DRAFT
    held.save(update_fields=["state"])
    _log(held, _Kind.DRAFT_AGAIN, returned_by, now)
    transaction.on_commit(partial(_remove, files))


@transaction.atomic
def delete_draft(*, study: ReaderStudy, deleted_by: User) -> None:
    """Delete a draft with its cases and invitations. No volume and no patient goes.

    Raises:
        StudyRefusedError: the study is no draft of the user's.
    """
    _draft(study, deleted_by).delete()


def _remove(files: Sequence[str]) -> None:
    for name in files:
        try:
            (Path(settings.MEDIA_ROOT) / name).unlink(missing_ok=True)
        except OSError:
            logger.warning("A study copy is left over: run `manage.py fsck`")


def _managed(study: ReaderStudy, user: User) -> ReaderStudy:
    """The row of a study of this manager, held until the transaction ends."""
    held = ReaderStudy.objects.select_for_update().managed_by(user).filter(pk=study.pk).first()
    if held is None:
        raise StudyRefusedError("Only the manager of a study can do this.")
    return held


def _draft(study: ReaderStudy, user: User) -> ReaderStudy:
    held = _managed(study, user)
    if held.state != StudyState.DRAFT:
        raise StudyRefusedError(
            f"The study is {held.get_state_display().lower()}: its protocol, cases and readers do "
            "not change any more. Create another study for another design."
        )
    return held


def _check_protocol(protocol: Protocol) -> None:
    protocol.check()
    if Arm.RECONSTRUCTION in protocol.arms:
        raise StudyRefusedError(
            f"The arm of reconstructions cannot be had. {selectors.NO_RECONSTRUCTION}"
        )


def _log(
    study: ReaderStudy,
    kind: str,
    actor: User,
    now: datetime,
    *,
    reason: str = "",
    **details: object,
) -> None:
    StudyEvent.objects.create(
        study=study, kind=kind, actor=actor, reason=reason, details=details, happened_at=now
    )
