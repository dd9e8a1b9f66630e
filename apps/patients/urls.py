from django.urls import path

from apps.patients.views import cohorts, import_columns, import_problems, imports

app_name = "patients"
urlpatterns = [
    path("", cohorts.cohorts, name="cohorts"),
    path("cohorts/new/", cohorts.create_cohort, name="create-cohort"),
    path("cohorts/<uuid:cohort_id>/import/", imports.start_import, name="start-import"),
    path("imports/<uuid:import_id>/", imports.ehr_import, name="import"),
    path("imports/<uuid:import_id>/status/", imports.import_status, name="import-status"),
    path("imports/<uuid:import_id>/cancel/", imports.cancel_import, name="cancel-import"),
    path("imports/<uuid:import_id>/retry/", imports.retry_import, name="retry-import"),
    path("imports/<uuid:import_id>/undo/", imports.undo_import, name="undo-import"),
    path("imports/<uuid:import_id>/sheet/", imports.read_sheet, name="read-sheet"),
    path("imports/<uuid:import_id>/columns/", import_columns.columns, name="import-columns"),
    path(
        "imports/<uuid:import_id>/columns/<int:number>/",
        import_columns.column,
        name="import-column",
    ),
    path("imports/<uuid:import_id>/columns/rest/", import_columns.decide_rest, name="decide-rest"),
    path("imports/<uuid:import_id>/template/", import_columns.use_template, name="use-template"),
    path("imports/<uuid:import_id>/check/", import_columns.check_import, name="check-import"),
    path("imports/<uuid:import_id>/problems/", import_problems.problems, name="import-problems"),
    path(
        "imports/<uuid:import_id>/errors/",
        import_problems.file_with_errors,
        name="file-with-errors",
    ),
    path("imports/<uuid:import_id>/commit/", import_problems.commit_import, name="commit-import"),
]
