from django.urls import path

from apps.patients.views import (
    cohorts,
    import_columns,
    import_problems,
    imports,
    inputs,
    members,
    settings,
)

app_name = "patients"
urlpatterns = [
    path("", cohorts.cohorts, name="cohorts"),
    path("cohorts/new/", cohorts.create_cohort, name="create-cohort"),
    path("cohorts/archived/", cohorts.archived_cohorts, name="archived-cohorts"),
    path("cohorts/<uuid:cohort_id>/inputs/", inputs.inputs, name="inputs"),
    path("cohorts/<uuid:cohort_id>/inputs/data/", inputs.distributions, name="distributions"),
    path("cohorts/<uuid:cohort_id>/members/", members.members, name="members"),
    path("cohorts/<uuid:cohort_id>/members/add/", members.add_member, name="add-member"),
    path("memberships/<int:membership_id>/role/", members.change_role, name="change-role"),
    path("memberships/<int:membership_id>/remove/", members.remove_member, name="remove-member"),
    path("cohorts/<uuid:cohort_id>/settings/", settings.cohort_settings, name="cohort-settings"),
    path("cohorts/<uuid:cohort_id>/archive/", settings.archive_cohort, name="archive-cohort"),
    path("cohorts/<uuid:cohort_id>/restore/", settings.restore_cohort, name="restore-cohort"),
    path("cohorts/<uuid:cohort_id>/delete/", settings.delete_cohort, name="delete-cohort"),
    path("patients/<uuid:patient_id>/delete/", settings.delete_patient, name="delete-patient"),
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
