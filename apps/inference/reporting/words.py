"""Sentences that every written result carries, whatever its form."""

from apps.inference.models import Prediction
from apps.inference.templatetags.estimates import estimate

WHAT_IT_IS = "Research result of MIRAGE. Not a diagnosis, and not for the care of a person."
COVERAGE = (
    "Over all people of the reference population the true status is among those answered in 90 of "
    "100."
)
ANSWERS = {
    "ad": "AD, at 90 % coverage: cognitively normal (CN) is excluded at this level.",
    "cn": "CN, at 90 % coverage: AD is excluded at this level.",
    "uncertain": "Uncertain, at 90 % coverage: neither AD nor cognitively normal (CN) can be "
    "excluded. That is an answer.",
    "outside": "Outside the training data: no number is given.",
    "too_few": "Too few inputs: no number is given.",
}
SYNTHETIC = (
    "SYNTHETIC: the pseudo-MRI was decoded from the record. No scanner acquired it, and it cannot "
    "show what the record does not hold."
)


def number_in_words(prediction: Prediction) -> str:
    """The probability with its interval, which are never apart; or that there is none."""
    if prediction.probability is None:
        return "No number is given"
    return f"{estimate(prediction)}, 95 % interval in brackets"
