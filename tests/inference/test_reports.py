"""A result to take along: PDF and FHIR, with every caveat, readable by others' software."""

import json
from io import BytesIO

import pytest
from django.urls import reverse
from django.utils import timezone
from fhir.resources.R4B.riskassessment import RiskAssessment
from pypdf import PdfReader

from apps.inference.models import PseudoMRI
from apps.inference.reporting.pdf import write_report
from apps.inference.results import newest_prediction, result_of
from tests.factories import BundleFactory, DeploymentFactory, PatientFactory
from tests.inference.world import CARD, EXPLAINED, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(settings, client):
    world = make_world(settings.MEDIA_ROOT)
    client.force_login(world.users["viewer"])
    return world


@pytest.fixture
def resource(client, world):
    def get():
        response = client.get(reverse("inference:risk-assessment", args=[world.patient.pk]))
        assert response["Content-Type"] == "application/fhir+json"
        return json.loads(response.content)

    return get


@pytest.fixture
def words(client, world):
    """Everything that is written on the sheets, as another program reads it."""

    def get():
        response = client.get(reverse("inference:report", args=[world.patient.pk]))
        assert response["Content-Type"] == "application/pdf"
        return text_of(response.content)

    return get


def text_of(content):
    pages = PdfReader(BytesIO(content)).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages)


def refuse(world, answer="outside"):
    world.pseudo_mri.delete()
    world.explanation.delete()
    world.prediction.answer = answer
    world.prediction.probability = world.prediction.low = world.prediction.high = None
    world.prediction.reasons = ["The age of 17 is below that of every training patient."]
    world.prediction.save()


def test_the_resource_is_valid_fhir_r4_and_says_percent(resource):
    found = RiskAssessment.model_validate(resource())

    assert found.status == "preliminary"
    decimal, interval = found.prediction
    assert float(decimal.probabilityDecimal) == 71.0
    assert float(interval.probabilityRange.low.value) == 55.0
    assert float(interval.probabilityRange.high.value) == 83.0
    assert decimal.outcome.coding[0].code == "26929004"


def test_the_resource_names_model_subject_and_that_it_is_no_diagnosis(resource, world):
    text = json.dumps(found := resource())

    assert found["subject"]["identifier"]["value"] == "P-0001"
    assert found["contained"][0]["identifier"][0]["value"] == world.bundle.fingerprint
    assert found["contained"][0]["note"][0]["text"] == CARD["limits"]
    assert "Not a diagnosis" in text


def test_a_refusal_has_its_reasons_and_no_probability(resource, world):
    refuse(world)

    [prediction] = RiskAssessment.model_validate(resource()).prediction

    assert prediction.probabilityDecimal is None
    assert "The age of 17 is below" in prediction.rationale


def test_the_pictures_number_is_marked_synthetic(resource, world):
    PseudoMRI.objects.update(cnn_probability=0.64, fused_probability=0.69)

    [_, _, picture, both] = RiskAssessment.model_validate(resource()).prediction

    assert (float(picture.probabilityDecimal), float(both.probabilityDecimal)) == (64.0, 69.0)
    assert "SYNTHETIC" in picture.rationale


def test_a_stale_answer_says_so_in_both(resource, world):
    DeploymentFactory(bundle=BundleFactory(card=CARD), deployed_at=timezone.now())

    assert any(note["text"].startswith("Stale: ") for note in resource()["note"])


@pytest.mark.parametrize("name", ["report", "risk-assessment"])
def test_downloads_are_private_and_their_names_say_nothing(client, world, name):
    response = client.get(reverse(f"inference:{name}", args=[world.patient.pk]))

    assert response["Cache-Control"] == "no-store"
    assert "attachment" in response["Content-Disposition"]
    assert "P-0001" not in response["Content-Disposition"]


@pytest.mark.parametrize("name", ["report", "risk-assessment"])
def test_without_an_answer_there_is_nothing_to_take(client, world, name):
    patient = PatientFactory(cohort=world.cohort, number=7)

    assert client.get(reverse(f"inference:{name}", args=[patient.pk])).status_code == 404


def test_the_report_says_what_the_page_says(words, world):
    text = words()

    assert "0.71 (0.55 to 0.83)" in text
    assert "about 71 had AD (55 to 83). Without any input it would be 34." in text
    assert "AD, at 90 % coverage" in text
    assert "2 of 88 inputs are missing" in text
    assert "Weight" in text
    assert "APOE e4" in text
    assert "+0.11" in text
    assert "−0.02" in text
    assert "Deletion check passed." in text
    assert world.bundle.fingerprint in text.replace(" ", "")


def test_the_report_carries_the_caveats_of_the_card_and_says_on_each_sheet_what_it_is(words):
    text = words()

    assert CARD["limits"] in text
    assert "1,175 made-up people" in text
    assert "0.80 (0.75 to 0.84)" in text
    assert "Not a diagnosis" in text
    assert "P-0001, page 1" in text


def test_volumes_of_a_picture_are_marked_synthetic_on_paper(words, world):
    PseudoMRI.objects.update(volumes_ml={"brain": 812.4, "hippocampus": 5.94})

    text = words()

    assert "812 ml" in text
    assert "5.9 ml" in text
    assert "no norm" in text
    assert "SYNTHETIC" in text


def test_a_refusal_is_reported_without_a_number(words, world):
    refuse(world, "too_few")

    text = words()

    assert "Too few inputs: no number is given." in text
    assert "The age of 17 is below" in text
    assert "What moved the number" not in text


def test_a_ranking_that_failed_its_test_is_not_on_paper_either(words, world):
    world.explanation.content = {**EXPLAINED, "passed": False}
    world.explanation.save()

    text = words()

    assert "no ranking of the findings is shown" in text
    assert "+0.11" not in text


def test_names_are_text_and_not_markup(words, world):
    world.cohort.name = "<b>Ward</b> & <para>"
    world.cohort.save()

    assert "<b>Ward</b> & <para>" in words()


def test_the_same_result_gives_the_same_bytes(world):
    prediction = newest_prediction(world.patient)
    result = result_of(world.patient, prediction, world.bundle)
    now = timezone.now()

    assert write_report(result, made_at=now) == write_report(result, made_at=now)
