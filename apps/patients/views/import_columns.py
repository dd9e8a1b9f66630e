"""What each column of a file becomes: suggested, looked at, decided by a person."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.patients.importing import codes, services
from apps.patients.importing.plan import By, Role
from apps.patients.importing.presenting import (
    ColumnView,
    ConceptChoice,
    MappingView,
    TemplateView,
)
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, MappingTemplate
from apps.patients.views.import_frame import COLUMNS, editable_import, page_of
from ml.concepts import dictionary

COLUMNS_PER_GROUP = 50
COLUMNS_PER_PAGE = 100
CHOICES_SHOWN = 40
UNDECIDED_LISTED = 10
SCORES = (0.5, 0.4, 0.3, 0.2)
GROUPS = {
    "to_decide": ("To decide", ""),
    "near_label": (
        "Near the label",
        "close copies of what is predicted. Stored, shown on the patient's page, not used for "
        "prediction.",
    ),
    "matched": ("Matched", ""),
    "ignored": ("Ignored", "not stored"),
    "dropped": ("Dropped at the door", "identifies people or is free text; never enters"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A column of the file on the page.

    Attributes:
        number: its place in the file, from 0.
        column: what is known of it and what becomes of it.
        refusal: why the decision just asked for cannot be had.
    """

    number: int
    column: ColumnView
    refusal: str = ""

    @property
    def concepts(self) -> list[tuple[str, str, float | None]]:
        """What can be chosen in the line: the suggestion, then the alternatives."""
        column = self.column
        suggested = [(column.concept, column.concept_label, column.score)] if column.concept else []
        others = [other for other in column.alternatives if other[0] != column.concept]
        return [*suggested, *others]

    @property
    def has_choice(self) -> bool:
        """Whether there is more to choose from than one suggestion."""
        return len(self.concepts) > bool(self.column.concept)

    @property
    def may_change(self) -> bool:
        return self.column.role is not Role.PATIENT


@dataclass(frozen=True, slots=True)
class Group:
    """Columns under one heading, as many as the page shows."""

    name: str
    title: str
    words: str
    count: int
    lines: Sequence[Line]


