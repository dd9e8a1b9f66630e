from django.urls import URLPattern

app_name = "review"
MANAGER: list[URLPattern] = []  # setting a study up
READER: list[URLPattern] = []  # reading it
RESULTS: list[URLPattern] = []  # after the readings
urlpatterns = [*MANAGER, *READER, *RESULTS]
