from apps.registry.urls_models import MODELS
from apps.registry.urls_training import TRAININGS

app_name = "registry"
urlpatterns = [*MODELS, *TRAININGS]
