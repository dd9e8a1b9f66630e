from django.apps import AppConfig


class ReviewConfig(AppConfig):
    """The review app."""

    name = "apps.review"
    label = "review"
    verbose_name = "Reader studies"

    def ready(self) -> None:
        from apps.patients import dependents  # noqa: PLC0415 - needs models
        from apps.review.dependents import StudyCopies, leftover_copies  # noqa: PLC0415 - as above

        dependents.register(StudyCopies())
        dependents.register_search(leftover_copies)
