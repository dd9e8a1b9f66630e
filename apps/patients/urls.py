from django.urls import path

from apps.patients import views

app_name = "patients"
urlpatterns = [
    path("", views.cohorts, name="cohorts"),
    path("cohorts/new/", views.create_cohort, name="create-cohort"),
]
