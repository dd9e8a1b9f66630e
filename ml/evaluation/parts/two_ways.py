"""The two ways to a probability beside each other: surrogate, CNN on the pseudo-MRI, their fusion.

Nothing here is drawn or trained: volumes come from `drawn_people`, readers from the bundle.
"""

from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ml.data.cohort import Cohort
from ml.evaluation.heads import retrieved
from ml.evaluation.metrics import Scores, auc, auc_difference
from ml.evaluation.parts.drawn_people import DrawnPeople
from ml.evaluation.parts.trial import LEAST, Figures, NotToldError, Trial
from ml.pseudo_mri_reader import PseudoMRIReader
from ml.skip_bank import SkipBank, person_keys


def two_ways(trial: Trial, drawn: DrawnPeople, best_other: Scores) -> Figures:
    """AUC of each reader on the people who were drawn, paired with surrogate and best other.

    Args:
        trial: the bundle and its judges.
        drawn: judges with their pseudo-MRIs.
        best_other: of all judges, by the best model that reads the record alone.

    Returns:
        JSON: `people`, and reader to AUC, `minus_surrogate` and `minus_best_other`.

    Raises:
        NotToldError: the bundle holds no CNN.
        OneClassError: too few with AD, or without, were drawn.
    """
    reader = trial.cnn()
    findings = trial.mirage.scaler.encode([trial.people.records[at] for at in drawn.places])
    surrogate = trial.mirage.read(findings).logits.mean(0)
    on_pseudo = _cnn_logit(reader, drawn.pseudo.coarse)
    found = {
        "surrogate": surrogate,
        "cnn_on_pseudo_mri": on_pseudo,
        "record": reader.record_logit(findings),
        "fusion": reader.fused_probability(surrogate, on_pseudo, findings),
    }
    if drawn.scans is not None:
        found["cnn_on_scan"] = _cnn_logit(reader, drawn.scans.coarse)
    scores = {name: each.double().numpy() for name, each in found.items()}
    other = best_other[drawn.places]
    return {
        "people": len(drawn),
        "best_other": asdict(auc(other, drawn.labels)),
        "readers": {
            name: {
                "auc": asdict(auc(each, drawn.labels)),
                "minus_surrogate": None
                if name == "surrogate"
                else asdict(auc_difference(each, scores["surrogate"], drawn.labels)),
                "minus_best_other": asdict(auc_difference(each, other, drawn.labels)),
            }
            for name, each in scores.items()
        },
    }


@torch.no_grad()
def _cnn_logit(
    reader: PseudoMRIReader, coarse: Float[Tensor, "people i j k"]
) -> Float[Tensor, " people"]:
    """Mean logit of the CNNs on volumes that are averaged already."""
    return torch.cat(
        [
            torch.stack([member(part).logit for member in reader.members]).mean(0)
            for part in torch.split(coarse, 16)
        ]
    )


def neighbours_vote(trial: Trial) -> Figures:
    """AUC of the mean diagnosis of the donors whose skips a pseudo-MRI would get, no CNN at all.

    Returns:
        JSON: `auc`, `minus_surrogate` (paired), `donors` and how many of them are known.

    Raises:
        NotToldError: the diagnoses of too few donors are known.
    """
    bank = trial.drawer.skip_bank
    labels = donor_labels(bank, trial.cohort)
    known = int((~labels.isnan()).sum())
    if not trial.people.trained or known < LEAST:
        raise NotToldError(
            "a bundle keeps no diagnosis of its donors, and this cohort is not the one that they "
            "come from"
        )
    reading = trial.mirage.read(trial.mirage.scaler.encode(trial.people.records))
    vote = (retrieved(bank, reading.surrogate) @ labels.nan_to_num(0.5)).double().numpy()
    surrogate = reading.logits.mean(0).double().numpy()
    return {
        "auc": asdict(auc(vote, trial.people.labels)),
        "minus_surrogate": asdict(auc_difference(vote, surrogate, trial.people.labels)),
        "donors": len(labels),
        "known": known,
    }


def donor_labels(bank: SkipBank, cohort: Cohort) -> Float[Tensor, " donors"]:
    """Diagnoses of a bundle's donors, by the hashes that stand for their persons; NaN unknown."""
    keys = person_keys([cohort.persons[each] for each in cohort.ids]).tolist()
    labels = {
        key: float(label)
        for key, each in zip(keys, cohort.ids, strict=True)
        if (label := cohort.labels[each]) is not None
    }
    return torch.tensor([labels.get(key, np.nan) for key in bank.donor_keys.tolist()])
