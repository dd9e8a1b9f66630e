"""Forms of the manager: a title, the protocol with its questions, the draw, an invitation."""

from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.http import QueryDict

from apps.accounts.models import User
from apps.patients.models import Cohort
from apps.review.power import Assumptions
from apps.review.protocol import Arm, Kind, Protocol, ProtocolError, Question, problems_of

KINDS = [
    ("yes_no", "Yes or no"),
    ("scale", "Scale of 1 to 5"),
    ("guess", "Real or synthetic"),
    ("sign", "Sign: present, absent, unsure"),
    ("cues", "Cues to tick"),
    ("comment", "Free comment"),
]
ARMS = [(Arm.REAL.value, "Real scans"), (Arm.PSEUDO_MRI.value, "Pseudo-MRIs")]
MOST_QUESTIONS = 30
TEXT = {"class": "input", "autocomplete": "off"}


def _number(label: str, help_text: str = "", *, step: str = "1", **more: Any) -> forms.IntegerField:
    kind = forms.IntegerField if step == "1" else forms.FloatField  # which is one, too
    return kind(
        label=label,
        help_text=help_text,
        widget=forms.NumberInput(attrs={"class": "input num", "step": step, "autocomplete": "off"}),
        error_messages={"required": f"{label} is empty. Give a number."},
        **more,
    )


class TitleForm(forms.Form):
    """The title of a new study."""

    title = forms.CharField(
        label="Title",
        max_length=120,
        help_text="Readers see it. Name no patient and nothing that tells the arms apart.",
        error_messages={"required": "The study needs a title."},
        widget=forms.TextInput(attrs=TEXT),
    )

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, label_suffix="")


class QuestionForm(forms.Form):
    """One question. `key` tells it from the others while the form is edited."""

    name = forms.CharField(
        label="Name in tables",
        required=False,
        max_length=60,
        widget=forms.TextInput(attrs={**TEXT, "spellcheck": "false"}),
    )
    text = forms.CharField(
        label="Question", required=False, max_length=200, widget=forms.TextInput(attrs=TEXT)
    )
    kind = forms.ChoiceField(
        label="Answer", choices=KINDS, widget=forms.Select(attrs={"class": "select"})
    )
    words = forms.CharField(
        label="Scale points or choices",
        required=False,
        max_length=2000,
        help_text="One a line: what each of 1 to 5 means, or what can be ticked.",
        widget=forms.Textarea(attrs={"class": "input", "rows": 5}),
    )
    margin = forms.FloatField(
        label="Margin of equivalence",
        required=False,
        widget=forms.NumberInput(attrs={"class": "input num", "step": "any"}),
    )
    is_required = forms.BooleanField(label="Must be answered", required=False)

    def __init__(self, key: str, data: QueryDict | None = None, **more: Any) -> None:
        super().__init__(data, prefix=f"question-{key}", label_suffix="", **more)
        self.key = key

    @property
    def is_listed(self) -> bool:
        """Whether the answer has scale points or choices to describe."""
        return str(self["kind"].value()) in {"scale", "cues"}

    @property
    def may_have_margin(self) -> bool:
        return str(self["kind"].value()) in {"scale", "yes_no"}

    def question(self) -> Question:
        """What was typed. A part that the kind of answer does not have is left out."""
        given = self.cleaned_data
        kind = cast(Kind, given["kind"])
        words = tuple(line.strip() for line in given["words"].splitlines() if line.strip())
        return Question(
            name=given["name"].strip(),
            text=given["text"].strip(),
            kind=kind,
            anchors=words if kind == "scale" else (),
            choices=words if kind == "cues" else (),
            margin=given["margin"] if kind in {"scale", "yes_no"} else None,
            is_required=given["is_required"],
        )


