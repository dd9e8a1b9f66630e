from django.urls import URLPattern, path

from apps.review.views import (
    log,
    manager,
    manager_cases,
    manager_opening,
    manager_protocol,
    reading,
    results,
    signing,
    worklist,
)

app_name = "review"
MANAGER: list[URLPattern] = [  # setting a study up
    path("studies/", manager.studies, name="studies"),
    path("studies/create/", manager.create_study, name="create-study"),
    path("studies/<int:study_id>/", manager.study, name="study"),
    path("studies/<int:study_id>/delete/", manager.delete_draft, name="delete-draft"),
    path("studies/<int:study_id>/protocol/", manager_protocol.protocol, name="protocol"),
    path("studies/<int:study_id>/protocol/power/", manager_protocol.power, name="power"),
    path("studies/<int:study_id>/cases/", manager_cases.cases, name="cases"),
    path("studies/<int:study_id>/readers/", manager_cases.readers, name="readers"),
    path(
        "studies/<int:study_id>/readers/<int:number>/remove/",
        manager_cases.remove_reader,
        name="remove-reader",
    ),
    path("studies/<int:study_id>/open/", manager_opening.open_study, name="open-study"),
    path("studies/<int:study_id>/freeze/", manager_opening.freeze, name="freeze"),
    path("studies/<int:study_id>/freeze/retry/", manager_opening.retry_freeze, name="retry-freeze"),
    path("studies/<int:study_id>/draft/", manager_opening.return_to_draft, name="return-to-draft"),
]
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
RESULTS: list[URLPattern] = [  # after the readings
    path("studies/<int:study_id>/sign/<str:act>/", signing.sign_act, name="sign"),
    path("studies/<int:study_id>/export/<str:kind>/", signing.export, name="export"),
    path("studies/<int:study_id>/statistics/", results.statistics, name="statistics"),
    path("studies/<int:study_id>/statistics/figures.json", results.figures, name="figures"),
    path("studies/<int:study_id>/analyse/", results.request_analysis, name="request-analysis"),
    path("studies/<int:study_id>/log/", log.log, name="log"),
    path("studies/analyses/<uuid:analysis_id>/", results.analysis, name="analysis"),
    path(
        "studies/analyses/<uuid:analysis_id>/cancel/",
        results.cancel_analysis,
        name="cancel-analysis",
    ),
    path(
        "studies/analyses/<uuid:analysis_id>/retry/", results.retry_analysis, name="retry-analysis"
    ),
]
urlpatterns = [*MANAGER, *READER, *RESULTS]
