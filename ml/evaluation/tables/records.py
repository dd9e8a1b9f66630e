"""Cells that read the record alone, and the fusions with a CNN's reading of a volume."""

import numpy as np
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from ml.evaluation.baselines import fit_table
from ml.evaluation.metrics import logits
from ml.evaluation.tables.cells import Bench, Made
from ml.evaluation.tables.people import people_of
from ml.evaluation.tables.stages import scored

FUSION_PENALTY = 0.1


def make_record(bench: Bench, seed: int, *, model: str) -> Made:
    """Cells `record/...`: a tuned reader of the record; out of fold, with the settings chosen."""
    dealt = people_of(bench, seed)
    columns = len(dealt.scaler.columns)
    table = dealt.train.findings.dense(columns).double().numpy()
    judged = dealt.test.findings.dense(columns).double().numpy()
    labels, fold = dealt.train.labels, dealt.fold.numpy()
    fitted, chosen = fit_table(model, table, labels, seed=seed)
    train = np.empty(len(table))
    with threadpool_limits(1):
        for part in np.unique(fold):
            rest = fold != part
            again = clone(fitted).fit(table[rest], labels[rest])
            train[~rest] = again.predict_proba(table[~rest])[:, 1]
        test = fitted.predict_proba(judged)[:, 1]
    both = torch.from_numpy(logits(train)), torch.from_numpy(logits(test))
    return Made(scored({"record": both}, chosen={k: str(v) for k, v in chosen.items()}))


def scores_of(bench: Bench, seed: int, cell: str, score: str) -> tuple[Tensor, Tensor]:
    """Logits of training people out of fold (NaN where there is none) and of test people."""
    found = bench.figures(cell, seed)["scores"][score]
    train = [np.nan if value is None else value for value in found["train"]]
    return torch.tensor(train, dtype=torch.float64), torch.tensor(found["test"]).double()


def make_fusion(bench: Bench, seed: int, *, parts: tuple[tuple[str, str], ...]) -> Made:
    """Cells `fusion/...`: logistic regression on the logits of some readers.

    Paper: the '+Syn' rows of Table 1. Weights are learned from out-of-fold logits of the training
    people, and their own fused logits, from which the threshold comes, out of fold once more.
    """
    dealt = people_of(bench, seed)
    found = [scores_of(bench, seed, cell, score) for cell, score in parts]
    train = torch.stack([each for each, _ in found], dim=1).numpy()
    test = torch.stack([each for _, each in found], dim=1).numpy()
    labels, fold = dealt.train.labels, dealt.fold.numpy()
    spread = train.std(0)
    train, test = train / spread, test / spread
    fused = np.empty(len(train))
    with threadpool_limits(1):
        for part in np.unique(fold):
            rest = fold != part
            model = LogisticRegression(C=FUSION_PENALTY).fit(train[rest], labels[rest])
            fused[~rest] = model.decision_function(train[~rest])
        whole = LogisticRegression(C=FUSION_PENALTY).fit(train, labels)
    judged = torch.from_numpy(whole.decision_function(test))
    weights = dict(zip([cell for cell, _ in parts], whole.coef_[0].tolist(), strict=True))
    return Made(scored({"fused": (torch.from_numpy(fused), judged)}, weights=weights))
