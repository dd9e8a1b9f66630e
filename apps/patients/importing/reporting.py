"""What did not enter, in sentences for the page and the command."""

from collections import Counter
from collections.abc import Sequence

from apps.patients.importing.plan import ColumnPlan, Role
from apps.patients.importing.reading import Tally

_SKIPPED = {
    "free text": "{n:,} free texts under codes that are not known",
    "said twice": "{n:,} entries that say again what another says",
    "childhood": "{n:,} values measured in childhood, for which our ranges are not made",
    "not_done": "{n:,} entries whose status says that they are no facts",
    "ignored": "{n:,} entries that you chose to ignore",
    "undecided": "{n:,} entries that nobody has decided on",
}


def dropped_sentences(columns: Sequence[ColumnPlan], tally: Tally) -> list[str]:
    """What was left at the door.

    Names and kinds of columns, numbers of dates and ages: never a value.
    """
    kinds = Counter(c.hint for c in columns if c.role is Role.DROPPED)
    said = [
        f"{kind.capitalize()}: {count} column{'' if count == 1 else 's'}"
        for kind, count in kinds.items()
    ]
    if any(c.role is Role.BIRTH for c in columns):
        said.append("Birth dates: they became ages")
    if tally.dates:
        said.append(
            f"The day of {tally.dates:,} dates: each patient's dates are moved by one secret "
            "number of days"
        )
    if tally.aged:
        said.append(f"{tally.aged:,} age{'' if tally.aged == 1 else 's'} over 89 stored as 90")
    said += [
        _SKIPPED[reason].format(n=count)
        for reason, count in tally.skipped.items()
        if reason in _SKIPPED
    ]
    patient = next((c.header for c in columns if c.role is Role.PATIENT), "")
    if patient:
        said.append(f"{patient} became a keyed hash; the original is not stored")
    return said
