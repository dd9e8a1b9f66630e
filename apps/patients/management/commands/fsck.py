"""manage.py fsck: files without their row and rows without their file, listed or removed."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.patients import dependents


class Command(BaseCommand):
    help = (
        "List files under the data folder that no row names, and rows whose file is gone. Exit 1 "
        "if there are any, so that a timer can tell. What is younger than an hour and without a "
        "row may be on its way in, and is left alone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remove", action="store_true", help="remove what is found")

    def handle(self, *_: Any, **options: Any) -> None:
        found = failed = 0
        for leftover in dependents.leftovers():
            found += 1
            self.stdout.write(leftover.what)
            if options["remove"]:
                try:
                    leftover.remove()
                except OSError as error:
                    failed += 1
                    self.stderr.write(f"  cannot be removed: {error.strerror}")
        if not found:
            self.stdout.write("Every file has its row, and every row its file.")
            return
        done = found - failed if options["remove"] else 0
        self.stdout.write(f"{found} found, {done} removed.")
        if done < found:
            sys.exit(1)
