"""One worker's attempt at one job: claim it, keep the lease alive, write under it, end it."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Generic, TypeVar

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from apps.errors import MirageError
from apps.jobs.models import Job, JobQuerySet

logger = logging.getLogger(__name__)
J = TypeVar("J", bound=Job)


class LeaseLostError(Exception):
    """The job was cancelled, or its lease ran out and it is no longer this attempt's."""


class JobCrashedError(Exception):
    """A job met a bug. Names the job, and nothing of what it worked on."""


class Attempt(Generic[J]):
    """The right to work on a job, as long as its lease lives."""

    def __init__(self, jobs: JobQuerySet[J], pk: uuid.UUID, *, number: int) -> None:
        self.number = number
        self._jobs = jobs
        self._pk = pk
        self._lease = timedelta(seconds=settings.MIRAGE_JOB_LEASE_S)
        self._lost = threading.Event()
        self._over = threading.Event()

    def job(self) -> J:
        """The job's row as it is now."""
        return self._jobs.get(pk=self._pk)

    def raise_if_lost(self) -> None:
        """To be called now and then by long work that writes only at its end.

        Raises:
            LeaseLostError: the job is no longer this attempt's.
        """
        if self._lost.is_set():
            raise LeaseLostError

    @contextmanager
    def writing(self) -> Iterator[J]:
        """A transaction that holds the job's row, so that nobody can take the job meanwhile.

        Raises:
            LeaseLostError: the job is no longer this attempt's; nothing was written.
        """
        self.raise_if_lost()
        with transaction.atomic():
            held = self._jobs.held(self._pk, attempt=self.number).select_for_update(of=["self"])
            job = held.first()
            if job is None:
                raise LeaseLostError
            yield job

    def finish(self, **results: Any) -> None:
        """Record success, and with it the job's own result fields.

        Raises:
            LeaseLostError: the job is no longer this attempt's; nothing was written.
        """
        if not self._jobs.finish(self._pk, attempt=self.number, **results):
            raise LeaseLostError

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Extend the lease from a thread while the block runs."""
        thread = threading.Thread(target=self._extend_until_over, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _extend_until_over(self) -> None:
        extended_at = time.monotonic()
        while not self._over.wait(self._lease.total_seconds() / 3):
            try:
                if not self._jobs.extend_lease(self._pk, attempt=self.number, lease=self._lease):
                    break
                extended_at = time.monotonic()
            except DatabaseError:
                logger.warning("Job %s: the database is away, its lease is not extended", self._pk)
                if time.monotonic() - extended_at > self._lease.total_seconds():
                    break
            finally:
                connection.close()  # this thread's own
        else:
            return
        self._lost.set()


def carry_out(model: type[J], pk: uuid.UUID, work: Callable[[Attempt[J]], None]) -> None:
    """Claim a job and do its work, which ends with `attempt.finish`; or leave it to its owner.

    Every way to end is written to the row: an error of ours with its text, a time limit with its
    length, anything else as a bug with the job's number. A database that went away gives the job
    back, to be done when it returns.

    Raises:
        JobCrashedError: the work met a bug; the row says FAILED and the log has the place.
    """
    jobs: JobQuerySet[J] = model._default_manager.all()  # type: ignore[assignment]
    lease = timedelta(seconds=settings.MIRAGE_JOB_LEASE_S)
    number = jobs.claim(pk, worker=f"{socket.gethostname()}:{os.getpid()}", lease=lease)
    if number is None:
        return
    attempt = Attempt(jobs, pk, number=number)
    with attempt.kept_alive():
        try:
            work(attempt)
        except LeaseLostError:
            logger.info("%s %s is no longer attempt %d's", model.kind(), pk, number)
        except MirageError as error:
            jobs.fail(pk, attempt=number, reason=str(error))
        except SoftTimeLimitExceeded:
            jobs.fail(pk, attempt=number, reason=_too_long(model))
        except (OperationalError, InterfaceError):
            logger.warning("%s %s: the database went away", model.kind(), pk)
            connection.close()
            jobs.give_back(pk, attempt=number)
        except Exception:
            logger.exception("%s %s crashed", model.kind(), pk)
            jobs.fail(pk, attempt=number, reason=_bug(model, pk))
            raise JobCrashedError(f"{model.kind()} {pk} crashed") from None


def _too_long(model: type[Job]) -> str:
    return (
        f"It took longer than the limit of {model.SOFT_LIMIT_S} seconds. Retry it when the queue "
        "is shorter, or ask for fewer patients at once."
    )


def _bug(model: type[Job], pk: uuid.UUID) -> str:
    return (
        f"Something went wrong that should not ({model.kind()} {pk}). Retry it; if it fails "
        "again, give this number to the administrator, whose log says where."
    )
