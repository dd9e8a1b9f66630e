"""Rows for tests, as real as the services would make them."""

import hashlib
from datetime import UTC, datetime

import factory
from factory.django import DjangoModelFactory

from apps.accounts.models import User
from apps.inference.models import Explanation, InferenceRun, Prediction, PseudoMRI, WhatIf
from apps.patients.models import Cohort, EhrImport, Finding, Membership, Patient, Scan
from apps.registry.models import Bundle, Deployment

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def sha256(text):
    return hashlib.sha256(str(text).encode()).hexdigest()


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user-{n}")
    role = User.Role.CLINICIAN


class CohortFactory(DjangoModelFactory):
    """A cohort whose maker owns it."""

    class Meta:
        model = Cohort
        skip_postgeneration_save = True

    name = factory.Sequence(lambda n: f"Cohort {n}")
    created_by = factory.SubFactory(UserFactory)
    created_at = NOW

    @factory.post_generation
    def owner(self, create, extracted):
        Membership.objects.create(cohort=self, user=self.created_by, role=Membership.Role.OWNER)


class PatientFactory(DjangoModelFactory):
    class Meta:
        model = Patient

    cohort = factory.SubFactory(CohortFactory)
    number = factory.Sequence(lambda n: n + 1)
    pseudonym = factory.LazyAttribute(lambda o: f"P-{o.number:04d}")
    identifier_hash = factory.LazyAttribute(lambda o: sha256(o.number))
    created_at = NOW


class EhrImportFactory(DjangoModelFactory):
    """A stored import; the rows alone, without what it would have stored."""

    class Meta:
        model = EhrImport

    cohort = factory.SubFactory(CohortFactory)
    requested_by = factory.SelfAttribute("cohort.created_by")
    requested_at = NOW
    stage = "committed"
    committed_at = NOW
    file_name = "clinic.csv"
    sha256 = factory.Sequence(sha256)
    bytes = 100
    columns = factory.LazyFunction(list)


class FindingFactory(DjangoModelFactory):
    class Meta:
        model = Finding

    patient = factory.SubFactory(PatientFactory)
    concept = "age"
    value = 70.0
    unit = "a"
    observed_at = recorded_at = NOW


class ScanFactory(DjangoModelFactory):
    """The row of a queued scan, without its file."""

    class Meta:
        model = Scan

    patient = factory.SubFactory(PatientFactory)
    requested_by = factory.SelfAttribute("patient.cohort.created_by")
    requested_at = NOW
    number = factory.Sequence(lambda n: n + 1)
    format = "nifti"
    source_sha256 = factory.Sequence(sha256)
    source_bytes = 100


class BundleFactory(DjangoModelFactory):
    """A row alone; tests that predict use the `bundle` fixture, which has the files too."""

    class Meta:
        model = Bundle

    name = "demo"
    version = factory.Sequence(lambda n: f"0.{n}")
    fingerprint = factory.Sequence(sha256)
    folder = factory.LazyAttribute(lambda o: o.fingerprint[:16])
    card = factory.LazyFunction(dict)
    registered_at = NOW


class DeploymentFactory(DjangoModelFactory):
    class Meta:
        model = Deployment

    bundle = factory.SubFactory(BundleFactory)
    deployed_at = NOW
    reason = "For a test."


class InferenceRunFactory(DjangoModelFactory):
    class Meta:
        model = InferenceRun

    cohort = factory.SubFactory(CohortFactory)
    bundle = factory.SubFactory(BundleFactory)
    number = factory.Sequence(lambda n: n + 1)
    requested_by = factory.SelfAttribute("cohort.created_by")
    requested_at = NOW
    total = 1


class PredictionFactory(DjangoModelFactory):
    class Meta:
        model = Prediction

    run = factory.SubFactory(InferenceRunFactory)
    patient = factory.SubFactory(PatientFactory, cohort=factory.SelfAttribute("..run.cohort"))
    attempt = 1
    answer = "uncertain"
    probability, low, high = 0.5, 0.4, 0.6
    created_at = NOW


class PseudoMRIFactory(DjangoModelFactory):
    class Meta:
        model = PseudoMRI

    prediction = factory.SubFactory(PredictionFactory)
    requested_by = factory.SelfAttribute("prediction.run.requested_by")
    requested_at = NOW


class ExplanationFactory(DjangoModelFactory):
    class Meta:
        model = Explanation

    prediction = factory.SubFactory(PredictionFactory)
    requested_by = factory.SelfAttribute("prediction.run.requested_by")
    requested_at = NOW


class WhatIfFactory(DjangoModelFactory):
    class Meta:
        model = WhatIf

    prediction = factory.SubFactory(PredictionFactory)
    changes = factory.LazyFunction(lambda: {"age": 70.0})
    requested_by = factory.SelfAttribute("prediction.run.requested_by")
    requested_at = NOW
