from django.urls import URLPattern, path

from apps.review.views import reading, worklist

app_name = "review"
MANAGER: list[URLPattern] = []  # setting a study up
READER: list[URLPattern] = [  # reading it
    path("reading/", worklist.worklist, name="worklist"),
    path("reading/study/<int:study_id>/", worklist.my_readings, name="my-readings"),
    path("reading/study/<int:study_id>/pause/", worklist.pause, name="pause"),
    path("reading/<str:token>/", reading.reading, name="reading"),
    path("reading/<str:token>/case.nii", reading.case_volume, name="case-volume"),
    path("reading/<str:token>/case.png", reading.case_picture, name="case-picture"),
    path("reading/<str:token>/save/", reading.save, name="save"),
    path("reading/<str:token>/submit/", reading.submit, name="submit"),
    path("reading/<str:token>/amend/", reading.amend, name="amend"),
]
RESULTS: list[URLPattern] = []  # after the readings
urlpatterns = [*MANAGER, *READER, *RESULTS]
