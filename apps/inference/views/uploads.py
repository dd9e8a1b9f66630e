"""Upload of an EHR file: all of its rows are stored, or none."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.staticfiles import finders
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.inference import services
from apps.inference.forms import UploadForm
from apps.patients.models import Cohort
from apps.patients.services import EhrFileError
from ml.concepts import Concept, dictionary
from ml.data.columns import Problem, Severity

PROBLEMS_SHOWN = 200
SAMPLES = {
    "sample-50-patients.csv": "50 patients, columns by concept",
    "sample-50-patients-adni.csv": "The same 50, columns as ADNI names them",
    "sample-with-errors.csv": "One of each common mistake",
}
KINDS = {
    "out_of_range": ("value out of range", "values out of range"),
    "not_a_number": ("cell that is not a number", "cells that are not a number"),
    "not_finite": ("number that is not finite", "numbers that are not finite"),
    "text_in_number": ("number with text in it", "numbers with text in them"),
    "level": ("value that is none of the levels", "values that are none of the levels"),
    "word": ("word that is not known", "words that are not known"),
    "code": ("code that is not known", "codes that are not known"),
    "date": ("date where a number belongs", "dates where a number belongs"),
    "comma": ("number with a comma", "numbers with a comma"),
    "bound": ("comparison in place of a number", "comparisons in place of a number"),
    "unit": ("value in another unit", "values in another unit"),
    "formula": ("cell that is a formula", "cells that are a formula"),
    "contradiction": ("contradiction within a row", "contradictions within a row"),
    "doubled_patient": ("patient who is there twice", "patients who are there twice"),
    "no_patient": ("row without a patient", "rows without a patient"),
    "doubled_column": ("column that is there twice", "columns that are there twice"),
    "unknown_column": ("column that is not known", "columns that are not known"),
    "unnamed_column": ("column without a name", "columns without a name"),
    "no_patient_column": ("column is missing: patient", "columns are missing: patient"),
    "wrong_number_of_cells": ("row of another length", "rows of another length"),
    "header_only": ("thing is missing: the rows", "things are missing: the rows"),
    "empty": ("thing is missing: the content", "things are missing: the content"),
    "encoding": ("place that is not text", "places that are not text"),
    "file_type": ("thing is wrong: the kind of file", "things are wrong: the kind of file"),
    "too_many_rows": ("limit exceeded: patients", "limits exceeded: patients"),
    "too_many_columns": ("limit exceeded: columns", "limits exceeded: columns"),
    "file_too_large": ("limit exceeded: size", "limits exceeded: size"),
}


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Offer the upload; with a file, store it and score its patients, or say what is wrong."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    if not Cohort.objects.editable_by(request.user).filter(pk=cohort.pk).exists():
        raise PermissionDenied
    if request.method != "POST":
        return _form(request, cohort, UploadForm())
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _form(request, cohort, form, status=422)
    file = form.cleaned_data["file"]
    try:
        result = services.upload_and_run(
            cohort=cohort, file=file, requested_by=request.user, now=timezone.now()
        )
    except EhrFileError as error:
        return _problems(request, cohort, file.name, error)
    except MirageError as error:
        form.add_error("file", str(error))
        return _form(request, cohort, form, status=422)
    messages.success(request, str(result))
    return redirect("inference:cohort", cohort.pk)


def _form(
    request: SignedInRequest, cohort: Cohort, form: UploadForm, status: int = 200
) -> HttpResponse:
    concepts = sorted(dictionary().values(), key=lambda concept: not concept.in_schema)
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "form": form,
        "samples": [
            {"path": f"samples/{name}", "name": name, "words": words}
            for name, words in SAMPLES.items()
            if finders.find(f"samples/{name}")
        ],
        "groups": [(name, list(group)) for name, group in groupby(concepts, key=_heading)],
        "most_rows": settings.MIRAGE_MAX_UPLOAD_ROWS,
        "most_mb": settings.MIRAGE_MAX_UPLOAD_BYTES // 2**20,
    }
    return render(request, "inference/upload.html", context, status=status)


def _heading(concept: Concept) -> str:
    return concept.group


def _problems(
    request: SignedInRequest, cohort: Cohort, file_name: str, error: EhrFileError
) -> HttpResponse:
    errors = [problem for problem in error.problems if problem.severity is Severity.ERROR]
    notices = [problem for problem in error.problems if problem.severity is not Severity.ERROR]
    shown = errors[:PROBLEMS_SHOWN]
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "file_name": file_name,
        "count": len(errors),
        "kinds": [
            {"words": kind_words(code, count), "anchor": code}
            for code, count in Counter(problem.code for problem in errors).most_common()
        ],
        "problems": list(zip(shown, _anchors(shown), strict=True)),
        "notices": notices[:PROBLEMS_SHOWN],
        "form": UploadForm(),
    }
    return render(request, "inference/upload_problems.html", context, status=422)


def kind_words(code: str, count: int) -> str:
    """How many problems of a kind there are, in words."""
    one, many = KINDS.get(code, (f"problem: {code}", f"problems: {code}"))
    return f"{count:,} {one if count == 1 else many}".replace("_", " ")


def _anchors(problems: Sequence[Problem]) -> list[str]:
    """The code of each kind at its first row, so that the summary can lead there."""
    first = {problem.code: place for place, problem in reversed(list(enumerate(problems)))}
    return [p.code if first[p.code] == place else "" for place, p in enumerate(problems)]
