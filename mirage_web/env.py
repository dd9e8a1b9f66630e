"""Environment variables, read once and loudly: a wrong value stops the program with a sentence."""

import os
import secrets
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off", ""}


def text(name: str, *, default: str | None = None) -> str:
    """The value of a variable; without a default it must be set."""
    value = os.environ.get(name, "").strip() or default
    if value is None:
        raise ImproperlyConfigured(
            f"The environment variable {name} must be set. See .env.example."
        )
    return value


def words(name: str, *, default: tuple[str, ...] | None = None) -> list[str]:
    """A comma-separated list."""
    joined = text(name, default=None if default is None else ",".join(default))
    return [word.strip() for word in joined.split(",") if word.strip()]


def boolean(name: str, *, default: bool) -> bool:
    value = os.environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in _YES | _NO:
        return value.strip().lower() in _YES
    raise ImproperlyConfigured(f"{name} is {value!r}; it must be 1 (yes) or 0 (no).")


def number(name: str, *, default: float, low: float, high: float) -> float:
    value = text(name, default=str(default))
    try:
        parsed = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a number.") from None
    if not low <= parsed <= high:
        raise ImproperlyConfigured(f"{name} is {value}; it must be from {low:g} to {high:g}.")
    return parsed


def choice(name: str, *, default: str, of: tuple[str, ...]) -> str:
    value = text(name, default=default)
    if value not in of:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be {' or '.join(of)}.")
    return value


def folder(name: str, *, default: Path) -> Path:
    return Path(text(name, default=str(default))).expanduser().resolve()


def database(name: str) -> dict[str, object]:
    """Django's settings for `postgresql://user:password@host:port/name?host=/socket/folder`."""
    url = urlsplit(text(name))
    if url.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured(
            f"{name} starts with {url.scheme!r}; MIRAGE runs on PostgreSQL alone: postgresql://..."
        )
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    return {
        "NAME": unquote(url.path.lstrip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": query.pop("host", url.hostname or ""),
        "PORT": str(url.port or ""),
        "OPTIONS": query,
    }


def secret(name: str, *, kept_in: Path | None) -> str:
    """A secret from the environment, or one made at the first start and kept in a private file.

    Args:
        name: the variable, which wins.
        kept_in: file of the generated secret; None where the variable must be set (production).
    """
    if kept_in is None or os.environ.get(name, "").strip():
        return text(name)
    try:
        return kept_in.read_text().strip()
    except FileNotFoundError:
        return _make_secret(kept_in)


def _make_secret(path: Path) -> str:
    """Write a new secret; if two processes start at once, both end up with the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(64))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first; its secret is the one
    finally:
        draft.unlink()
    return path.read_text().strip()