@require_safe
def columns(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """All columns of the file, those to decide first."""
    found = editable_import(request, import_id)
    if not _may_be_mapped(found):
        return redirect("patients:import", found.pk)
    return _columns_page(request, found)


@require_http_methods(["GET", "HEAD", "POST"])
def column(request: SignedInRequest, import_id: UUID, number: int) -> HttpResponse:
    """Decide one column, by the buttons of its line or on a page of its own."""
    found = editable_import(request, import_id)
    if not _may_be_mapped(found):
        return redirect("patients:import", found.pk)
    view = services.mapping_of(ehr_import=found)
    if number >= len(view.columns):
        raise Http404
    line = Line(number, view.columns[number])
    if request.method != "POST":
        return _column_page(request, found, line)
    try:
        _decide(request, found, line)
    except MirageError as error:
        return _columns_page(request, found, refused={number: str(error)})
    return redirect(_place_of(request, found, number))


@require_POST
def decide_rest(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Accept every suggestion from a score up, or ignore whatever is still undecided."""
    found = editable_import(request, import_id)
    if not _may_be_mapped(found):
        return redirect("patients:import", found.pk)
    undecided = services.mapping_of(ehr_import=found).group("to_decide")
    if request.POST.get("action") == "ignore":
        action, meant = "ignore", undecided
    else:
        least = _score(request.POST.get("least", ""))
        action = "accept"
        meant = tuple(c for c in undecided if _is_scored(c, least))
    _decide_each(request, found, meant, action)
    return redirect("patients:import-columns", found.pk)


@require_POST
def use_template(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Apply a saved mapping, or start without one."""
    found = editable_import(request, import_id)
    wanted = request.POST.get("template", "")
    try:
        template = found.cohort.mapping_templates.get(pk=UUID(wanted)) if wanted else None
        services.use_template(ehr_import=found, template=template, decided_by=request.user)
    except (ValueError, MappingTemplate.DoesNotExist):
        messages.error(request, "There is no such saved mapping. Choose one from the list.")
    except MirageError as error:
        messages.error(request, str(error))
    return redirect("patients:import", found.pk)


@require_POST
def check_import(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Queue the check of every row, if every column is decided."""
    found = editable_import(request, import_id)
    wanted = request.POST.get("save_as", "") if request.POST.get("save") else ""
    if found.stage == Stage.CHECKED:  # nothing was changed since: the problems are known
        return redirect("patients:import-problems", found.pk)
    try:
        services.check(
            ehr_import=found, requested_by=request.user, now=timezone.now(), save_as=wanted
        )
    except services.UndecidedError as error:
        return _columns_page(request, found, refusal=str(error))
    except MirageError as error:
        messages.error(request, str(error))
    return redirect("patients:import", found.pk)


def _may_be_mapped(found: EhrImport) -> bool:
    """Whether its columns may be looked at and changed."""
    if found.stage in {Stage.MAPPING, Stage.CHECKED}:
        return True
    failed = services.status_of(ehr_import=found).has_failed
    return found.stage == Stage.CHECKING and failed


def _columns_page(
    request: SignedInRequest,
    found: EhrImport,
    *,
    refusal: str = "",
    refused: Mapping[int, str] | None = None,
) -> HttpResponse:
    """All columns; `refusal` is about the file as a whole, `refused` about single columns."""
    view = services.mapping_of(ehr_import=found)
    refused = refused or {}
    lines = [
        Line(number, column, refused.get(number, "")) for number, column in enumerate(view.columns)
    ]
    only = request.GET.get("group", "")
    templates = services.saved_templates(cohort=found.cohort)
    context: dict[str, object] = {
        "view": view,
        "status": services.status_of(ehr_import=found),
        "refusal": refusal,
        "refused": refused,
        "undecided": [line for line in lines if line.column.needs_decision][:UNDECIDED_LISTED],
        "facts": [
            (title, sum(line.column.group == name for line in lines))
            for name, (title, _) in GROUPS.items()
        ],
        "dropped_kinds": _kinds(view),
        "others": [t for t in templates if view.template is None or t.id != view.template.id],
        "scores": _scores(view.group("to_decide")),
        "save_as": view.template.name if view.template else PurePath(found.file_name).stem,
        "next_version": _next_version(view, templates),
        "save_suggested": any(line.column.decided_by is By.PERSON for line in lines),
    }
    if only in GROUPS:
        mine = [line for line in lines if line.column.group == only]
        page = Paginator(mine, COLUMNS_PER_PAGE).get_page(request.GET.get("page"))
        context |= {
            "only": only,
            "groups": [Group(only, *GROUPS[only], len(mine), list(page.object_list))],
            "page": page,
            "page_numbers": page.paginator.get_elided_page_range(page.number),
            "base_query": f"{urlencode({'group': only})}&",
        }
    else:
        context["groups"] = list(_groups(lines))
    # htmx swaps nothing of a page with another status; a browser by itself is told by it.
    is_error = (refusal or refused) and not request.headers.get("HX-Request")
    status = 422 if is_error else 200
    return page_of(request, "columns.html", found, context, at=COLUMNS, status=status)


def _groups(lines: Sequence[Line]) -> Iterable[Group]:
    for name, (title, words) in GROUPS.items():
        mine = [line for line in lines if line.column.group == name]
        if mine:
            yield Group(name, title, words, len(mine), mine[:COLUMNS_PER_GROUP])


def _is_scored(column: ColumnView, least: float) -> bool:
    """Whether a column has a suggestion, scored so high at least; a name has no score below 1."""
    return bool(column.concept) and (column.score is None or column.score >= least)


def _scores(undecided: Sequence[ColumnView]) -> list[tuple[float, int]]:
    """Scores to accept from, each with how many suggestions that would take."""
    found: dict[int, float] = {}
    for least in SCORES:
        count = sum(_is_scored(column, least) for column in undecided)
        if count:
            found.setdefault(count, least)
    return [(least, count) for count, least in found.items()]


def _kinds(view: MappingView) -> str:
    return ", ".join(dict.fromkeys(column.hint for column in view.group("dropped")))


def _next_version(view: MappingView, templates: Iterable[TemplateView]) -> int:
    """The version that the applied mapping would be saved as."""
    if view.template is None:
        return 1
    return 1 + max(t.version for t in templates if t.name == view.template.name)


def _column_page(request: SignedInRequest, found: EhrImport, line: Line) -> HttpResponse:
    query = request.GET.get("q", "")[:100]
    suggested = {concept for concept, _, _ in line.concepts}
    wanted = query or not suggested  # suggestions come first and alone, until something is typed
    choices = services.concept_choices(query=query, limit=CHOICES_SHOWN + 1) if wanted else ()
    context = {
        "line": line,
        "query": query,
        "choices": [c for c in choices[:CHOICES_SHOWN] if c.id not in suggested],
        "has_more": len(choices) > CHOICES_SHOWN,
        "code": _code_choice(query),
        "scored": [
            (choice, score)
            for concept, label, score in line.concepts
            for choice in _choices_of(concept, label)
        ],
    }
    return page_of(request, "column.html", found, context, at=COLUMNS)


def _choices_of(concept: str, label: str) -> tuple[ConceptChoice, ...]:
    """A suggested concept as a choice; it is a code if the dictionary does not know it."""
    found = services.concept_choices(query=label, limit=CHOICES_SHOWN)
    return tuple(choice for choice in found if choice.id == concept) or (
        ConceptChoice(
            id=concept,
            label=label or concept,
            group="Codes",
            unit_label="",
            label_proximal=False,
            for_prediction=False,
        ),
    )


def _code_choice(query: str) -> ConceptChoice | None:
    """A code that was typed, as a concept to choose: every code is one of its own."""
    code = codes.code_in(query)
    if code is None:
        return None
    meaning = codes.meaning_of(code)
    known = dictionary().get(meaning.concept)
    return ConceptChoice(
        id=known.id if known else str(code),
        label=f"{known.label} ({code})" if known else meaning.label,
        group=known.group if known else "Codes",
        unit_label="",
        label_proximal=bool(known and known.label_proximal),
        for_prediction=bool(known and known.in_schema),
    )


def _decide(request: SignedInRequest, found: EhrImport, line: Line) -> ColumnView:
    """What the form says of one column."""
    column = line.column
    if request.POST.get("action") == "ignore":
        return services.decide_column(
            ehr_import=found, key=column.key, action="ignore", decided_by=request.user
        )
    concept = request.POST.get("concept", "") or column.concept
    if not concept:
        raise services.ImportRefusedError("Choose a concept first, or ignore the column.")
    same = concept == column.concept
    return services.decide_column(
        ehr_import=found,
        key=column.key,
        action="accept" if same and column.role is Role.FINDING else "map",
        concept=concept,
        unit=request.POST.get("unit", "") if same else "",
        decided_by=request.user,
    )


def _decide_each(
    request: SignedInRequest, found: EhrImport, meant: Sequence[ColumnView], action: str
) -> None:
    done, refused = 0, []
    with transaction.atomic():
        for column in meant:
            try:
                services.decide_column(
                    ehr_import=found,
                    key=column.key,
                    action="ignore" if action == "ignore" else "accept",
                    decided_by=request.user,
                )
            except MirageError as error:
                refused.append(f"{column.header}: {error}")
            else:
                done += 1
    what = "ignored" if action == "ignore" else "accepted as suggested"
    messages.info(request, f"{done:,} column{'' if done == 1 else 's'} {what}.")
    for text in refused[:UNDECIDED_LISTED]:
        messages.warning(request, text)


def _score(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def _place_of(request: SignedInRequest, found: EhrImport, number: int) -> str:
    """The line of a column, on the page on which it was decided."""
    query = {name: request.POST[name] for name in ("group", "page") if name in request.POST}
    address = reverse("patients:import-columns", args=[found.pk])
    return f"{address}{'?' if query else ''}{urlencode(query)}#c-{number}"
