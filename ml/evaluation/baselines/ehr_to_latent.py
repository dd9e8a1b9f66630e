"""EHR -> latent -> decoder: the autoencoder's latent by regression on the record, then decoded."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits
from torch import Tensor

PENALTIES = tuple(np.logspace(0, 5, 11))


def fit_ehr_to_latent(
    table: Float[Tensor, "patients inputs"], latent: Float[Tensor, "patients width"]
) -> Callable[[Tensor], Tensor]:
    r"""Ridge regression $\hat z = W r + b$, its penalty chosen by leaving one out.

    Paper: row 'EHR-latent-decoder' of Table 1, a network there. With a few hundred people a ridge
    is the stronger reader of 82 columns.

    Returns:
        From records' rows to latents.
    """
    with threadpool_limits(1):
        model = RidgeCV(PENALTIES).fit(table.double().numpy(), latent.double().numpy())
    weight = torch.from_numpy(model.coef_).float()
    bias = torch.from_numpy(model.intercept_).float()
    return lambda rows: rows @ weight.T + bias
