"""Load a trained bundle and predict. The only module that a caller outside `ml` needs."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float

from ml.bundle import PseudoMRIModel, load_decoder, load_mirage, load_reader
from ml.card import BundleCard, verify
from ml.concepts import UNIT_LABELS, Concept, Kind, dictionary
from ml.donors import Donors, donors_of
from ml.explanation import Explanation, explain
from ml.mirage import Mirage, Reading
from ml.patient_graph import Findings, FindingScaler
from ml.pseudo_mri_reader import PseudoMRIReader
from ml.records import Answer, PatientRecord, Prediction, PseudoMRIReading
from ml.serving import StackedMembers

if TYPE_CHECKING:
    from ml.data.mri import Grid

CHUNK = 1024
"""Patients computed together: bounds memory, changes no result."""


class Predictor:
    """A frozen, ready-to-use model.

    Example:
        predictor = Predictor.load(Path("bundle"))
        predictions = predictor.predict(records)
    """

    def __init__(self, folder: Path, card: BundleCard, mirage: Mirage) -> None:
        self.card = card
        self._folder = folder
        self._mirage = mirage

    @classmethod
    def load(cls, folder: Path) -> "Predictor":
        """Check every file of a bundle against its card and read what probabilities need.

        Raises:
            BundleError: a file is missing, changed, or made for another version.
        """
        card = verify(folder)
        return cls(folder, card, load_mirage(folder, card))

    def predict(self, records: Sequence[PatientRecord]) -> list[Prediction]:
        """One prediction a record, in their order; each depends on its own record alone.

        Raises:
            RecordError: a record holds an unknown concept or an implausible value.
        """
        predictions: list[Prediction] = []
        for start in range(0, len(records), CHUNK):
            predictions += self._predict_chunk(records[start : start + CHUNK])
        return predictions

    def decode(self, record: PatientRecord, out: Path) -> PseudoMRIReading:
        """Draw the pseudo-MRI of one record, write it as NIfTI marked SYNTHETIC, and read it.

        Raises:
            RecordError: the record holds an unknown concept or an implausible value.
        """
        findings = self._mirage.scaler.encode([record])
        reading = self._mirage.read(findings)
        normalised = self.draw(reading.surrogate, out)
        (doubt,) = self._why_not([record], reading)
        cnn, fused = (None, None) if doubt else self._read_volume(normalised, reading, findings)
        return PseudoMRIReading(
            cnn_probability=cnn,
            fused_probability=fused,
            volumes_ml=self._volumes_ml(normalised),
        )

    def draw(
        self, surrogate: Float[torch.Tensor, "1 width"], out: Path
    ) -> Float[torch.Tensor, "1 x y z"]:
        """Write the pseudo-MRI of a stored surrogate as NIfTI marked SYNTHETIC.

        Returns:
            The same volume, normalised as the CNN and the regional volumes read it.
        """
        from ml.data.mri import write_volume

        with torch.no_grad():
            normalised: torch.Tensor = self._decoder.decoder(surrogate)[:, 0]
            volume = self._decoder.in_template_units(normalised)[0]
        write_volume(
            out,
            volume.numpy(),
            self._grid,
            synthetic=True,
            description=f"pseudo-MRI by MIRAGE {self.card.version}",
        )
        return normalised

    def prepare_decoding(self) -> None:
        """Load what the first decoding would have to load, so that it is as fast as the next."""
        nobody = self._mirage.scaler.encode([PatientRecord(patient="", values={})])
        with torch.no_grad():
            normalised = self._decoder.decoder(self._mirage.surrogate(nobody))[:, 0]
            if self._reader is not None:
                self._reader.cnn_logit(normalised)
        self._volumes_ml(normalised)

    def explain(self, record: PatientRecord) -> Explanation:
        """What moved the probability of one record, and what its missing inputs could do.

        Raises:
            RecordError: the record holds an unknown concept or an implausible value.
        """
        spans = self.card.training.get("inputs", {})
        return explain(
            self._mirage, record, {name: (low, high) for name, (low, high) in spans.items()}
        )

    def donors(self, record: PatientRecord) -> Donors | None:
        """Whose skips the pseudo-MRI of a record is made with, as figures over all of them.

        Raises:
            RecordError: the record holds an unknown concept or an implausible value.
        """
        surrogate = self._mirage.surrogate(self._mirage.scaler.encode([record]))
        return donors_of(self._decoder.decoder.skip_bank, surrogate)

    @cached_property
    def _grid(self) -> "Grid":
        from ml.data.mri import grid

        return grid(self.card.spacing_mm)

    def _volumes_ml(self, normalised: Float[torch.Tensor, "1 x y z"]) -> dict[str, float]:
        """What the atlas reads off a decoded volume, by the name of the region."""
        from ml.data.regions import REGION_NAMES, regional_volumes_ml
        from ml.data.structures import STRUCTURES, structure_volumes_ml

        structures_ml = structure_volumes_ml(normalised, self._grid)[0].tolist()
        csf_ml = regional_volumes_ml(normalised, self._grid)[0].tolist()
        return dict(zip(STRUCTURES, structures_ml, strict=True)) | dict(
            zip(REGION_NAMES, csf_ml, strict=True)
        )

    @cached_property
    def _decoder(self) -> PseudoMRIModel:
        return load_decoder(self._folder, self.card)

    @cached_property
    def _reader(self) -> PseudoMRIReader | None:
        return load_reader(self._folder, self.card)

    def _read_volume(
        self, normalised: torch.Tensor, reading: Reading, findings: Findings
    ) -> tuple[float | None, float | None]:
        """What the CNN says of a pseudo-MRI, and what all readers say together."""
        if self._reader is None:
            return None, None
        cnn_logit = self._reader.cnn_logit(normalised)
        fused = self._reader.fused_probability(reading.logits.mean(0), cnn_logit, findings)
        return float(self._reader.cnn_probability(cnn_logit)), float(fused)

    @cached_property
    def _stacked(self) -> StackedMembers:
        return StackedMembers(self._mirage)

    def _predict_chunk(self, records: Sequence[PatientRecord]) -> list[Prediction]:
        findings = self._mirage.scaler.encode(records)
        reading = self._stacked.read(findings)
        calibration = self._mirage.calibration
        probability = calibration.probability(reading.logits.mean(0))
        low, high = (bound.tolist() for bound in calibration.interval(reading.logits))
        rows = zip(
            records,
            self._why_not(records, reading),
            calibration.answers(probability),
            probability.tolist(),
            low,
            high,
            strict=True,
        )
        return [
            self._prediction(record, doubt, answer, (middle, lower, upper))
            for record, doubt, answer, middle, lower, upper in rows
        ]

    def _prediction(
        self,
        record: PatientRecord,
        doubt: tuple[Answer, tuple[str, ...]] | None,
        answer: Answer,
        probability: tuple[float, float, float],
    ) -> Prediction:
        answered, reasons = doubt or (answer, ())
        middle, low, high = (None, None, None) if doubt else probability
        return Prediction(
            patient=record.patient,
            answer=answered,
            probability=middle,
            low=low,
            high=high,
            missing=tuple(name for name in self.card.schema if name not in record.values),
            reasons=reasons,
            bundle_version=self.card.version,
        )

    def _why_not(
        self, records: Sequence[PatientRecord], reading: Reading
    ) -> Iterator[tuple[Answer, tuple[str, ...]] | None]:
        """For each record the answer and reasons that take the place of a probability, or None."""
        far = self._mirage.familiarity.unfamiliar(reading.embedding)
        inputs = frozenset(self.card.schema)
        for record, unfamiliar in zip(records, far, strict=True):
            given = len(inputs & record.values.keys())
            if given < self.card.min_inputs:
                yield (
                    Answer.TOO_FEW,
                    (
                        f"{given} of the {len(self.card.schema)} inputs are known; "
                        f"the model needs at least {self.card.min_inputs}.",
                    ),
                )
                continue
            reasons = self._ranges.reasons_against(record)
            if unfamiliar:
                reasons += (
                    "The findings together are unlike those of anyone the model was trained on.",
                )
            yield (Answer.OUTSIDE, reasons) if reasons else None

    @cached_property
    def _ranges(self) -> "TrainingRanges":
        return TrainingRanges(self._mirage.scaler, self._mirage.profile.diagnosis.range_margin)


class TrainingRanges:
    """What the training people's measurements ranged over, and how far beyond it is too far.

    Args:
        scaler: fitted on the training people.
        margin: in standard deviations of the training people.
    """

    def __init__(self, scaler: FindingScaler, margin: float) -> None:
        known = dictionary()
        self._limits = [
            (known[column.concept], low, high, margin * spread)
            for column, low, high, spread, seen in zip(
                scaler.columns,
                scaler.lowest.tolist(),
                scaler.highest.tolist(),
                scaler.spread.tolist(),
                scaler.seen.tolist(),
                strict=True,
            )
            if seen > 0 and known[column.concept].kind is Kind.CONTINUOUS
        ]

    def reasons_against(self, record: PatientRecord) -> tuple[str, ...]:
        """A sentence for each measurement that lies well beyond those of the training people."""
        return tuple(
            _range_sentence(concept, value, low, high)
            for concept, low, high, margin in self._limits
            if (value := record.values.get(concept.id)) is not None
            and not low - margin <= value <= high + margin
        )


def _range_sentence(concept: Concept, value: float, low: float, high: float) -> str:
    unit = f" {UNIT_LABELS.get(concept.unit, concept.unit)}" if concept.unit else ""
    return (
        f"{concept.label} is {value:g}{unit}; the people the model was trained on had "
        f"{low:g} to {high:g}{unit}."
    )
