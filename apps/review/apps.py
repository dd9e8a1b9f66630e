from django.apps import AppConfig


class ReviewConfig(AppConfig):
    """The review app."""

    name = "apps.review"
    label = "review"
    verbose_name = "Reader studies"
