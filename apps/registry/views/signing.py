"""Acts that decide which version answers; each is signed with password and reason."""

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.accounts.forms_signing import Act, SigningForm
from apps.accounts.requests import SignedInRequest
from apps.accounts.signing import Signature
from apps.registry import promoting
from apps.registry.forms_models import PromotionForm, RollBackForm
from apps.registry.models import Bundle, Deployment, GateCheck
from apps.registry.selectors import champion
from apps.registry.versions import Comparison, Verdicts, compare, gates_in
from apps.registry.views.models import UNPROCESSABLE, check_admin
from ml.card import Gate

Do = Callable[[Signature], Deployment]


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_act(request: SignedInRequest, bundle_id: int, act: str) -> HttpResponse:
    """Promote, roll back, put beside the champion, or end that."""
    check_admin(request)
    acts = {
        "promote": _promote,
        "roll-back": _roll_back,
        "challenge": _challenge,
        "end-shadow": _end_shadow,
    }
    if act not in acts:
        raise Http404
    return acts[act](request, get_object_or_404(Bundle, pk=bundle_id))


def _promote(request: SignedInRequest, bundle: Bundle) -> HttpResponse:
    """Candidate and champion side by side, with the newest check of this very pair."""
    model = champion()
    check = (
        bundle.gate_checks.filter(state="succeeded", champion=model, holdout__retired_at=None)
        .select_related("holdout", "champion")
        .first()
    )
    form = PromotionForm(request.POST or None, candidate=bundle, initial={"check": check})
    gates = gates_in(check.gates) if check else ()
    failed = tuple(gate for gate in gates if gate.passed is False)
    if not failed:
        del form.fields["despite"]

    def do(signature: Signature) -> Deployment:
        return promoting.promote(
            bundle=bundle,
            gate_check=form.cleaned_data["check"],
            signature=signature,
            now=timezone.now(),
            despite=form.cleaned_data.get("despite", ""),
        )

    act = Act(
        f"Promote {bundle}",
        f"Promote {bundle.version}",
        "Nothing was promoted",
        (
            f"From now on {bundle} answers."
            + (f" {model} does not any more, and can be gone back to." if model else ""),
            "A run under way finishes on the version that it started with.",
            "Answers of other versions stay and are marked stale.",
            "The act stays in the list of deployments for good.",
        ),
    )
    more = _Evidence(
        model, check, gates, failed, compare(model, bundle) if model and model != bundle else None
    )
    return _signed(request, bundle, act, form, do, more)


def _roll_back(request: SignedInRequest, bundle: Bundle) -> HttpResponse:
    model = champion()
    reason = f"{model} is not to answer any more, because "
    form = RollBackForm(request.POST or None, initial={"seen": model, "reason": reason})

    def do(signature: Signature) -> Deployment:
        return promoting.roll_back(
            bundle=bundle,
            seen=form.cleaned_data["seen"],
            signature=signature,
            now=timezone.now(),
        )

    act = Act(
        f"Roll back to {bundle}",
        f"Roll back to {bundle.version}",
        "Nothing was rolled back",
        (
            f"From now on {bundle} answers again, at once.",
            "Its gates are not checked anew, because it was champion before; the reason says so.",
            "A run under way finishes on the version that it started with.",
            f"Answers of {model} stay and are marked stale.",
        ),
    )
    return _signed(request, bundle, act, form, do)


def _challenge(request: SignedInRequest, bundle: Bundle) -> HttpResponse:
    model = champion()
    form = SigningForm(request.POST or None)

    def do(signature: Signature) -> Deployment:
        return promoting.set_challenger(bundle=bundle, signature=signature, now=timezone.now())

    act = Act(
        f"Let {bundle} score in shadow",
        "Score in shadow",
        "Nothing was changed",
        (
            f"Whenever a run of {model} ends, {bundle} answers the same, after everything else "
            "that waits.",
            "No page of a patient or a cohort, no export and no report shows its answers.",
            "The page of the version compares the two as figures over many people.",
            "A promotion or a roll-back ends it.",
        ),
    )
    return _signed(request, bundle, act, form, do)


def _end_shadow(request: SignedInRequest, bundle: Bundle) -> HttpResponse:
    form = SigningForm(request.POST or None)

    def do(signature: Signature) -> Deployment:
        return promoting.end_shadow(signature=signature, now=timezone.now())

    act = Act(
        f"End the shadow of {bundle}",
        "End the shadow",
        "Nothing was changed",
        (
            "Runs that end from now on are answered by the champion alone.",
            "What was compared stays on the page of the version.",
        ),
    )
    return _signed(request, bundle, act, form, do)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a person sees before they sign a promotion."""

    model: Bundle | None
    check: GateCheck | None
    gates: tuple[Gate, ...]
    failed: tuple[Gate, ...]
    comparison: Comparison | None

    @property
    def verdicts(self) -> Verdicts:
        return Verdicts.of(self.gates)


def _signed(
    request: SignedInRequest,
    bundle: Bundle,
    act: Act,
    form: SigningForm,
    do: Do,
    evidence: _Evidence | None = None,
) -> HttpResponse:
    """Ask for reason and password; do the act with a signature, or say what is wrong."""
    if made := form.done(request, do):
        messages.success(request, f"{made.bundle} is the {made.alias} from now on.")
        return redirect("registry:models")
    context = {
        "section": "models",
        "bundle": bundle,
        "act": act,
        "form": form,
        "evidence": evidence,
    }
    status = UNPROCESSABLE if form.errors else 200
    return render(request, "registry/sign.html", context, status=status)
