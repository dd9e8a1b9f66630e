from django.apps import AppConfig


class PatientsConfig(AppConfig):
    """The patients app."""

    name = "apps.patients"
    label = "patients"
    verbose_name = "Patients"

    def ready(self) -> None:
        from apps.patients import dependents, leftovers  # noqa: PLC0415 - they need the models

        dependents.register(dependents.FindingsAndImports())
        dependents.register_search(leftovers.of_imports)
