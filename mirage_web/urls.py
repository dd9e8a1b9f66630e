from django.urls import include, path

from mirage_web import health

urlpatterns = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("", include("apps.accounts.urls")),
    path("", include("apps.patients.urls")),
    path("", include("apps.inference.urls")),
    path("", include("apps.registry.urls")),
    path("", include("apps.review.urls")),
]
