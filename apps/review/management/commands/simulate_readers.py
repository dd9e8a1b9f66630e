"""Let programs read a study, so that it can be tried without people."""

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.errors import MirageError
from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.review.models import Reader, ReaderStudy, StudyFreeze, StudyState
from apps.review.reading_over_http import read_all
from apps.review.services import setup
from apps.review.services.simulating import invite_simulated_readers, log_simulation
from apps.review.simulation import SimulatedReader, Skill

MOST_READERS = 50
LOOK_EVERY_S = 0.5


class Command(BaseCommand):
    help = (
        "Read a study with programs whose skill is known, through the real pages. A draft gets N "
        "simulated readers and is frozen first (a worker must be alive), because the order of "
        "every reader is frozen with it; of an open study, its first N simulated readers read on. "
        "The study is marked as simulated everywhere, and the log tells the numbers."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--study", type=int, required=True)
        parser.add_argument("--readers", type=int, required=True)
        parser.add_argument("--seed", type=int, required=True)
        parser.add_argument(
            "--skill", type=float, default=1.0, help="d' for real against synthetic; 0 is chance"
        )
        parser.add_argument(
            "--shift",
            type=float,
            default=0.0,
            help="true difference of the felt quality, synthetic minus real, in SD of the noise",
        )
        parser.add_argument("--wait", type=float, default=900, help="seconds for the freeze")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, **options: Any) -> None:
        if not 1 <= options["readers"] <= MOST_READERS:
            raise CommandError(f"--readers is {options['readers']}; give 1 to {MOST_READERS}.")
        study = ReaderStudy.objects.filter(pk=options["study"]).first()
        if study is None:
            raise CommandError(f"There is no study {options['study']}. See the list of studies.")
        skill = Skill(d_prime=options["skill"], shift=options["shift"])
        started = time.monotonic()
        try:
            if study.state == StudyState.DRAFT:
                self._open(study, options["readers"], options["wait"])
            readers = self._readers(study, options["readers"])
            counts = {
                reader.number: self._read(reader, options["seed"], skill) for reader in readers
            }
            log_simulation(
                study=study,
                now=timezone.now(),
                seed=options["seed"],
                readings=sum(counts.values()),
                d_prime=skill.d_prime,
                shift=skill.shift,
            )
        except MirageError as error:
            raise CommandError(str(error)) from error
        report = {
            "study": study.pk,
            "seed": options["seed"],
            "d_prime": skill.d_prime,
            "shift": skill.shift,
            "readings": {str(number): count for number, count in counts.items()},
            "seconds": round(time.monotonic() - started, 1),
        }
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=1))
        else:
            self.stdout.write(
                f"{sum(counts.values())} simulated readings of study {study.pk}, seed "
                f"{options['seed']}, d' {skill.d_prime:g}, shift {skill.shift:g}, in "
                f"{report['seconds']} s. The study is marked as simulated."
            )

    def _open(self, study: ReaderStudy, readers: int, wait_s: float) -> None:
        """Invite the programs to a draft and freeze it, as its manager would."""
        if StudyFreeze.QUEUE in unserved_queues():
            raise CommandError(
                "No worker is alive that could freeze the study. Start one "
                "(`manage.py worker decode`), and give this command again. Nothing was changed."
            )
        now = timezone.now()
        invite_simulated_readers(study=study, readers=readers, invited_by=study.manager, now=now)
        job = setup.request_freeze(study=study, requested_by=study.manager, now=now)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            job.refresh_from_db()
            if job.state == JobState.SUCCEEDED:
                study.refresh_from_db()
                return
            if job.is_final:
                raise CommandError(f"The freeze did not succeed. {job.reason}")
            self._say(f"freezing, {job.done} of {job.total} cases")
            time.sleep(LOOK_EVERY_S)
        raise CommandError(
            f"The freeze is not done after {wait_s:g} s. It goes on by itself: give this command "
            "again when the study is open."
        )

    def _readers(self, study: ReaderStudy, wanted: int) -> list[Reader]:
        if study.state != StudyState.OPEN:
            raise CommandError(
                f"Study {study.pk} is {study.get_state_display().lower()}; programs read a draft, "
                "which is frozen first, or an open study."
            )
        found = list(study.readers.filter(is_simulated=True).select_related("user", "study"))
        if len(found) < wanted:
            raise CommandError(
                f"Study {study.pk} is open with {len(found)} simulated readers; {wanted} were "
                "asked for. Readers are frozen with the study: ask for fewer, or begin with a "
                "draft."
            )
        return found[:wanted]

    def _read(self, reader: Reader, seed: int, skill: Skill) -> int:
        total, count = reader.slots.count(), 0
        program = SimulatedReader(seed=seed, number=reader.number, skill=skill)
        for _ in read_all(reader, program):
            count += 1
            self._say(f"reader {reader.number}, {count} of {total} cases")
        self.stderr.write("")
        return count

    def _say(self, words: str) -> None:
        self.stderr.write(f"\r{words}   ", ending="")
