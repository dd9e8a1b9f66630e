"""Where what is dear to make is kept for the user's next process. It may be deleted at any time."""

from pathlib import Path

USER_CACHE = Path.home() / ".cache" / "mirage"
