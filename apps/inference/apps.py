from django.apps import AppConfig


class InferenceConfig(AppConfig):
    """The inference app."""

    name = "apps.inference"
    label = "inference"
    verbose_name = "Inference"
