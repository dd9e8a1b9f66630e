"""Bundles are checked, copied and deployed; what is wrong with one is said."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from apps.registry import selectors, services
from apps.registry.checks import deployed_bundle
from apps.registry.models import Bundle, Deployment
from ml.card import BundleCard, Reference, judge, sha256_of
from tests.factories import NOW, BundleFactory, DeploymentFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _bundles_of_this_test(settings, tmp_path):
    settings.MIRAGE_BUNDLES_DIR = tmp_path / "bundles"


@pytest.fixture
def folder(tmp_path):
    return bundle_folder(tmp_path / "made elsewhere", judge("swap_ratio", 0.9, 0.8, 200))


def bundle_folder(folder, *gates, version="1.0"):
    """A folder that is a bundle as far as the registry looks: a card, and files as it says."""
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    card = BundleCard(
        name="demo",
        version=version,
        created_at="2026-01-01T00:00:00+00:00",
        command="python -m ml train",
        seed=1,
        profile="tiny",
        spacing_mm=8.0,
        schema=("age",),
        reference=Reference(
            n=10, n_ad=5, age_low_years=60.0, age_high_years=90.0, description="Invented people."
        ),
        base_rate=0.5,
        min_inputs=1,
        gates=gates,
        limits="Not a diagnosis.",
        files={"weights.safetensors": sha256_of(folder / "weights.safetensors")},
    )
    (folder / "card.json").write_text(card.to_json())
    return folder


@pytest.fixture
def deployed(folder):
    bundle = services.register_bundle(folder=folder, now=NOW)
    services.deploy(bundle=bundle, deployed_by=None, now=NOW, reason="For a test.")
    return bundle


def test_a_registered_bundle_no_longer_needs_the_folder_it_came_from(deployed, folder):
    (folder / "weights.safetensors").unlink()

    assert selectors.champion_state() == selectors.ChampionState(bundle=deployed, problem="")


def test_registering_the_same_bundle_twice_keeps_one(folder):
    once = services.register_bundle(folder=folder, now=NOW)

    assert services.register_bundle(folder=folder, now=NOW) == once
    assert Bundle.objects.count() == 1


def test_registering_again_mends_a_damaged_copy(deployed, folder):
    (selectors.folder_of(deployed) / "weights.safetensors").write_bytes(b"damage")
    services.register_bundle(folder=folder, now=NOW)

    assert not selectors.champion_state().problem


def test_a_changed_file_is_refused_and_nothing_is_copied(folder, settings):
    (folder / "weights.safetensors").write_bytes(b"changed")

    with pytest.raises(services.UnfitBundleError, match=r"weights\.safetensors"):
        services.register_bundle(folder=folder, now=NOW)

    assert not Bundle.objects.exists()
    assert not settings.MIRAGE_BUNDLES_DIR.exists()


def test_files_that_the_card_does_not_name_are_not_copied(folder):
    (folder / "extra.pkl").write_bytes(b"cos\nsystem\n")

    bundle = services.register_bundle(folder=folder, now=NOW)

    names = {path.name for path in selectors.folder_of(bundle).iterdir()}
    assert names == {"card.json", "weights.safetensors"}


def test_without_a_deployment_everyone_is_told_what_to_do():
    assert "register_bundle" in selectors.champion_state().problem
    assert [message.id for message in deployed_bundle()] == ["registry.W002"]


@pytest.mark.parametrize("damage", ["missing", "changed", "card", "folder"])
def test_a_damaged_bundle_is_named_by_check_and_page(deployed, damage):
    assert not selectors.champion_state().problem
    copy = selectors.folder_of(deployed)
    if damage == "missing":
        (copy / "weights.safetensors").unlink()
    elif damage == "changed":
        (copy / "weights.safetensors").write_bytes(b"damage!")
    elif damage == "card":
        card = json.loads((copy / "card.json").read_text()) | {"version": "2.0"}
        (copy / "card.json").write_text(json.dumps(card))
    else:
        copy.rename(copy.with_name("elsewhere"))

    problem = selectors.champion_state().problem
    assert str(deployed) in problem
    assert [(message.id, message.msg) for message in deployed_bundle()] == [
        ("registry.E001", problem)
    ]


def test_the_newest_deployment_answers_and_the_others_stay():
    first, second = DeploymentFactory(), DeploymentFactory()

    assert selectors.champion() == second.bundle
    assert list(Deployment.objects.all()) == [second, first]


def test_the_database_refuses_to_change_or_remove_a_deployment():
    deployment = DeploymentFactory()

    with pytest.raises(IntegrityError), transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(bundle=BundleFactory())
    with pytest.raises(IntegrityError), transaction.atomic():
        deployment.delete()


FAILED = {
    "failed": ([judge("swap_ratio", 0.4, 0.8, 200)], "swap ratio 0.40, at least 0.80: failed"),
    "not measured": ([judge("swap_ratio", None, 0.8, 200)], "swap ratio not measured"),
    "older than gates": ([], "Its card holds no gates"),
}


@pytest.mark.parametrize(("gates", "words"), FAILED.values(), ids=FAILED)
def test_a_bundle_with_a_failed_gate_answers_only_if_somebody_says_why(tmp_path, gates, words):
    bundle = services.register_bundle(folder=bundle_folder(tmp_path / "new", *gates), now=NOW)
    deployment = {"bundle": bundle, "deployed_by": None, "now": NOW, "reason": "It is newer."}

    for despite in ("", "  "):
        with pytest.raises(services.GateFailedError, match=words):
            services.deploy(**deployment, despite=despite)
    assert selectors.champion() is None

    services.deploy(**deployment, despite="To show what a dead latent looks like.")
    assert selectors.champion() == bundle
    reason = Deployment.objects.get().reason
    assert words in reason
    assert "what a dead latent looks like" in reason


def test_a_gate_with_too_few_test_people_to_judge_by_stops_nobody(tmp_path):
    few = judge("swap_ratio", 0.4, 0.8, 10)
    bundle = services.register_bundle(folder=bundle_folder(tmp_path / "new", few), now=NOW)
    services.deploy(bundle=bundle, deployed_by=None, now=NOW, reason="For a test.")

    assert selectors.champion() == bundle


def test_the_command_keeps_a_bundle_with_a_failed_gate_but_does_not_deploy_it(tmp_path):
    folder = bundle_folder(tmp_path / "new", judge("swap_ratio", 0.4, 0.8, 200))

    with pytest.raises(CommandError, match=r"failed\. Train it again, or say why"):
        call_command("register_bundle", folder, "--deploy", stdout=StringIO())
    assert Bundle.objects.count() == 1
    assert selectors.champion() is None

    why = ("--despite-failed-gates", "For a talk.")
    call_command("register_bundle", folder, "--deploy", *why, stdout=StringIO())
    assert selectors.champion() == Bundle.objects.get()


def test_the_command_registers_and_deploys(folder):
    out = StringIO()
    call_command("register_bundle", folder, "--deploy", stdout=out)

    assert selectors.champion().version == "1.0"
    assert "answers from now on" in out.getvalue()


def test_the_command_refuses_in_plain_words(tmp_path):
    with pytest.raises(CommandError, match=r"There is no card\.json"):
        call_command("register_bundle", tmp_path / "nowhere")
