"""The blinding list: nothing but the voxels differs between the arms, for all a reader can get."""

import logging
import re
import time
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.db import transaction
from django.http import Http404
from django.test import Client, override_settings
from django.urls import reverse
from scipy.stats import ks_2samp

from apps.review import blinding
from apps.review.models import ReaderStudy, Slot, StudyFreeze
from apps.review.order import longest_run
from tests.review.attacker import attack, features_of, read_all
from tests.review.factories import make_manager, make_open_study, make_radiologist
from tests.review.test_reading import COMPLETE

pytestmark = pytest.mark.django_db
ANSWERS = {f"answer-{name}": value for name, value in COMPLETE.items()}
ALLOWED = {
    "token", "position", "total", "is_practice", "study", "is_open", "is_simulated",
    "minimum_viewing_s", "cases_per_session", "may_go_back", "may_amend", "window",
}  # fmt: skip
SAVED, SUBMITTED = {"saved_at", "revision", "active_ms"}, {"next"}
RARE = 0.01


class Read:
    """A study that two readers have read to the end, and all that they were sent."""

    def __init__(self, media, log):
        self.media, self.log = media, log
        self.study = make_open_study(readers=2, cases_per_arm=8, practice_cases=1, repeat_share=0.1)
        self.readers = list(self.study.readers.order_by("number"))
        self.seen = [each for r in self.readers for each in read_all(Client(), r, ANSWERS)]
        arms = dict(Slot.objects.values_list("token", "case__arm"))
        self.is_synthetic = np.array([int(arms[each.token] != "real") for each in self.seen])


