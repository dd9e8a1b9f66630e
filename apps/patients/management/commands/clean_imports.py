"""manage.py clean_imports: give up imports that nobody went on with, and delete their files."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.patients.importing import cleaning


class Command(BaseCommand):
    help = (
        "Give up imports on which nothing has happened for days, and delete files left by crashes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days",
            type=float,
            default=settings.MIRAGE_ABANDONED_IMPORT_DAYS,
            help="days without a step or an upload (default: %(default)s)",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")

    def handle(self, *_: Any, **options: Any) -> None:
        if not 0 <= options["days"] <= 36_500:
            raise CommandError(f"--days is {options['days']}; it must lie between 0 and 36,500.")
        done = cleaning.clean_up(
            now=timezone.now(),
            older_than=timedelta(days=options["days"]),
            dry_run=options["dry_run"],
        )
        would = "would be " if options["dry_run"] else ""
        self.stdout.write(
            f"Imports {would}given up: {len(done.imports)}. Folders {would}deleted: {done.folders}."
        )
