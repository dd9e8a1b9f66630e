"""After the readings: what is signed, what is computed, what is shown and what is taken along."""

import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from datetime import timedelta

import pypdf
import pytest
from django.db import transaction
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import FailedSignIn
from apps.accounts.signing import Signature, SignatureError, sign
from apps.inference.models import InferenceRun
from apps.jobs.models import JobState
from apps.review import analysing
from apps.review.exporting import ExportError, ExportKind, write_export
from apps.review.models import Reading, StudyAnalysis, StudyEvent, StudyState
from apps.review.ratings_of import missing_readings, presentations_of, rated, sha256_of
from apps.review.reporting.imrmc import ImrmcError, by_diagnosis
from apps.review.reporting.report import report_of
from apps.review.services import reading, results
from tests.review.factories import freeze, make_draft, make_manager
from tests.review.readings import read_study

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def read(django_db_setup, django_db_blocker, tmp_path_factory):
    """An open study that all readers but one have finished, and one may know cases."""
    media = tmp_path_factory.mktemp("media")
    with django_db_blocker.unblock(), override_settings(MEDIA_ROOT=media), transaction.atomic():
        draft = make_draft(readers=3, cases_per_arm=6, replicates=100)
        draft.readers.filter(number=2).update(knows_cases="Works at the clinic.")
        yield read_study(freeze(draft), gap=0.3, skill=1.0, leave=2)
        transaction.set_rollback(True)


@pytest.fixture
def study(read, db):
    """The same for each test, whatever the last one did to it."""
    read.refresh_from_db()
    read.manager.set_password(PASSWORD)
    read.manager.save()
    return read


@pytest.fixture
def signed(study):
    return Signature(user=study.manager, reason="All is read.", signed_at=timezone.now())


@pytest.fixture
def locked(study, signed):
    return results.lock_study(study=study, signature=signed, missing_accepted=2, now=timezone.now())


@pytest.fixture
def analysed(locked, signed):
    """Unblinded, with its figures, computed as a worker does."""
    analysis = results.unblind_study(study=locked, signature=signed, now=timezone.now())
    analysing.analyse_study(analysis_id=analysis.pk)
    analysis.refresh_from_db()
    assert analysis.state == JobState.SUCCEEDED, analysis.reason
    locked.refresh_from_db()
    return locked


@pytest.fixture
def manager(client, study):
    client.force_login(study.manager)
    return client


def signing_as(user, password=PASSWORD, reason="All is read.", now=None):
    return sign(
        user=user, password=password, reason=reason, address="10.0.0.1", now=now or timezone.now()
    )


def test_a_signature_is_the_password_and_a_reason(study):
    signature = signing_as(study.manager, reason="  All is read. ")
    assert (signature.user, signature.reason) == (study.manager, "All is read.")
    with pytest.raises(SignatureError, match="Give a reason") as refused:
        signing_as(study.manager, reason=" ")
    assert refused.value.field == "reason"
    with pytest.raises(SignatureError, match="1,001 characters"):
        signing_as(study.manager, reason="x" * 1001)


def test_guessing_a_signature_is_slowed_down_as_guessing_a_sign_in_is(study):
    for _ in range(5):
        with pytest.raises(SignatureError, match="not your password"):
            signing_as(study.manager, password="a guess")
    with pytest.raises(SignatureError, match="Wait 15 minutes"):
        signing_as(study.manager)  # not even the right one
    assert signing_as(study.manager, now=timezone.now() + timedelta(minutes=16))


def test_a_wrong_password_changes_nothing_and_says_so(manager, study):
    page = reverse("review:sign", args=[study.pk, "lock"])
    form = {"missing": 2, "accepts": "on", "reason": "All is read.", "password": "a guess"}
    response = manager.post(page, form)
    assert response.status_code == 422
    assert "This is not your password" in response.text
    assert "a guess" not in response.text
    study.refresh_from_db()
    assert study.state == StudyState.OPEN
    assert not study.events.filter(kind="locked").exists()
    assert FailedSignIn.objects.exists()


