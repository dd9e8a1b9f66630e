from django.urls import path

from apps.patients.views import cohorts, imports

app_name = "patients"
urlpatterns = [
    path("", cohorts.cohorts, name="cohorts"),
    path("cohorts/new/", cohorts.create_cohort, name="create-cohort"),
    path("cohorts/<uuid:cohort_id>/import/", imports.start_import, name="start-import"),
    path("imports/<uuid:import_id>/", imports.ehr_import, name="import"),
]
