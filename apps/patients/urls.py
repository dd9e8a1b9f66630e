from django.urls import path

from apps.patients.views import cohorts

app_name = "patients"
urlpatterns = [
    path("", cohorts.cohorts, name="cohorts"),
    path("cohorts/new/", cohorts.create_cohort, name="create-cohort"),
]
