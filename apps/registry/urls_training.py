"""Addresses of trainings."""

from django.urls import path

from apps.registry.views import training

TRAININGS = [
    path("training/", training.trainings, name="trainings"),
    path("training/new/", training.request_training, name="request-training"),
    path("training/outlook/", training.training_outlook, name="training-outlook"),
    path("training/<uuid:run_id>/", training.training_run, name="training-run"),
    path("training/<uuid:run_id>/line/", training.training_line, name="training-line"),
    path("training/<uuid:run_id>/events/", training.training_events, name="training-events"),
    path(
        "training/<uuid:run_id>/examples/<int:seq>/",
        training.training_example,
        name="training-example",
    ),
    path("training/<uuid:run_id>/cancel/", training.cancel_training, name="cancel-training"),
    path("training/<uuid:run_id>/resume/", training.resume_training, name="resume-training"),
    path("training/<uuid:run_id>/drop/", training.drop_training, name="drop-training"),
]
