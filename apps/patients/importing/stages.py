"""Where an import stands, and how it gets from one stage to the next."""

from collections.abc import Mapping

from django.db import models


class Stage(models.TextChoices):
    """Where an import stands."""

    ANALYSING = "analysing", "Reading the file"
    MAPPING = "mapping", "Columns"
    CHECKING = "checking", "Checking the rows"
    CHECKED = "checked", "Problems"
    COMMITTING = "committing", "Importing"
    COMMITTED = "committed", "Imported"
    UNDOING = "undoing", "Undoing"
    UNDONE = "undone", "Undone"
    CANCELLED = "cancelled", "Cancelled"


STAGES: Mapping[tuple[Stage, Stage], str] = {
    (Stage.ANALYSING, Stage.MAPPING): "the worker has read the file",
    (Stage.MAPPING, Stage.CHECKING): "a user has decided the columns",
    (Stage.CHECKING, Stage.CHECKED): "the worker has read every row",
    (Stage.CHECKING, Stage.MAPPING): "the check has failed and a user changes a column",
    (Stage.CHECKED, Stage.MAPPING): "a user changes a column",
    (Stage.CHECKED, Stage.COMMITTING): "a user asks for the rows to be stored",
    (Stage.COMMITTING, Stage.COMMITTED): "the worker has stored them, all at once",
    (Stage.COMMITTED, Stage.UNDOING): "a user takes the import back",
    (Stage.UNDOING, Stage.UNDONE): "the worker has removed what it stored",
    **{
        (stage, Stage.CANCELLED): "a user cancels it; the file is deleted"
        for stage in (
            Stage.ANALYSING,
            Stage.MAPPING,
            Stage.CHECKING,
            Stage.CHECKED,
            Stage.COMMITTING,
        )
    },
}
OPEN_STAGES = frozenset(before for before, after in STAGES if after is Stage.CANCELLED)
