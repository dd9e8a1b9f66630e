"""What every page shows around its content, read from the database only where it is shown."""

import tomllib
from functools import cache, cached_property

from django.conf import settings
from django.http import HttpRequest

from apps.jobs.selectors import alive_workers, unserved_queues
from apps.registry.models import Bundle
from apps.registry.selectors import ChampionState, champion_state


@cache
def version() -> str:
    """Our version, from where it is written: the code is served from its own checkout."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    return str(project["project"]["version"])


class Site:
    """This installation: its version, the model in use, the workers."""

    @property
    def version(self) -> str:
        return version()

    @cached_property
    def _champion(self) -> ChampionState:
        return champion_state()

    @property
    def bundle(self) -> Bundle | None:
        return self._champion.bundle

    @property
    def bundle_problem(self) -> str:
        return self._champion.problem

    @cached_property
    def unserved_queues(self) -> set[str]:
        return unserved_queues()

    @cached_property
    def workers_said(self) -> str:
        alive = alive_workers().count()
        return f"{alive} worker{'' if alive == 1 else 's'} alive" if alive else "no worker alive"


def site(request: HttpRequest) -> dict[str, object]:
    return {"site": Site()}
