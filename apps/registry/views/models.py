from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.registry.models import Bundle, Deployment
from apps.registry.selectors import champion_state

DEPLOYMENTS_SHOWN = 20


@require_safe
def models(request: SignedInRequest) -> HttpResponse:
    """The model in use with its card, the others, and who put which in use when."""
    state = champion_state()
    return render(
        request,
        "registry/models.html",
        {
            "section": "models",
            "bundle": state.bundle,
            "card": state.bundle.card if state.bundle else None,
            "problem": state.problem,
            "bundles": Bundle.objects.all()[:DEPLOYMENTS_SHOWN],
            "deployments": Deployment.objects.select_related("bundle", "deployed_by")[
                :DEPLOYMENTS_SHOWN
            ],
        },
    )
