from django.apps import AppConfig


class PatientsConfig(AppConfig):
    """The patients app."""

    name = "apps.patients"
    label = "patients"
    verbose_name = "Patients"

    def ready(self) -> None:
        from apps.patients import dependents, leftovers  # noqa: PLC0415 - they need the models
        from apps.patients.importing.undoing import ask_before_undoing  # noqa: PLC0415 - as above
        from apps.patients.scans import dependents as scans  # noqa: PLC0415 - as above

        dependents.register(dependents.FindingsAndImports())
        dependents.register(scans.ScansOfPatients())
        dependents.register_search(leftovers.of_imports)
        dependents.register_search(scans.leftovers)
        ask_before_undoing(scans.scans_since)
