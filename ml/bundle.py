"""Write and read a bundle: card.json and the weights of its parts as safetensors, never a pickle.

`surrogate` gives probabilities, `decoder` draws pseudo-MRIs and `reader` reads them; a bundle that
is older than the reader has none.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ml.card import CARD_FILE, BundleCard, BundleError, sha256_of
from ml.concepts import dictionary
from ml.config import Profile
from ml.mirage import Mirage, PseudoMRIDecoder
from ml.patient_graph import FindingScaler
from ml.pseudo_mri_reader import PseudoMRIReader
from ml.skip_bank import SkipBank
from ml.unet import Decoder

SURROGATE_FILE = "surrogate.safetensors"
DECODER_FILE = "decoder.safetensors"
READER_FILE = "reader.safetensors"
MAX_BYTES = 40_000_000
AIR_BELOW = 0.1
_DECODER_WEIGHTS = "decoder.decoder."


class PseudoMRIModel(nn.Module):
    """What a bundle needs to draw: the decoder with its donors, and the scale of intensities.

    Args:
        decoder: surrogates to normalised volumes.
        intensity: offset and scale that turn z-scores into the template's intensities.
    """

    intensity: Tensor

    def __init__(self, decoder: PseudoMRIDecoder, intensity: Float[Tensor, " 2"]) -> None:
        super().__init__()
        self.decoder = decoder
        self.register_buffer("intensity", intensity)

    def forward(
        self, surrogate: Float[Tensor, "patients width"]
    ) -> Float[Tensor, "patients x y z"]:
        """Volumes in the template's intensities."""
        return self.in_template_units(self.decoder(surrogate)[:, 0])

    def in_template_units(
        self, normalised: Float[Tensor, "patients x y z"]
    ) -> Float[Tensor, "patients x y z"]:
        """Normalised volumes in the template's intensities: air 0, white matter about .9.

        Scans come without skull, so what is darker than half of CSF is air and set to 0.
        """
        offset, scale = self.intensity
        volumes: Tensor = normalised * scale + offset
        return volumes.where(volumes > AIR_BELOW, torch.zeros(()))


def write_weights(
    folder: Path, mirage: Mirage, decoder: PseudoMRIModel, reader: PseudoMRIReader | None = None
) -> dict[str, str]:
    """Write the weight files of a bundle and give back their hashes.

    Raises:
        BundleError: together they are larger than 40 MB.
    """
    models: dict[str, nn.Module] = {SURROGATE_FILE: mirage, DECODER_FILE: decoder}
    if reader is not None:
        models[READER_FILE] = reader
    check_size(*models.values())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / READER_FILE).unlink(missing_ok=True)  # of a bundle that is replaced
    for name, model in models.items():
        save_file(_stored(model), folder / name)
        (folder / name).chmod(0o644)  # a worker may run as another user than the trainer
    return {name: sha256_of(folder / name) for name in models}


