from django.apps import AppConfig


class PatientsConfig(AppConfig):
    """The patients app."""

    name = "apps.patients"
    label = "patients"
    verbose_name = "Patients"
