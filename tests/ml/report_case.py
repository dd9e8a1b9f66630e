"""The tiny bundle with people who judge it, as the parts of a report get them."""

import hashlib

import torch

from ml.bundle import load_decoder, load_mirage, load_reader
from ml.card import verify
from ml.data.cohort import Cohort
from ml.evaluation.judged_people import judged_people
from ml.evaluation.parts.trial import Trial

WIDTH = 64


def trial_of(bundle, cohort_folder, *, new):
    """The bundle loaded, and everybody of the cohort who may judge it."""
    card, cohort = verify(bundle), Cohort.load(cohort_folder)
    return Trial(
        card=card,
        mirage=load_mirage(bundle, card),
        drawer=load_decoder(bundle, card).decoder,
        reader=load_reader(bundle, card),
        cohort=cohort,
        people=judged_people(cohort, bundle, new=new, most=1_000),
        seed=1,
    )


def by_letters(texts):
    """Unit vectors that count groups of three letters: near for names that share words."""
    found = torch.zeros(len(texts), WIDTH)
    for row, text in enumerate(texts):
        padded = f"  {text.lower()} "
        for start in range(len(padded) - 2):
            digest = hashlib.blake2b(padded[start : start + 3].encode(), digest_size=4).digest()
            found[row, int.from_bytes(digest, "big") % WIDTH] += 1
    return torch.nn.functional.normalize(found, dim=1)


def silent(*_):
    """Progress that nobody watches."""
