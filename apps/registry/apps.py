from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_delete


class RegistryConfig(AppConfig):
    """The registry app."""

    name = "apps.registry"
    label = "registry"
    verbose_name = "Model registry"

    def ready(self) -> None:
        from apps.patients import dependents  # noqa: PLC0415 - models are ready now
        from apps.registry.checks import deployed_bundle  # noqa: PLC0415 - as above
        from apps.registry.evaluations.reports import (  # noqa: PLC0415 - as above
            forget_report,
            leftover_reports,
        )
        from apps.registry.gates.holdouts import Holdouts, leftover_holdouts  # noqa: PLC0415
        from apps.registry.models import Evaluation  # noqa: PLC0415 - as above
        from apps.registry.training.dependents import (  # noqa: PLC0415 - as above
            Trainings,
            leftover_trainings,
        )

        dependents.register(Holdouts())
        dependents.register(Trainings())
        dependents.register_search(leftover_trainings)
        dependents.register_search(leftover_holdouts)
        dependents.register_search(leftover_reports)
        post_delete.connect(forget_report, sender=Evaluation)
        checks.register(deployed_bundle, "bundles")