class DesignForm(forms.Form):
    """Every part of a protocol but its questions."""

    cases_per_arm = _number("Cases in each arm", "Half AD, half CN, where it is known.")
    practice_cases = _number("Practice cases", "Read first by everybody, never analysed.")
    repeat_percent = _number(
        "Repeats, %", "10 to 20, or 0: cases met twice, unannounced.", step="any"
    )
    minimum_viewing_s = _number("Least seconds on a case")
    cases_per_session = _number("Cases in one session", "Then a pause is proposed.")
    alpha = _number("Level of the tests", step="any")
    replicates = _number("Bootstrap samples")
    seed = _number("Seed", "Of the draw, the orders and the bootstrap.")
    spacing_mm = forms.TypedChoiceField(
        label="Grid of the study copies",
        coerce=float,
        choices=[("2.0", "2 mm"), ("4.0", "4 mm"), ("8.0", "8 mm")],
        help_text="Volumes on a coarser grid are not drawn.",
        widget=forms.Select(attrs={"class": "select"}),
    )
    same_people = forms.BooleanField(
        label="The same people in all arms",
        required=False,
        help_text="Otherwise a person gives a case to one arm alone.",
    )
    may_go_back = forms.BooleanField(
        label="Readers may look at submitted cases again", required=False
    )
    may_amend = forms.BooleanField(
        label="Readers may amend submitted answers, with a reason", required=False
    )
    hypotheses = forms.CharField(
        label="Hypotheses",
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"class": "input", "rows": 3}),
    )
    exclusions = forms.CharField(
        label="Exclusions",
        required=False,
        max_length=4000,
        help_text="Which readings the analysis will leave out.",
        widget=forms.Textarea(attrs={"class": "input", "rows": 2}),
    )

    def __init__(self, data: QueryDict | None = None, **more: Any) -> None:
        super().__init__(data, label_suffix="", **more)

    def numbers(self) -> list[forms.BoundField]:
        """The fields of the design, in the order of the page."""
        names = (
            "cases_per_arm", "practice_cases", "repeat_percent", "minimum_viewing_s",
            "cases_per_session", "spacing_mm", "alpha", "replicates", "seed",
        )  # fmt: skip
        return [self[name] for name in names]


PART_OF_FIELD = {"repeat_percent": "repeat_share"}


class ProtocolForm:
    """The whole protocol as one form: the design, and a list of questions in its order.

    Args:
        protocol: shown where nothing was posted.
        data: what was posted; `questions` holds the keys of the questions in their order.
    """

    def __init__(self, protocol: Protocol, data: QueryDict | None = None) -> None:
        self.protocol_before = protocol
        self.messages: list[str] = []
        if data is None:
            self.design = DesignForm(initial=_of_design(protocol))
            self.questions = [
                QuestionForm(str(place), initial=_of_question(question))
                for place, question in enumerate(protocol.questions)
            ]
        else:
            keys = [key for key in data.get("questions", "").split(",") if key.isalnum()]
            self.design = DesignForm(data)
            self.questions = [QuestionForm(key, data) for key in keys[:MOST_QUESTIONS]]

    @property
    def keys(self) -> str:
        """What the hidden field holds."""
        return ",".join(question.key for question in self.questions)

    @property
    def has_errors(self) -> bool:
        return bool(
            self.messages or self.design.errors or any(form.errors for form in self.questions)
        )

    def add(self) -> None:
        """One more question, at the end."""
        if len(self.questions) < MOST_QUESTIONS:
            numbers = [int(form.key) for form in self.questions if form.key.isdecimal()]
            key = str(max(numbers, default=-1) + 1)
            initial = {"kind": "scale", "is_required": True}
            self.questions.append(QuestionForm(key, initial=initial))

    def remove(self, key: str) -> None:
        self.questions = [form for form in self.questions if form.key != key]

    def move(self, key: str, by: int) -> None:
        """A question one place up (-1) or down (1), unless it is at the end."""
        at = next((place for place, form in enumerate(self.questions) if form.key == key), None)
        if at is not None and 0 <= at + by < len(self.questions):
            self.questions[at], self.questions[at + by] = (
                self.questions[at + by],
                self.questions[at],
            )

    def protocol(self) -> Protocol | None:
        """What was typed, or None with every error at its field."""
        if not all([self.design.is_valid(), *(form.is_valid() for form in self.questions)]):
            return None
        typed = self._typed()
        for problem in problems_of(typed):
            self._place(problem.part, problem.text)
        return None if self.has_errors else typed

    def _typed(self) -> Protocol:
        given = dict(self.design.cleaned_data)
        given["repeat_share"] = given.pop("repeat_percent") / 100
        return Protocol(
            questions=tuple(form.question() for form in self.questions),
            arms=self.protocol_before.arms,
            **given,
        )

    def _place(self, part: str, text: str) -> None:
        field = next((name for name, of in PART_OF_FIELD.items() if of == part), part)
        if field in self.design.fields:
            self.design.add_error(field, text)
            return
        _, _, name = part.partition(".")
        form = next(
            (f for f in self.questions if part != "questions" and f.question().name == name), None
        )
        if form is None:
            self.messages.append(text)
        else:
            form.add_error(None, text)


