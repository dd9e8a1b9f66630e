"""`manage.py check` says whether the deployed bundle is fit to answer."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import DatabaseError

from apps.registry.selectors import NONE_DEPLOYED, champion_state


def deployed_bundle(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """No bundle, or no database to ask, is a warning; a missing or changed one is an error."""
    try:
        state = champion_state()
    except DatabaseError:
        hint = "Start the database and run `manage.py migrate`."
        return [checks.Warning("The model registry cannot be read.", hint=hint, id="registry.W001")]
    if state.bundle is None:
        return [checks.Warning(NONE_DEPLOYED, id="registry.W002")]
    return [checks.Error(state.problem, id="registry.E001")] if state.problem else []