def test_missing_readings_are_counted_shown_and_have_to_be_accepted(manager, study):
    page = reverse("review:sign", args=[study.pk, "lock"])
    assert "Lock although 2 readings are missing" in manager.get(page).text
    form = {"missing": 2, "reason": "The last reader is ill.", "password": PASSWORD}
    assert "2 readings are missing. Tick" in manager.post(page, form).text
    form |= {"missing": 1, "accepts": "on"}
    assert "2 readings are still missing; you accepted 1" in manager.post(page, form).text
    study.refresh_from_db()
    assert study.state == StudyState.OPEN

    manager.post(page, form | {"missing": 2})

    study.refresh_from_db()
    assert study.state == StudyState.LOCKED
    event = study.events.get(kind="locked")
    assert (event.actor, event.is_signed) == (study.manager, True)
    assert event.reason == "The last reader is ill."
    assert event.details["missing"] == 2
    assert event.details["protocol_sha256"] == study.protocol_sha256


def test_after_the_lock_nothing_is_saved_submitted_or_amended(locked):
    now = timezone.now()
    done = Reading.objects.filter(slot__reader__study=locked).select_related("slot__reader__study")
    slot, answers = done[0].slot, done[0].answers
    given = {"slot": slot, "answers": answers, "revision": 1, "active_ms": 1, "now": now}
    before = list(done.values_list("answers", "submitted_at"))
    for act in (reading.save_answers, reading.submit_reading):
        with pytest.raises(reading.StudyClosedError):
            act(**given)
    with pytest.raises(reading.StudyClosedError):
        reading.amend_reading(slot=slot, question="realism", answer=1, reason="Oh.", now=now)
    assert list(done.values_list("answers", "submitted_at")) == before


def test_a_case_that_was_withdrawn_is_not_missed(study):
    unread = study.readers.get(number=3).slots.order_by("-position")[:2]
    gone = {slot.case for slot in unread}
    for case in gone:
        nobody = {"age_years": None, "is_female": None, "is_ad": None, "patient": None}
        type(case).objects.filter(pk=case.pk).update(withdrawn_at=timezone.now(), file="", **nobody)
    assert missing_readings(study) == 0


def test_acts_come_in_their_order(study, locked, signed):
    now = timezone.now()
    with pytest.raises(results.ResultsRefusedError, match="is locked, so it cannot be locked"):
        results.lock_study(study=study, signature=signed, missing_accepted=2, now=now)
    with pytest.raises(results.ResultsRefusedError, match="cannot be analysed"):
        results.request_analysis(study=study, requested_by=study.manager, now=now)
    with pytest.raises(results.ResultsRefusedError, match="cannot be exported"):
        results.export_study(study=study, kind=ExportKind.CSV, signature=signed, now=now)
    results.unblind_study(study=study, signature=signed, now=now)
    with pytest.raises(results.ResultsRefusedError, match="cannot be unblinded"):
        results.unblind_study(study=study, signature=signed, now=now)


def test_nothing_by_arm_is_told_before_the_unblinding(manager, study, signed):
    def told():
        texts = [manager.get(reverse("review:statistics", args=[study.pk])).text]
        texts.append(manager.get(reverse("review:log", args=[study.pk])).text)
        assert manager.get(reverse("review:figures", args=[study.pk])).status_code == 404
        for kind in ExportKind:
            file = manager.post(
                reverse("review:export", args=[study.pk, kind]),
                {"reason": "Now.", "password": PASSWORD},
            )
            assert file.status_code == 302
        return " ".join(texts).lower()

    assert "pseudo" not in told()
    results.lock_study(study=study, signature=signed, missing_accepted=2, now=timezone.now())
    assert "pseudo" not in told()
    assert not study.analyses.exists()


