from django.urls import path

from apps.inference.views import (
    cohorts,
    explanations,
    exports,
    patients,
    pseudo_mris,
    reports,
    runs,
    shadows,
    what_ifs,
)

app_name = "inference"
urlpatterns = [
    path("cohorts/<uuid:cohort_id>/", cohorts.cohort, name="cohort"),
    path("cohorts/<uuid:cohort_id>/performance/", cohorts.performance, name="performance"),
    path("cohorts/<uuid:cohort_id>/run/", runs.request_cohort_run, name="request-cohort-run"),
    path(
        "cohorts/<uuid:cohort_id>/pseudo-mris/",
        pseudo_mris.cohort_pseudo_mris,
        name="cohort-pseudo-mris",
    ),
    path(
        "cohorts/<uuid:cohort_id>/pseudo-mris/request/",
        pseudo_mris.request_cohort_pseudo_mris,
        name="request-cohort-pseudo-mris",
    ),
    path(
        "cohorts/<uuid:cohort_id>/pseudo-mris/cancel/",
        pseudo_mris.cancel_cohort_pseudo_mris,
        name="cancel-cohort-pseudo-mris",
    ),
    path("cohorts/<uuid:cohort_id>/export/", exports.export, name="export"),
    path("cohorts/<uuid:cohort_id>/export/file/", exports.export_file, name="export-file"),
    path("patients/<uuid:patient_id>/", patients.patient, name="patient"),
    path("patients/<uuid:patient_id>/run/", runs.request_patient_run, name="request-patient-run"),
    path(
        "patients/<uuid:patient_id>/pseudo-mri/",
        pseudo_mris.request_pseudo_mri,
        name="request-pseudo-mri",
    ),
    path(
        "patients/<uuid:patient_id>/explanation/",
        explanations.request_explanation,
        name="request-explanation",
    ),
    path("patients/<uuid:patient_id>/what-if/", what_ifs.request_what_if, name="request-what-if"),
    path("patients/<uuid:patient_id>/what-if/field/", what_ifs.what_if_field, name="what-if-field"),
    path("patients/<uuid:patient_id>/report.pdf", reports.report, name="report"),
    path(
        "patients/<uuid:patient_id>/risk-assessment.json",
        reports.risk_assessment,
        name="risk-assessment",
    ),
    path("explanations/<uuid:explanation_id>/", explanations.explanation, name="explanation"),
    path(
        "explanations/<uuid:explanation_id>/cancel/",
        explanations.cancel_explanation,
        name="cancel-explanation",
    ),
    path(
        "explanations/<uuid:explanation_id>/retry/",
        explanations.retry_explanation,
        name="retry-explanation",
    ),
    path("what-ifs/<uuid:what_if_id>/", what_ifs.what_if, name="what-if"),
    path("runs/<uuid:run_id>/", runs.run, name="run"),
    path("runs/<uuid:run_id>/cancel/", runs.cancel_run, name="cancel-run"),
    path("runs/<uuid:run_id>/retry/", runs.retry_run, name="retry-run"),
    path("models/<int:bundle_id>/shadow/", shadows.shadow, name="shadow"),
    path("models/<int:bundle_id>/shadow.json", shadows.figures, name="shadow-figures"),
    path("queue/", runs.queue, name="queue"),
    path("pseudo-mris/<uuid:pseudo_mri_id>/", pseudo_mris.pseudo_mri, name="pseudo-mri"),
    path(
        "pseudo-mris/<uuid:pseudo_mri_id>/cancel/",
        pseudo_mris.cancel_pseudo_mri,
        name="cancel-pseudo-mri",
    ),
    path(
        "pseudo-mris/<uuid:pseudo_mri_id>/retry/",
        pseudo_mris.retry_pseudo_mri,
        name="retry-pseudo-mri",
    ),
    path("bundles/<int:bundle_id>/mean.nii", pseudo_mris.mean_volume, name="mean-volume"),
    path(
        "pseudo-mris/<uuid:pseudo_mri_id>/volume.nii", pseudo_mris.volume, name="pseudo-mri-volume"
    ),
    path(
        "pseudo-mris/<uuid:pseudo_mri_id>/mosaic.png", pseudo_mris.mosaic, name="pseudo-mri-mosaic"
    ),
]
