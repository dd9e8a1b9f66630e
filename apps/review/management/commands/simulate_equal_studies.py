"""Try the statistics on invented studies in which nothing differs."""

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Invent studies whose two arms are alike, and report how often a difference is shown and "
        "how often the 95 % interval holds zero, as JSON. No database, no readers, no files."
    )
    requires_system_checks = ()  # they ask the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--studies", type=int, default=200)
        parser.add_argument("--readers", type=int, default=5)
        parser.add_argument("--cases", type=int, default=25, help="in each arm")
        parser.add_argument("--replicates", type=int, default=1000, help="of the bootstrap")
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, **options: Any) -> None:
        from apps.review.equal_studies import Design, try_equals

        least = {"studies": 1, "readers": 1, "cases": 2, "replicates": 100}
        for name, low in least.items():
            if options[name] < low:
                raise CommandError(f"--{name} is {options[name]}; it must be at least {low}.")
        design = Design(
            readers=options["readers"],
            cases_per_arm=options["cases"],
            replicates=options["replicates"],
        )
        started = time.process_time()
        found = try_equals(
            design, studies=options["studies"], seed=options["seed"], progress=self._progress
        )
        report = {
            "readers": design.readers,
            "cases_per_arm": design.cases_per_arm,
            "replicates": design.replicates,
            "seed": options["seed"],
            "cpu_s": round(time.process_time() - started, 1),
            **found,
        }
        self.stdout.write(json.dumps(report, indent=1))

    def _progress(self, share: float) -> None:
        self.stderr.write(f"\r{100 * share:.0f} %", ending="")
        if share >= 1:
            self.stderr.write("")
