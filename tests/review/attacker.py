"""Somebody who tries to tell arms apart by everything but the voxels."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from django.urls import reverse
from scipy.stats import norm
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ml.evaluation.metrics import areas_with_covariance

HEADER_BYTES = 352
SURE = 0.999  # a 95 % interval misses one half in one run of twenty without any leak
POLL = {"Accept": "application/json"}


@dataclass
class Seen:
    """All that a reader's browser got for one presentation, voxels left out."""

    token: str
    position: int
    bodies: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    def note(self, name, response, seconds):
        body = response.content
        self.bodies[name] = body[:HEADER_BYTES] if name == "volume" else body
        self.headers[name] = dict(response.items()) | {"length": str(len(body))}
        self.statuses[name] = response.status_code
        self.seconds[name] = seconds


def read_all(client, reader, answers):
    """Read every case of a reader through the real pages, and note what came back."""
    seen = []
    address = reverse("review:worklist")
    client.force_login(reader.user)
    client.get(address)  # loads templates, so that the first case is not told by its time
    token = next_token(client, reader)
    while token:
        one = Seen(token, len(seen) + 1)
        page = get(client, one, "page", "review:reading")
        get(client, one, "volume", "review:case-volume")
        found = re.search(rb'name="revision"[^>]*value="(\d+)"', page.content)
        form = {**answers, "revision": found.group(1).decode() if found else "0", "active_ms": "1"}
        post(client, one, "submit", form)
        seen.append(one)
        token = next_token(client, reader)
    return seen


def next_token(client, reader):
    from apps.review.blinding import next_slot

    slot = next_slot(reader)
    return slot.token if slot else ""


def get(client, one, name, view):
    started = time.perf_counter()
    response = client.get(reverse(view, args=[one.token]))
    one.note(name, response, time.perf_counter() - started)
    return response


def post(client, one, name, form):
    started = time.perf_counter()
    response = client.post(reverse(f"review:{name}", args=[one.token]), form, headers=POLL)
    one.note(name, response, time.perf_counter() - started)
    assert response.status_code == 200, response.content
    one.json = response.json()


def features_of(seen: Iterable[Seen]):
    """Numbers from every byte, header, length, time and identifier."""
    rows = []
    for one in seen:
        row = [float(one.position), *(float(b) for b in bytes.fromhex(one.token))]
        for name in sorted(one.bodies):
            body = one.bodies[name]
            row += [one.statuses[name], len(body), one.seconds[name], sum(body)]
            row += [float(len(value)) for value in one.headers[name].values()]
            row += [float(sum(value.encode())) for value in one.headers[name].values()]
            row += list(np.bincount(np.frombuffer(body, np.uint8), minlength=256).astype(float))
            if name == "volume":
                row += [float(byte) for byte in body]
        rows.append(row)
    return np.array(rows)


def attack(features, is_synthetic, *, seed=1, sure=SURE):
    """Cross-validated area under the curve, with its interval.

    Readers meet the same cases, so what lets a case be known again helps the attacker, too.
    """
    features = features[:, np.ptp(features, axis=0) > 0]  # what is the same for all tells nothing
    forest = RandomForestClassifier(100, min_samples_leaf=2, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    scores = cross_val_predict(forest, features, is_synthetic, cv=folds, method="predict_proba")
    areas, covariance = areas_with_covariance(scores[:, 1][None], np.asarray(is_synthetic))
    area, error = float(areas[0]), float(np.sqrt(covariance[0, 0]))
    reach = norm.ppf((1 + sure) / 2) * error
    return area, area - reach, area + reach
