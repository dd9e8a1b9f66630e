"""Dates as files write them, and what may follow from them."""

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Iterable

_ISO = re.compile(r"(\d{4})-(\d{1,2})(?:-(\d{1,2}))?(?:[T ](.+))?")
_PARTS = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:[ T].*)?")
_YEAR_FIRST = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?:[ T].*)?")
_COMPACT = re.compile(r"(19\d\d|20\d\d)(\d\d)(\d\d)")
_YEAR = re.compile(r"(19\d\d|20\d\d)")
EARLIEST_YEAR = 1880
EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
MONTH = dt.timedelta(days=30.4375)
NO_DAY = "It is not a date of the calendar. Write dates as 2024-02-29."
NO_VISIT = "It is no visit. Write months as 6 or m06, the first visit as bl."
_BASELINE = {"bl", "sc", "scmri", "baseline", "screening", "init"}
_VISIT = re.compile(r"m?\s*(\d{1,5}(?:\.\d+)?)", re.ASCII)
YEAR_DAYS = 365.2425


def parse(text: str, *, month_first: bool = False) -> dt.datetime | None:
    """A date or a moment, in UTC where it names no zone; None if it is none of the calendar.

    >>> parse("31/02/2024"), parse("2024-02-29").date().isoformat()
    (None, '2024-02-29')
    >>> parse("03/04/2024").month, parse("03/04/2024", month_first=True).month
    (4, 3)
    """
    text = text.strip()
    if len(text) > 40:
        return None
    try:
        if match := _ISO.fullmatch(text):
            return _iso(match)
        if match := _PARTS.fullmatch(text):
            one, two, year = map(int, match.groups())
            month, day = (one, two) if month_first else (two, one)
            return _day(year, month, day)
        if match := _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text):
            return _day(*map(int, match.groups()))
        if match := _YEAR.fullmatch(text):
            return _day(int(match[1]), 7, 1)
    except ValueError:
        return None
    return None


def counted(text: str, unit: dt.timedelta) -> dt.datetime | None:
    """A visit that is counted from the first one, on a calendar that begins at EPOCH.

    >>> counted("bl", MONTH) == EPOCH, counted("m12", MONTH).year, counted("x", MONTH)
    (True, 2001, None)
    """
    word = text.strip().casefold().replace(",", ".")
    if word in _BASELINE:
        return EPOCH
    match = _VISIT.fullmatch(word)
    return EPOCH + float(match[1]) * unit if match else None


def is_month_first(texts: Iterable[str]) -> bool:
    """Whether dates with slashes must be read month first: some second part is over 12."""
    firsts, seconds = 0, 0
    for text in texts:
        if match := _PARTS.fullmatch(text.strip()):
            firsts = max(firsts, int(match[1]))
            seconds = max(seconds, int(match[2]))
    return seconds > 12 and firsts <= 12


def shift_of(person: str, key: str) -> dt.timedelta:
    """How far all dates of one person are moved into the past: 1 to 365 days, by a keyed hash.

    The same for every file of an installation, so that order and intervals stay as they were
    while no stored day is a day on which something happened (as MIMIC and All of Us do it).
    """
    digest = hmac.new(key.encode(), f"dates:{person}".encode(), hashlib.sha256).digest()
    seconds = 86_400 + int.from_bytes(digest[:6]) % (364 * 86_400)
    return dt.timedelta(seconds=seconds)


def years_between(earlier: dt.datetime, later: dt.datetime) -> float:
    """Age in years, to a tenth."""
    return round((later - earlier).total_seconds() / 86_400 / YEAR_DAYS, 1)


def _iso(match: re.Match[str]) -> dt.datetime:
    year, month, day, clock = match.groups()
    if clock is None:
        return _day(int(year), int(month), int(day or 1))
    moment = dt.datetime.fromisoformat(f"{year}-{month:0>2}-{day or '01':0>2}T{clock}")
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    _day(moment.year, moment.month, moment.day)
    return moment.astimezone(dt.UTC)


def _day(year: int, month: int, day: int) -> dt.datetime:
    if year < EARLIEST_YEAR:
        raise ValueError("before anybody alive was born")
    return dt.datetime(year, month, day, tzinfo=dt.UTC)