class Log(logging.Handler):
    """Everything that any logger says, at any level."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def module_read(django_db_setup, django_db_blocker, tmp_path_factory):
    media, log = tmp_path_factory.mktemp("media"), Log()
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    storages = {**django_settings.STORAGES, "staticfiles": plain}
    root = logging.getLogger()
    root.addHandler(log)
    with (
        django_db_blocker.unblock(),
        override_settings(MEDIA_ROOT=media, STORAGES=storages),
        transaction.atomic(),
    ):
        yield Read(media, log)
        transaction.set_rollback(True)
    root.removeHandler(log)


@pytest.fixture
def read(db, module_read, settings):
    settings.MEDIA_ROOT = module_read.media
    return module_read


def volumes(read):
    """The study copies by token."""
    return {
        slot.token: blinding.study_copy_response(slot).content
        for slot in Slot.objects.select_related("reader__study", "case")
    }


def test_tokens_are_128_random_bits_of_each_presentation(read):
    tokens = list(Slot.objects.values_list("token", flat=True))

    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)
    assert len(set(tokens)) == len(tokens) == 2 * (16 + 2 + 1)
    assert Slot.objects.filter(repeat_of__isnull=False).count() == 4


def test_all_but_the_voxels_of_a_copy_is_the_same(read):
    found = volumes(read).values()

    assert len({len(content) for content in found}) == 1
    assert len({content[:352] for content in found}) == 1
    zeros = {(np.frombuffer(content[352:], np.uint8) == 0).sum() for content in found}
    assert len(zeros) == 1


def test_greys_have_the_same_ends_and_smoothness_is_a_property_of_the_method(read, record_property):
    """Reported for each arm; what differs here is the picture that readers judge."""
    arms = dict(Slot.objects.values_list("token", "case__arm"))
    figures = {"real": [], "pseudo_mri": []}
    for token, content in volumes(read).items():
        greys = np.frombuffer(content[352:], np.uint8)
        brain = greys[greys > 0]
        steps = np.abs(np.diff(greys.astype(int))).mean()
        assert (greys.min(), brain.min(), greys.max()) == (0, 1, 255)
        assert np.percentile(brain, 1) <= 2
        assert np.percentile(brain, 99) >= 253
        figures[arms[token]].append((len(np.unique(greys)), np.median(brain), steps))
    for arm, rows in figures.items():
        unique, median, steps = np.mean(rows, axis=0)
        record_property(
            f"{arm}: greys, median, mean step", f"{unique:.0f} {median:.0f} {steps:.1f}"
        )


def test_headers_are_the_same_for_every_case_and_name_no_file(read):
    for name in ("page", "volume", "submit"):
        headers = [dict(each.headers[name]) for each in read.seen]
        for each in headers:
            each.pop("Content-Security-Policy", None)  # holds a nonce of each response
            if name != "volume":
                each.pop("length")
                each.pop("Content-Length", None)
        assert all(each == headers[0] for each in headers), name
    headers = {key.lower(): value for key, value in read.seen[0].headers["volume"].items()}
    assert not {"etag", "last-modified", "content-encoding", "accept-ranges"} & headers.keys()
    assert headers["content-disposition"] == 'inline; filename="case.nii"'
    assert headers["cache-control"] == "no-store"


def test_a_browser_that_asks_for_compression_or_a_part_gets_the_same(read, client):
    """Compressed lengths alone tell noisy from smooth."""
    client.force_login(read.readers[0].user)
    address = reverse("review:case-volume", args=[read.seen[0].token])

    for headers in ({"Accept-Encoding": "gzip, br"}, {"Range": "bytes=0-99"}):
        response = client.get(address, headers=headers)
        assert response.status_code == 200
        assert "Content-Encoding" not in response
        assert len(response.content) == int(read.seen[0].headers["volume"]["length"])


def test_pictures_for_browsers_without_webgl_have_one_length(read):
    slots = Slot.objects.filter(reader=read.readers[0]).select_related("reader__study")[:4]

    assert len({len(blinding.mosaic_response(slot).content) for slot in slots}) == 1


def plain(page, token):
    """A page without what is random, counts on, or tells the time."""
    text = page.decode().replace(token, "TOKEN")
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "CSRF", text)
    text = re.sub(r'nonce="[^"]*"', "NONCE", text)
    text = re.sub(r"[0-9a-f]{32}", "NEXT", text)
    text = re.sub(r", about [^<]* at your pace", "", text)  # of the reader, not of the case
    return re.sub(r"\d+(?:[.,:]\d+)*", "N", text)


def test_the_page_of_every_case_is_the_same_but_for_token_and_place(read):
    by_reader = 19
    for reader in range(2):
        mine = read.seen[reader * by_reader : (reader + 1) * by_reader]
        pages = {plain(each.bodies["page"], each.token) for each in mine[2:-1]}
        assert len(pages) == 1


def test_json_holds_what_the_list_allows(read):
    for each in read.seen:
        assert set(each.json) == SAVED | SUBMITTED
    for slot in Slot.objects.select_related("reader__study"):
        assert set(blinding.presentation(slot)) == ALLOWED


def test_pages_answers_and_logs_hold_nothing_of_the_case(read):
    secret = set()
    for case in read.study.cases.select_related("patient__cohort", "scan", "pseudo_mri"):
        source = case.scan or case.pseudo_mri
        secret |= {
            case.patient.pseudonym, case.patient.cohort.name, str(case.patient.pk),
            str(case.patient.cohort.pk), str(source.pk), source.file, case.file,
            case.sha256, case.source_sha256, Path(case.file).name,
        }  # fmt: skip
    secret |= {"pseudo_mri", "pseudo-MRI", "reconstruction", "SYNTHETIC", "decoded", "bundle"}
    sent = [
        body.decode("latin-1")
        for each in read.seen
        for name, body in each.bodies.items()
        if name != "volume"
    ]
    heads = [str(each.headers) for each in read.seen]

    for text in [*sent, *heads, *read.log.lines]:
        assert not [word for word in secret if word in text]


def test_time_to_first_byte_does_not_depend_on_the_arm(read, client):
    """200 answers in a shuffled order; a control in which one arm takes 5 ms longer is caught.

    Chance alone gives one p under .01 in a hundred, so a leak is what shows three times.
    """
    client.force_login(read.readers[0].user)
    arms = dict(Slot.objects.filter(reader=read.readers[0]).values_list("token", "case__arm"))
    tokens = np.random.default_rng(1).permutation([*arms] * 8)[:200]
    client.get(reverse("review:case-volume", args=[tokens[0]]))

    def seconds(serve):
        spent = {"real": [], "pseudo_mri": []}
        for token in tokens:
            started = time.perf_counter()
            serve(token)
            spent[arms[token]].append(time.perf_counter() - started)
        return spent

    def differs(serve):
        spent = seconds(serve)
        return ks_2samp(spent["real"], spent["pseudo_mri"]).pvalue <= RARE

    def as_served(token):
        client.get(reverse("review:case-volume", args=[token]))

    def slower_for_one_arm(token):
        time.sleep(0.005 * (arms[token] != "real"))

    assert not all(differs(as_served) for _ in range(3))
    assert differs(slower_for_one_arm)


def test_an_attacker_with_everything_but_the_voxels_guesses(read, record_property):
    area, low, high = attack(features_of(read.seen), read.is_synthetic)

    record_property("area under the curve", f"{area:.2f} ({low:.2f} to {high:.2f})")
    assert low <= 0.5 <= high


def test_the_same_attacker_sees_files_that_were_not_frozen(read):
    """The control: the sources as they are stored, by the same features."""
    sources = {}
    for slot in Slot.objects.select_related("case__scan", "case__pseudo_mri"):
        source = slot.case.scan or slot.case.pseudo_mri
        sources[slot.token] = (read.media / source.file).read_bytes()
    for each in read.seen:
        each.bodies = {"volume": sources[each.token][:352]}

    area, low, _ = attack(features_of(read.seen), read.is_synthetic)

    assert area > 0.95
    assert low > 0.5


def test_orders_are_stored_before_the_first_case_is_seen(read):
    assert StudyFreeze.objects.get(study=read.study).finished_at
    for reader in read.readers:
        arms = list(reader.slots.order_by("position").values_list("case__arm", flat=True))
        assert longest_run(arms) <= 4
        assert reader.slots.first().reading.first_seen_at >= read.study.opened_at


def test_a_presentation_is_there_for_its_reader_alone(read):
    token = read.seen[0].token
    blinding.visible_slot(read.readers[0].user, token)

    for other in (read.readers[1].user, read.study.manager, make_radiologist()):
        with pytest.raises(Http404):
            blinding.visible_slot(other, token)
    with pytest.raises(Http404):
        blinding.visible_slot(read.readers[0].user, "0" * 32)


def test_readers_cannot_open_patients_jobs_or_the_managers_pages(read, client):
    client.force_login(read.readers[0].user)
    case = read.study.cases.filter(arm="real").first()
    decoded = read.study.cases.filter(arm="pseudo_mri").first().pseudo_mri
    study, patient, scan = read.study.pk, case.patient.pk, case.scan.pk
    hidden = [
        reverse("inference:patient", args=[patient]),
        reverse("inference:cohort", args=[case.patient.cohort_id]),
        reverse("inference:export-file", args=[case.patient.cohort_id]),
        reverse("inference:pseudo-mri-volume", args=[decoded.pk]),
        reverse("patients:scan-volume", args=[scan]),
        *(
            reverse(f"review:{page}", args=[study])
            for page in ("study", "protocol", "cases", "readers", "freeze", "statistics", "log")
        ),
    ]
    for address in hidden:
        assert client.get(address).status_code == 404, address


def test_nothing_by_arm_is_shown_before_the_lock(read, client):
    client.force_login(read.study.manager)

    page = client.get(reverse("review:study", args=[read.study.pk])).content.decode()

    assert "19 of 19" in page
    assert "pseudo" not in page.lower()
    assert client.get(reverse("review:figures", args=[read.study.pk])).status_code != 200


def test_a_study_that_is_not_open_gives_no_voxels(read):
    slot = Slot.objects.select_related("reader__study").first()
    ReaderStudy.objects.filter(pk=read.study.pk).update(
        state="locked", locked_at=read.study.opened_at
    )

    with pytest.raises(Http404):
        blinding.study_copy_response(slot)
    assert blinding.worklist(slot.reader.user)[0].token == ""


def test_another_manager_sees_no_study(read, client):
    client.force_login(make_manager())

    assert client.get(reverse("review:study", args=[read.study.pk])).status_code == 404
    assert b"Expert study" not in client.get(reverse("review:studies")).content
