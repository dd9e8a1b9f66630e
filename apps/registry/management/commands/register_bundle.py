"""manage.py register_bundle FOLDER [--deploy]"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.registry import services


class Command(BaseCommand):
    help = "Check a model bundle, keep a copy of it and, with --deploy, let it answer."
    requires_system_checks = []  # the checks complain about the very bundle this replaces

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="folder with card.json and *.safetensors")
        parser.add_argument("--deploy", action="store_true", help="let it answer from now on")
        parser.add_argument("--reason", default="Deployed from the command line.")
        parser.add_argument(
            "--despite-failed-gates",
            metavar="REASON",
            default="",
            help="why it may answer although a gate in its card failed; kept with the deployment",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            bundle = services.register_bundle(folder=options["folder"], now=timezone.now())
        except services.UnfitBundleError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Registered {bundle} ({bundle.fingerprint[:12]}).")
        if options["deploy"]:
            try:
                services.deploy(
                    bundle=bundle,
                    deployed_by=None,
                    now=timezone.now(),
                    reason=options["reason"],
                    despite=options["despite_failed_gates"],
                )
            except services.GateFailedError as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{bundle} answers from now on.")
