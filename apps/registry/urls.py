from apps.registry.urls_models import MODELS

app_name = "registry"
urlpatterns = [*MODELS]
