"""Addresses of versions, holdouts, gate checks, evaluations and what is signed."""

from django.urls import URLPattern, path

from apps.registry.views import evaluations, gates, models, signing

MODELS: list[URLPattern] = [
    path("models/", models.models, name="models"),
    path("models/figures.json", models.figures, name="figures"),
    path("models/deployments/", models.deployments, name="deployments"),
    path("models/compare/", models.compare, name="compare"),
    path("models/import/", models.import_bundle, name="import-bundle"),
    path("models/holdouts/", gates.holdouts, name="holdouts"),
    path("models/holdouts/<uuid:holdout_id>/retire/", gates.retire_holdout, name="retire-holdout"),
    path("models/holdouts/<uuid:holdout_id>/cancel/", gates.cancel_holdout, name="cancel-holdout"),
    path("models/holdouts/<uuid:holdout_id>/retry/", gates.retry_holdout, name="retry-holdout"),
    path("models/gates/<uuid:check_id>/", gates.gate_check, name="gate-check"),
    path("models/gates/<uuid:check_id>/cancel/", gates.cancel_gate_check, name="cancel-gate-check"),
    path("models/gates/<uuid:check_id>/retry/", gates.retry_gate_check, name="retry-gate-check"),
    path("models/evaluations/<uuid:evaluation_id>/", evaluations.evaluation, name="evaluation"),
    path(
        "models/evaluations/<uuid:evaluation_id>/cancel/",
        evaluations.cancel_evaluation,
        name="cancel-evaluation",
    ),
    path(
        "models/evaluations/<uuid:evaluation_id>/retry/",
        evaluations.retry_evaluation,
        name="retry-evaluation",
    ),
    path(
        "models/evaluations/<uuid:evaluation_id>/report.zip",
        evaluations.report,
        name="evaluation-report",
    ),
    path(
        "models/evaluations/<uuid:evaluation_id>/report.json",
        evaluations.report_figures,
        name="evaluation-figures",
    ),
    path("models/<int:bundle_id>/", models.version, name="version"),
    path("models/<int:bundle_id>/note/", models.add_note, name="add-note"),
    path("models/<int:bundle_id>/file/", models.download, name="download"),
    path("models/<int:bundle_id>/gates/", gates.request_gate_check, name="request-gate-check"),
    path(
        "models/<int:bundle_id>/evaluations/",
        evaluations.request_evaluation,
        name="request-evaluation",
    ),
    path("models/<int:bundle_id>/sign/<str:act>/", signing.sign_act, name="sign"),
]
