"""Addresses of versions, holdouts, gate checks and what is signed."""

from django.urls import URLPattern, path

from apps.registry.views import gates, models, signing

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
    path("models/<int:bundle_id>/", models.version, name="version"),
    path("models/<int:bundle_id>/note/", models.add_note, name="add-note"),
    path("models/<int:bundle_id>/file/", models.download, name="download"),
    path("models/<int:bundle_id>/gates/", gates.request_gate_check, name="request-gate-check"),
    path("models/<int:bundle_id>/sign/<str:act>/", signing.sign_act, name="sign"),
]
