from django.urls import path

from apps.registry.views import models

app_name = "registry"
urlpatterns = [path("models/", models.models, name="models")]