def test_another_manager_and_a_reader_find_no_study(client, analysed):
    addresses = [reverse(f"review:{name}", args=[analysed.pk]) for name in (
        "statistics", "figures", "log")]  # fmt: skip
    addresses.append(reverse("review:sign", args=[analysed.pk, "unblind"]))
    addresses.append(reverse("review:export", args=[analysed.pk, "ratings.csv"]))
    addresses.append(reverse("review:analysis", args=[analysed.analyses.get().pk]))
    for user in (make_manager(), analysed.readers.first().user):
        client.force_login(user)
        assert {client.get(address).status_code for address in addresses} == {404}


def test_the_figures_name_what_made_them_and_are_the_same_again(analysed):
    content = analysed.analyses.get().content
    assert content["protocol_sha256"] == analysed.protocol_sha256
    assert re.fullmatch(r"[\d.]+\+[0-9a-f]{12}", content["script_version"])
    assert content["ratings_sha256"] == sha256_of(rated(presentations_of(analysed)))
    assert content["missing"] == 2
    event = analysed.events.get(kind="analysed")
    assert event.details["script_version"] == content["script_version"]
    assert analysing.content_of(analysed, progress=lambda share: None) == content


def test_practice_is_left_out_and_an_amended_answer_counts(study):
    before = rated(presentations_of(study))
    assert not any(each.is_practice for each in before)
    first = Reading.objects.filter(
        slot__reader__study=study, slot__case__is_practice=False, submitted_at__isnull=False
    ).select_related("slot__reader__study", "slot__case")[0]
    said = first.answers["usability"]
    other = 1 if said > 2 else 5
    reading.amend_reading(
        slot=first.slot, question="usability", answer=other, reason="=Misread", now=timezone.now()
    )
    after = rated(presentations_of(study))
    assert sha256_of(after) != sha256_of(before)
    [mine] = [p for p in after if (p.reader, p.position) == (1, first.slot.position)]
    [answer] = [a for a in mine.answers if a.question.name == "usability"]
    assert (answer.given, answer.first, answer.reasons) == (other, said, ("=Misread",))


def test_a_cancelled_analysis_writes_nothing_and_can_be_retried(locked, signed):
    analysis = results.unblind_study(study=locked, signature=signed, now=timezone.now())
    with pytest.raises(results.ResultsRefusedError, match="under way"):
        results.request_analysis(study=locked, requested_by=signed.user, now=timezone.now())
    results.cancel_analysis(analysis=analysis)
    analysing.analyse_study(analysis_id=analysis.pk)
    analysis.refresh_from_db()
    assert (analysis.state, analysis.content) == (JobState.CANCELLED, None)
    assert not locked.events.filter(kind="analysed").exists()
    with pytest.raises(results.ResultsRefusedError, match="already ended"):
        results.cancel_analysis(analysis=analysis)
    results.retry_analysis(analysis=analysis)
    analysis.refresh_from_db()
    assert analysis.state == JobState.QUEUED
    with pytest.raises(results.ResultsRefusedError, match="under way or done"):
        results.retry_analysis(analysis=analysis)


def test_an_analysis_that_is_cancelled_half_way_stops_there(locked, signed, monkeypatch):
    analysis = results.unblind_study(study=locked, signature=signed, now=timezone.now())
    monkeypatch.setattr(analysing, "EVERY_S", 0.0)
    told = []

    class Watched(analysing.Attempt):
        def raise_if_lost(self):
            told.append(1)
            if len(told) == 3:
                StudyAnalysis.objects.all().cancel(analysis.pk)
            super().raise_if_lost()

    monkeypatch.setattr("apps.jobs.attempt.Attempt", Watched)
    analysing.analyse_study(analysis_id=analysis.pk)
    analysis.refresh_from_db()
    assert analysis.state == JobState.CANCELLED
    assert 0 < analysis.share_done < 1
    assert len(told) < 8


def test_the_page_shows_table_3_beside_the_papers_numbers(manager, analysed):
    page = manager.get(reverse("review:statistics", args=[analysed.pk])).text
    for number in (".54 / .42", "3.04 / 2.96", "3.00 / 2.98"):
        assert number in page
    report = report_of(analysed, analysed.analyses.get())
    [table] = report.tables
    realism = next(row for row in table.rows if row.name == "realism")
    for cell in (realism.reference, realism.compared, realism.difference):
        assert cell.value in page
        assert cell.interval in page
    assert analysed.protocol_sha256 in page
    assert "2 readings were missing" in page
    assert not re.search(r"\bsignificant|\bbetter than real|\bnan\b", page, re.IGNORECASE)


