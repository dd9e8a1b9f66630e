r"""The picture of nobody: what a bundle's decoder draws for the mean of its training people.

$$\bar x = D(0, \tfrac{1}{|B|}\sum_{j \in B} s_j)$$

z has mean 0 over the training scans, so 0 is the mean latent; the skips are the mean of all
donors'. Paper: none; ours, for the viewer. It is no mean of volumes, which would blur brains of
different shapes: the decoder draws it as it draws a pseudo-MRI.
"""

from pathlib import Path

import torch

from ml.bundle import load_decoder
from ml.card import read_card
from ml.data.mri import grid, write_volume


def write_mean_brain(bundle: Path, out: Path) -> None:
    """Draw the mean of a bundle's training people and write it as NIfTI, marked SYNTHETIC.

    Args:
        bundle: folder of the bundle.
        out: the file to write.

    Raises:
        BundleError: the folder is no bundle of this version.
    """
    card = read_card(bundle)
    model = load_decoder(bundle, card)
    bank = model.decoder.skip_bank
    skips = [getattr(bank, f"skip_{level}").float() for level in range(bank.levels)]
    nobody = torch.zeros(1, bank.donor_z.shape[1])
    with torch.no_grad():
        means = [level.mean(0, keepdim=True) for level in skips]
        normalised = model.decoder.decoder(nobody, means)[:, 0]
        volume = model.in_template_units(normalised)[0]
    write_volume(
        out,
        volume.numpy(),
        grid(card.spacing_mm),
        synthetic=True,
        description=f"mean of MIRAGE {card.version}, nobody's brain",
    )
