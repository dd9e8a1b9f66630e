from django.apps import AppConfig


class InferenceConfig(AppConfig):
    """The inference app."""

    name = "apps.inference"
    label = "inference"
    verbose_name = "Inference"

    def ready(self) -> None:
        from apps.inference.dependents import (  # noqa: PLC0415 - needs models
            RunsAndVolumes,
            leftover_volumes,
        )
        from apps.inference.selectors import predictions_since  # noqa: PLC0415 - as above
        from apps.patients import dependents  # noqa: PLC0415 - as above
        from apps.patients.importing.undoing import ask_before_undoing  # noqa: PLC0415 - as above

        ask_before_undoing(predictions_since)
        dependents.register(RunsAndVolumes())
        dependents.register_search(leftover_volumes)