def test_a_difference_that_was_put_in_is_found_by_the_plain_means(analysed):
    of = analysed.analyses.get().content["statistics"]["questions"]["usability"]
    rows = [p for p in rated(presentations_of(analysed)) if p.repeat_of is None]
    means = {}
    for arm in ("real", "pseudo_mri"):
        said = [a.number for p in rows if p.arm == arm
                for a in p.answers if a.question.name == "usability"]  # fmt: skip
        means[arm] = sum(said) / len(said)
    found = of["comparisons"]["pseudo_mri"]
    assert found["reference"]["value"] == pytest.approx(means["real"])
    assert found["difference"]["value"] == pytest.approx(means["real"] - means["pseudo_mri"])


def test_readers_who_may_know_cases_are_named_and_left_out_beside(locked):
    content = analysing.content_of(locked, progress=lambda share: None)
    rest = content["without_flagged"]
    assert rest["readers"] == [1, 3]
    assert rest["statistics"]["readers"] == 2
    assert "clinic" not in json.dumps(content)
    report = report_of(locked, StudyAnalysis(study=locked, content=content))
    assert report.flagged == ["Reader 2"]
    assert {name for name, *_ in report.sensitivity} >= {"Usability, pseudo-MRIs"}


def exported(study, kind):
    return write_export(study, kind, made_at=timezone.now())


def test_each_file_is_signed_for_and_logged_with_its_hash(manager, analysed):
    for kind in ExportKind:
        page = reverse("review:export", args=[analysed.pk, kind])
        assert manager.get(page).status_code == 200
        form = {"reason": f"For the archive: {kind}.", "password": PASSWORD}
        wrong = manager.post(page, form | {"password": "a guess"})
        assert wrong.status_code == 422
        file = manager.post(page, form)
        assert "attachment" in file["Content-Disposition"]
        assert file["Cache-Control"] == "no-store"
        event = StudyEvent.objects.filter(study=analysed, kind="exported").latest("pk")
        assert (event.is_signed, event.reason) == (True, form["reason"])
        assert event.details["sha256"] == hashlib.sha256(file.content).hexdigest()
        if kind is not ExportKind.PDF:
            assert analysed.protocol_sha256 in file.content.decode()
            assert event.details["script_version"] in file.content.decode()
    assert StudyEvent.objects.filter(study=analysed, kind="exported").count() == len(ExportKind)


def test_the_csv_has_a_row_for_each_answer_and_runs_no_formula(analysed):
    text = exported(analysed, ExportKind.CSV).content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    submitted = Reading.objects.filter(
        slot__reader__study=analysed, submitted_at__isnull=False
    ).count()
    assert len(rows) == submitted * len(analysed.plan.questions)
    comments = {row["answer"] for row in rows if row["question"] == "comment"}
    assert comments == {"", "'=1+1"}
    assert {row["arm"] for row in rows} == {"real", "pseudo_mri"}
    assert {row["diagnosis"] for row in rows} == {"AD", "CN"}
    assert {row["reader"] for row in rows if row["reader_may_know_cases"] == "yes"} == {"2"}
    made = {(row["arm"], row["volume_made_by"]) for row in rows}
    bundle = InferenceRun.objects.latest("pk").bundle
    source = f"bundle {bundle.name} {bundle.version}, {bundle.fingerprint[:12]}"
    assert made == {("real", "scanner"), ("pseudo_mri", source)}
    assert source in exported(analysed, ExportKind.IMRMC).content.decode()
    assert sum(row["repeat_of_position"] != "" for row in rows) == sum(
        p.repeat_of is not None for p in presentations_of(analysed)
    ) * len(analysed.plan.questions)
    names = {reader.user.username for reader in analysed.readers.all()}
    assert not any(name in text for name in names)


