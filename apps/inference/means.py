"""What a bundle's decoder draws for the mean of its training people: nobody's, to compare with.

Drawn once for each bundle, by a worker, after the first pseudo-MRI.
"""

import logging
import secrets
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from apps.inference import engine
from apps.registry.models import Bundle

logger = logging.getLogger(__name__)


def mean_file(bundle: Bundle) -> Path:
    """Where the mean of a bundle lies once it is drawn."""
    return Path(settings.MEDIA_ROOT) / "means" / f"{bundle.fingerprint}.nii"


def draw_mean(bundle: Bundle) -> None:
    """Draw the mean of a bundle, whole or not at all, unless it is there already."""
    place = mean_file(bundle)
    if place.is_file():
        return
    draft = place.with_name(f"{secrets.token_hex(8)}.part.nii")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        engine.draw_mean(bundle=bundle, out=draft)
        draft.rename(place)
    except OSError:
        logger.warning("The mean of bundle %s could not be written", bundle.version)
        with suppress(OSError):  # the disk that refused one may refuse the other
            draft.unlink()
