"""The command line: `python -m ml card BUNDLE`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ml.card import BundleError, fingerprint, readable, verify


@dataclass(frozen=True, kw_only=True)
class Card:
    """Check a bundle's files and show its card.

    Attributes:
        bundle: folder of the bundle.
        json: print JSON instead of text.
    """

    bundle: tyro.conf.Positional[Path]
    json: bool = False

    def run(self) -> None:
        """Print the card, or raise if a file is not the one that the card lists."""
        card = verify(self.bundle)
        if self.json:
            entries = json.loads(card.to_json()) | {"fingerprint": fingerprint(self.bundle)}
            print(json.dumps(entries, indent=2))
        else:
            print(readable(card))
            print(f"fingerprint {fingerprint(self.bundle)}")


Command = Annotated[Card, tyro.conf.subcommand("card")]


def main() -> int:
    """Run one command; 2 if the input is at fault, with a sentence that says how to go on."""
    command = tyro.cli(tyro.conf.OmitSubcommandPrefixes[Command], prog="python -m ml")
    try:
        command.run()
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