@pytest.mark.parametrize("kind", [ExportKind.IMRMC, ExportKind.IMRMC_DIAGNOSIS])
def test_an_imrmc_file_says_of_itself_what_is_in_it(analysed, kind):
    head, data = exported(analysed, kind).content.decode().split("BEGIN DATA:\n")
    sizes = dict(re.findall(r"^(N[01RM]): (\d+)$", head, re.MULTILINE))
    rows = [line.split(",") for line in data.splitlines()]
    assert all(len(row) == 4 for row in rows)
    truth = {case: value for reader, case, _, value in rows if reader == "-1"}
    scores = [row for row in rows if row[0] != "-1"]
    assert len([row for row in rows if row[0] == "-1"]) == len(truth)
    assert {row[1] for row in scores} == set(truth)
    assert len({tuple(row[:3]) for row in scores}) == len(scores)
    assert sizes == {
        "N0": str(list(truth.values()).count("0")),
        "N1": str(list(truth.values()).count("1")),
        "NR": str(len({row[0] for row in scores})),
        "NM": str(len({row[2] for row in scores})),
    }
    is_one = {f"case{case.number}": case.arm == "pseudo_mri" if kind is ExportKind.IMRMC
              else case.is_ad for case in analysed.cases.all()}  # fmt: skip
    assert {case: value == "1" for case, value in truth.items()} == {
        case: is_one[case] for case in truth
    }


def test_a_file_that_cannot_be_made_is_refused_and_not_logged(locked, signed):
    results.unblind_study(study=locked, signature=signed, now=timezone.now())
    for kind in (ExportKind.PDF, ExportKind.JSON):
        with pytest.raises(ExportError, match="no figures yet"):
            results.export_study(study=locked, kind=kind, signature=signed, now=timezone.now())
    assert not locked.events.filter(kind="exported").exists()
    nobody_known = [replace(p, is_ad=None) for p in rated(presentations_of(locked))]
    with pytest.raises(ImrmcError, match="two cases with a recorded diagnosis of AD"):
        by_diagnosis(nobody_known, head=[])


def test_the_pdf_says_what_the_page_says_and_who_signed(analysed):
    def words():
        document = pypdf.PdfReader(io.BytesIO(exported(analysed, ExportKind.PDF).content))
        return [re.sub(r"\s+", " ", page.extract_text()) for page in document.pages]

    pages = words()
    whole = " ".join(pages)
    report = report_of(analysed, analysed.analyses.get())
    for row in report.tables[0].rows:
        assert row.difference.value in whole
    assert ".54 / .42" in whole
    assert report.content["script_version"] in whole.replace(" ", "")
    assert analysed.protocol_sha256[:16] in whole.replace(" ", "")
    assert whole.count("All is read.") == 2
    assert all("Not a diagnosis" in page for page in pages)
    assert "Simulated" not in whole
    analysed.is_simulated = True
    assert all("Simulated readers" in page for page in words())


def test_simulated_readers_are_marked_on_the_page_and_in_every_file(manager, analysed):
    type(analysed).objects.filter(pk=analysed.pk).update(is_simulated=True)
    analysed.refresh_from_db()
    page = manager.get(reverse("review:statistics", args=[analysed.pk])).text
    assert "The readers of this study are simulated." in page
    for kind in set(ExportKind) - {ExportKind.PDF, ExportKind.CSV}:
        assert "Simulated readers" in exported(analysed, kind).content.decode()
    text = exported(analysed, ExportKind.CSV).content.decode("utf-8-sig")
    assert {row["readers_are_simulated"] for row in csv.DictReader(io.StringIO(text))} == {"yes"}


def test_the_log_tells_who_did_what_and_why(manager, analysed):
    page = manager.get(reverse("review:log", args=[analysed.pk])).text
    assert page.count("All is read.") == 2
    assert page.count("signed") >= 2
    assert analysed.manager.username in page
    assert page.index("Unblinded") < page.index("Locked")
    with pytest.raises(Exception, match="only ever added"), transaction.atomic():
        analysed.events.update(reason="Another.")
