"""What a bundle's pictures say about those who trained it: copies of donors, and membership."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ml.evaluation.judged_people import known_to
from ml.evaluation.membership import attack, nearer_than_others, nearest_donor
from ml.evaluation.metrics import proportion
from ml.evaluation.parts.drawn_people import DrawnPeople, draw_people
from ml.evaluation.parts.trial import LEAST, Figures, NotToldError, Progress, Trial, mean_of
from ml.evaluation.picture_gates import picture_gates
from ml.records import PatientRecord
from ml.skip_bank import person_keys

NO_MEMBERS = "the cohort holds nobody who trained"


def donor_gates(trial: Trial) -> Figures:
    """Swap test, donors' shares and donor copy test, as the gates of the registry judge them.

    Raises:
        NotToldError: fewer than five people of a diagnosis.
    """
    labels = trial.people.labels
    fewest = min(int((labels == 1).sum()), int((labels == 0).sum()))
    if fewest < LEAST:
        raise NotToldError(f"too few: {fewest} people of one diagnosis, {LEAST} are needed")
    surrogate = trial.mirage.surrogate(trial.mirage.scaler.encode(trial.people.records))
    gates = picture_gates(trial.drawer, surrogate, labels, trial.card.spacing_mm)
    return {"gates": [asdict(gate) for gate in gates]}


def membership_figures(trial: Trial, drawn: DrawnPeople, progress: Progress) -> Figures:
    """Attacks that tell training people from judges, and how near pictures come to donors' scans.

    The attacker has a person's record and scan, and gets pseudo-MRI and probability of the bundle.

    Returns:
        JSON: `people` on each side, attack to AUC (.5 is nothing), and `donors`.

    Raises:
        NotToldError: nobody of the cohort trained the bundle, or there are no scans.
        VolumeError: a scan cannot be used.
    """
    trial.cnn()
    if not trial.people.trained:
        raise NotToldError(NO_MEMBERS)
    if drawn.scans is None:
        raise NotToldError("no scans in this cohort")
    scanned = set(trial.cohort.ids_with_scan())
    ids = _donors_first(trial, [each for each in trial.people.trained if each in scanned])
    ids = ids[: len(drawn)]
    if min(len(ids), len(drawn)) < LEAST:
        raise NotToldError(f"too few: {len(ids)} people who trained have a scan")
    members = draw_people(
        trial,
        [known_to(trial.cohort.records[each], trial.card.schema) for each in ids],
        np.array([trial.cohort.labels[each] for each in ids], dtype=np.int64),
        ids,
        lambda done, total: progress("membership", done, total),
    )
    return attacks(trial, members, ids, drawn)


def attacks(trial: Trial, members: DrawnPeople, ids: Sequence[str], drawn: DrawnPeople) -> Figures:
    """What `membership_figures` gives, of members who are drawn already.

    Args:
        trial: the bundle and its judges.
        members: people who trained it, with pseudo-MRIs and scans.
        ids: theirs in the cohort.
        drawn: judges with pseudo-MRIs and scans.
    """
    records = [known_to(trial.cohort.records[each], trial.card.schema) for each in ids]
    judges = [trial.people.records[at] for at in drawn.places]
    sides = (members, drawn)
    pictures, scans = ([_voxels(each, kind) for each in sides] for kind in ("pseudo", "scans"))
    near = [
        nearer_than_others(own, scan, (pictures[0], pictures[1]))
        for own, scan in zip(pictures, scans, strict=True)
    ]
    loss = [
        _minus_loss(trial, some, side) for some, side in zip((records, judges), sides, strict=True)
    ]
    found = [
        attack("nearness of pseudo-MRI and own scan", near[0], near[1]),
        attack("loss of the probability", loss[0], loss[1]),
    ]
    return {
        "people": [len(members), len(drawn)],
        "attacks": {each.name: asdict(each.auc) for each in found},
        "donors": _nearness(drawn, scans[0], trial, ids),
    }


def _donors_first(trial: Trial, ids: Sequence[str]) -> list[str]:
    """Members whose skips the bundle keeps come first, so that the test meets those at risk."""
    donors = set(trial.drawer.skip_bank.donor_keys.tolist())
    keys = person_keys([trial.cohort.persons[each] for each in ids]).tolist()
    return [each for _, each in sorted(zip([k not in donors for k in keys], ids, strict=True))]


def _voxels(people: DrawnPeople, kind: str) -> Float[Tensor, "people voxels"]:
    guesses = getattr(people, kind)
    voxels: Tensor = guesses.coarse.flatten(1)
    return voxels


def _minus_loss(
    trial: Trial, records: Sequence[PatientRecord], people: DrawnPeople
) -> Float[Tensor, " people"]:
    """How well the probability fits the diagnosis: better for those who trained, if it leaks."""
    logit = trial.mirage.read(trial.mirage.scaler.encode(records)).logits.mean(0)
    truth = torch.from_numpy(people.labels).float()
    return -functional.binary_cross_entropy_with_logits(logit, truth, reduction="none")


def _nearness(
    drawn: DrawnPeople,
    scans: Float[Tensor, "members voxels"],
    trial: Trial,
    ids: Sequence[str],
) -> Figures | None:
    """Judges' pictures and the donors' own scans; None with too few donors among the members.

    The mean picture, which copies nobody, stands beside them: it is near to every brain, too.
    """
    donors = set(trial.drawer.skip_bank.donor_keys.tolist())
    keys = person_keys([trial.cohort.persons[each] for each in ids]).tolist()
    of_donors = scans[torch.tensor([key in donors for key in keys])]
    if len(of_donors) < LEAST:
        return None
    pictures, mean = _voxels(drawn, "pseudo"), _voxels(drawn, "mean")
    found, of_mean = nearest_donor(pictures, of_donors), nearest_donor(mean[:1], of_donors)
    copies = round(found["nearer_than_any_pair"] * len(pictures))
    scale = pictures.shape[1] ** 0.5
    return {
        "donors": len(of_donors),
        "to_nearest_donor": mean_of((torch.cdist(pictures, of_donors).amin(1) / scale).numpy()),
        "mean_picture_to_nearest_donor": of_mean["to_nearest_donor"],
        "donors_to_nearest_other": found["donors_to_nearest_other"],
        "nearer_than_any_pair": asdict(proportion(copies, len(pictures))),
    }
