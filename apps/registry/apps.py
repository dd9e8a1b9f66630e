from django.apps import AppConfig
from django.core import checks


class RegistryConfig(AppConfig):
    """The registry app."""

    name = "apps.registry"
    label = "registry"
    verbose_name = "Model registry"

    def ready(self) -> None:
        from apps.patients import dependents  # noqa: PLC0415 - models are ready now
        from apps.registry.checks import deployed_bundle  # noqa: PLC0415 - as above
        from apps.registry.gates.holdouts import Holdouts, leftover_holdouts  # noqa: PLC0415
        from apps.registry.training.dependents import (  # noqa: PLC0415 - as above
            Trainings,
            leftover_trainings,
        )

        dependents.register(Holdouts())
        dependents.register(Trainings())
        dependents.register_search(leftover_trainings)
        dependents.register_search(leftover_holdouts)
        checks.register(deployed_bundle, "bundles")
