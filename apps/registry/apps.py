from django.apps import AppConfig
from django.core import checks


class RegistryConfig(AppConfig):
    """The registry app."""

    name = "apps.registry"
    label = "registry"
    verbose_name = "Model registry"

    def ready(self) -> None:
        from apps.registry.checks import deployed_bundle  # noqa: PLC0415 - models are ready now

        checks.register(deployed_bundle, "bundles")