def check_size(*models: nn.Module) -> None:
    """Refuse a bundle that would be too large; asked before the long stages of a training.

    Raises:
        BundleError: the weights are larger than 40 MB.
    """
    tensors = [tensor for model in models for tensor in _stored(model).values()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > MAX_BYTES:
        raise BundleError(
            f"The bundle would have {size / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:.0f} are "
            "shipped. Store fewer donors (SkipBankConfig.max_donors)."
        )


def round_decoder(decoder: Decoder) -> None:
    """Round the decoder's weights to half precision, in which a bundle stores them.

    It is done before anything is learned from the decoder or measured on it, so that what is
    shipped is exactly what was evaluated.
    """
    with torch.no_grad():
        for weight in decoder.state_dict().values():
            weight.copy_(weight.half().float())


def _stored(model: nn.Module) -> dict[str, Tensor]:
    """What is written of a model; see `round_decoder` for the half precision."""
    return {
        name: (value.half() if name.startswith(_DECODER_WEIGHTS) else value).contiguous()
        for name, value in model.state_dict().items()
    }


def write_card(folder: Path, card: BundleCard) -> None:
    """Write the card last: a folder without one is no bundle."""
    unfinished = folder / f"{CARD_FILE}.part"
    unfinished.write_text(card.to_json(), encoding="utf-8")
    unfinished.replace(folder / CARD_FILE)


def load_mirage(folder: Path, card: BundleCard) -> Mirage:
    """The part that gives probabilities; small, and no voxel in it.

    Raises:
        BundleError: the file does not fit the card or this version's concept dictionary.
    """
    known = dictionary()
    unknown = [name for name in card.schema if name not in known]
    if unknown:
        raise BundleError(
            f"The bundle in {folder} reads the concept {unknown[0]}, which ml/concepts.toml lacks. "
            "Use the version of this software that made the bundle, or train it again."
        )
    mirage = Mirage(FindingScaler([known[name] for name in card.schema]), settings_of(card))
    _fill(mirage, folder / SURROGATE_FILE)
    return mirage.eval()


def load_decoder(folder: Path, card: BundleCard) -> PseudoMRIModel:
    """The part that decodes pseudo-MRIs; ten times as large, so it is loaded when asked for.

    Raises:
        BundleError: the file does not fit the card.
    """
    profile = settings_of(card)
    stored = _read(folder / DECODER_FILE)
    prefix = "decoder.skip_bank.skip_"
    levels = sorted(name for name in stored if name.startswith(prefix))
    shapes = [tuple(stored[name].shape[1:]) for name in levels]
    donors = stored["decoder.skip_bank.donor_keys"].shape[0]
    bank = SkipBank.empty(donors, profile.unet.width, shapes, profile.skip_bank)
    model = PseudoMRIModel(PseudoMRIDecoder(Decoder(profile.unet), bank), torch.zeros(2))
    _fill(model, folder / DECODER_FILE)
    return model.eval()


def load_reader(folder: Path, card: BundleCard) -> PseudoMRIReader | None:
    """What reads pseudo-MRIs; None in a bundle that has none.

    Raises:
        BundleError: the file does not fit the card.
    """
    if READER_FILE not in card.files:
        return None
    profile, stored = settings_of(card), _read(folder / READER_FILE)
    try:
        columns = stored["record_weight"].shape[0]
        regions = stored["members.0.to_regions.weight"].shape[0]
    except KeyError as error:
        raise _unfit(READER_FILE, folder) from error
    reader = PseudoMRIReader(
        profile.classifier,
        profile.spacing_mm,
        members=profile.distill.folds,
        columns=columns,
        regions=regions,
    )
    _fill(reader, folder / READER_FILE)
    return reader.eval()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"{path.name} in {path.parent} cannot be read ({type(error).__name__}). "
            "Copy the bundle again from where it was made, or train it again."
        ) from error


def _fill(model: nn.Module, path: Path) -> None:
    try:
        model.load_state_dict(_read(path))
    except RuntimeError as error:
        raise _unfit(path.name, path.parent) from error


def _unfit(name: str, folder: Path) -> BundleError:
    return BundleError(
        f"{name} in {folder} does not fit this version of the software. "
        "Use the version that made the bundle, or train it again."
    )


def settings_of(card: BundleCard) -> Profile:
    """The profile as it was when the bundle was made.

    Raises:
        BundleError: the card's settings are not those of this version.
    """
    try:
        profile: Profile = _build(Profile, card.training["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"The settings in the card of {card.name} {card.version} do not fit this version of "
            "the software. Use the version that made the bundle, or train it again."
        ) from error
    return profile


def settings_to_card(profile: Profile) -> dict[str, Any]:
    """The profile as JSON."""
    return asdict(profile)


def _build(kind: type[Any], entries: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for each in fields(kind):
        if each.name not in entries:
            continue  # a setting that is younger than the bundle: its default is what was done
        value = entries[each.name]
        if is_dataclass(hints[each.name]):
            value = _build(hints[each.name], value)
        elif isinstance(value, list):
            value = tuple(value)
        values[each.name] = value
    return kind(**values)