def _of_design(protocol: Protocol) -> dict[str, Any]:
    parts = {name: getattr(protocol, name, None) for name in DesignForm.base_fields}
    percent = round(100 * protocol.repeat_share, 4)
    return {
        **parts,
        "repeat_percent": int(percent) if percent == int(percent) else percent,
        "spacing_mm": str(protocol.spacing_mm),
    }


def _of_question(question: Question) -> dict[str, Any]:
    return {
        "name": question.name,
        "text": question.text,
        "kind": question.kind,
        "words": "\n".join(question.anchors or question.choices),
        "margin": question.margin,
        "is_required": question.is_required,
    }


class AssumptionsForm(forms.Form):
    """What the planner assumes of readers and cases; not part of the protocol."""

    readers = _number("Readers", min_value=1, max_value=50)
    case_share = _number("Share of variance: case", step="0.01", min_value=0, max_value=1)
    reader_by_arm_share = _number("Share: reader by arm", step="0.01", min_value=0, max_value=1)
    reader_share = _number("Share: reader", step="0.01", min_value=0, max_value=1)

    def __init__(self, data: QueryDict | None = None, *, readers: int = 2) -> None:
        first = Assumptions(readers=max(readers, 1))
        initial = {name: getattr(first, name) for name in self.base_fields}
        super().__init__(data, prefix="plan", label_suffix="", initial=initial)

    def assumptions(self) -> Assumptions:
        """What was typed.

        Raises:
            ProtocolError: something that is no number.
        """
        if not self.is_bound:
            return Assumptions(**self.initial)
        if not self.is_valid():
            raise ProtocolError(
                "The planner needs 1 to 50 readers and shares of variance of 0 to 1."
            )
        return Assumptions(**self.cleaned_data)


class DrawForm(forms.Form):
    """The cohorts that cases are drawn from."""

    cohorts = forms.ModelMultipleChoiceField(
        queryset=Cohort.objects.none(),
        label="Cohorts",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one cohort."},
    )

    def __init__(
        self, user: User, data: QueryDict | None = None, *, chosen: Sequence[Cohort] = ()
    ) -> None:
        super().__init__(data, label_suffix="", initial={"cohorts": [c.pk for c in chosen]})
        field = cast("forms.ModelMultipleChoiceField[Cohort]", self.fields["cohorts"])
        field.queryset = Cohort.objects.visible_to(user).order_by("name")


class InvitationForm(forms.Form):
    """A reader's account, and why they read although they may know cases."""

    username = forms.CharField(
        label="User name",
        max_length=150,
        help_text="Of a radiologist, as they type it when they sign in.",
        error_messages={"required": "Give the user name of the reader."},
        widget=forms.TextInput(attrs={**TEXT, "spellcheck": "false"}),
    )
    knows_cases = forms.CharField(
        label="If they belong to a cohort of the cases: why they read all the same",
        required=False,
        max_length=1000,
        help_text="Leave it empty otherwise. A reader with a reason is flagged in every result.",
        widget=forms.Textarea(attrs={"class": "input", "rows": 2}),
    )

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, label_suffix="")
