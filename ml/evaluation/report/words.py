"""The words of a report: figures with their intervals, and sentences that say no more than they."""

from collections.abc import Mapping
from typing import Any

from ml.card import BundleCard
from ml.evaluation.clinical import ENOUGH_FOR_A_CURVE
from ml.evaluation.parts.trial import is_told


def interval(figure: Mapping[str, float] | None, digits: int = 2) -> str:
    """A figure with its 95 % interval, or that there are too few.

    Example:
        >>> interval({"value": 0.8, "low": 0.75, "high": 0.85})
        '0.80 (0.75 to 0.85)'
    """
    if figure is None:
        return "too few"
    value, low, high = (
        f"{round(figure[name], digits) + 0.0:.{digits}f}" for name in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})".replace("-", "\N{MINUS SIGN}")


def signed(figure: Mapping[str, float] | None, digits: int = 3) -> str:
    """A difference with its sign and 95 % interval."""
    if figure is None:
        return "too few"
    value, low, high = (
        f"{round(figure[name], digits) + 0.0:+.{digits}f}" for name in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})".replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """A share as a whole percentage.

    Example:
        >>> percent(0.3)
        '30 %'
    """
    return f"{round(100 * share)} %"


def verdict(difference: Mapping[str, float]) -> str:
    """What a paired difference shows, in one word or three.

    Example:
        >>> verdict({"value": 0.02, "low": -0.01, "high": 0.05})
        'no difference is shown'
    """
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "no difference is shown"


def title(results: Mapping[str, Any]) -> str:
    """Heading of the page."""
    return f"How well {results['about']['bundle']} answers"


def about(results: Mapping[str, Any]) -> str:
    """Who judged, in one line."""
    known = results["about"]
    own = (
        "; the part of its own cohort that was held out of training" if known["is_held_out"] else ""
    )
    return (
        f"{known['people']} people of {known['cohort']}, {known['with_ad']} with Alzheimer's "
        f"disease and {known['people'] - known['with_ad']} without{own}. Trained on "
        f"{known['trained_on']['n']} others. Every figure with its 95 % interval."
    )


def notice(results: Mapping[str, Any]) -> list[str]:
    """What stands above everything else."""
    found = ["Research use only. Not a diagnosis."]
    if results["about"]["is_invented"]:
        found.append(
            "These people are invented (phantoms with known truth): the figures say how the "
            "method works, not how it does in patients."
        )
    return found


def sentences(results: Mapping[str, Any]) -> list[str]:
    """What a clinician should know, most important first."""
    bundle, known = results["bundle"], results["about"]
    best = results["others"][results["best_other"]]
    difference = best["bundle_minus_it"]
    found = [
        f"Shown one person with Alzheimer's disease and one without, it gives the one with the "
        f"disease the higher probability in {_of_100(bundle['auc'])} of 100 such pairs.",
        f"{best['label']} on the same records, without any knowledge graph or MRI: in "
        f"{_of_100(best['auc'])} of 100. {_compared(difference)} (AUC difference "
        f"{signed(difference)}).",
        _calibration_sentence(bundle),
        _answer_sentence(results["answers"], known["people"]),
        f"Where {percent(known['settings']['prevalence'])} of people have the disease, a "
        f"probability of {percent(bundle['threshold'])} or more is right in "
        f"{_of_100(bundle['ppv'])} of 100, and one below it means no Alzheimer's disease in "
        f"{_of_100(bundle['npv'])} of 100.",
        _missing_sentence(results["hidden"]["values"]),
    ]
    if is_told(results["readers"]):
        found.append(_reader_sentence(results["readers"]["readers"]))
    if is_told(results["images"]) and results["images"]["pseudo_minus_mean"]["ssim"]:
        found.append(_image_sentence(results["images"]))
    if is_told(results["explanations"]):
        found.append(_explanation_sentence(results["explanations"]))
    if is_told(results["membership"]):
        found.append(_membership_sentence(results["membership"]["attacks"]))
    return found


def _compared(difference: Mapping[str, float]) -> str:
    found = verdict(difference)
    return (
        "Between the two no difference is shown" if "shown" in found else f"This model is {found}"
    )


def _of_100(figure: Mapping[str, float]) -> str:
    value, low, high = (round(100 * figure[name]) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _calibration_sentence(bundle: Mapping[str, Any]) -> str:
    error = bundle["calibration_error"]
    off = error["value"] > error["perfect_high"]
    return (
        f"Its probabilities {'do not agree' if off else 'agree'} with what was observed "
        f"{'' if off else 'as far as so many people can tell '}(mean distance "
        f"{error['value']:.3f}; a perfect model would get {error['perfect']:.3f} here, and more "
        f"than {error['perfect_high']:.3f} in 5 of 100 samples)."
    )


def _answer_sentence(answers: Mapping[str, Any], people: int) -> str:
    counts = answers["counts"]
    silent = counts["outside"] + counts["too_few"]
    text = (
        f"Of {people} people it calls {counts['ad'] + counts['cn']} likely one or the other and "
        f"{counts['uncertain']} uncertain; "
        + (
            f"{silent} get no probability, because their records are outside the training data or "
            "too empty."
            if silent
            else "nobody's record is outside the training data or too empty."
        )
    )
    covered = {name: figure for name, figure in answers["covered"].items() if figure}
    names = {"ad": "with", "cn": "without"}
    return text + "".join(
        f" Of those {names[name]} the disease, its answer leaves room for the truth in "
        f"{_of_100(figure)} of 100."
        for name, figure in covered.items()
    )


def _missing_sentence(shares: list[Mapping[str, Any]]) -> str:
    third = next(each for each in shares if each["share"] == 0.3)
    return (
        f"With 30 % of the values of every record taken away its AUC changes by "
        f"{signed(third['change'])}."
    )


def _reader_sentence(readers: Mapping[str, Any]) -> str:
    difference = readers["cnn_on_pseudo_mri"]["minus_surrogate"]
    found = verdict(difference)
    told = found if "shown" in found else f"the picture is {found}"
    return (
        "Reading its pseudo-MRIs with a network that was trained on scans, in place of its own "
        f"number: {told} (AUC difference {signed(difference)})."
    )


def _image_sentence(images: Mapping[str, Any]) -> str:
    own, mean = images["pseudo_mri"]["ssim"]["value"], images["mean_surrogate"]["ssim"]["value"]
    closer = "closer" if verdict(images["pseudo_minus_mean"]["ssim"]) == "better" else "no closer"
    return (
        f"Its pseudo-MRIs are {closer} to the person's own scan than one and the same mean picture "
        f"for everybody (SSIM {own:.3f} and {mean:.3f}, {images['people']} people). A pseudo-MRI "
        "is synthetic and is nobody's anatomy."
    )


def _explanation_sentence(explanations: Mapping[str, Any]) -> str:
    if not explanations["passed"]:
        return "No way of explaining its numbers passed all five tests: none should be shown."
    passed = " and ".join(explanations["passed"])
    return (
        f"Of {len(explanations['methods'])} ways to say which findings drove a number, "
        f"{len(explanations['passed'])} passed all five tests: {passed.lower()}. Each says "
        "what the model makes of a finding, not what the finding does to a person."
    )


def _membership_sentence(attacks: Mapping[str, Any]) -> str:
    telling = [name for name, figure in attacks.items() if figure["low"] > 0.5]
    if telling:
        return (
            "Somebody who has a person's record and scan can tell better than by chance whether "
            f"that person trained it, by the {' and the '.join(telling)}."
        )
    return (
        "Attacks on its pseudo-MRIs and probabilities did not tell who trained it better than "
        f"chance does (AUC {' and '.join(interval(figure) for figure in attacks.values())}; 0.50 "
        "tells nothing)."
    )


def checklist(results: Mapping[str, Any], card: BundleCard) -> list[tuple[str, str, str]]:
    """Items of TRIPOD+AI (Collins 2024) that data can answer: number, item, answer."""
    about, reference = results["about"], card.reference
    source = "invented people with known truth" if about["is_invented"] else "people"
    held = "held out of its training" if about["is_held_out"] else "another cohort than trained it"
    ages = about["age_years"]
    curve = results["bundle"]["calibration_curve"]
    return [
        ("5a", "Source of data", f"{about['cohort']}: {source}; {held}"),
        ("6", "Participants", f"{about['people']} records of {about['persons']} persons"
            + (f", {ages[0]:.0f} to {ages[1]:.0f} years" if ages else "")),
        ("8", "Outcome", "the diagnosis recorded in participants.tsv (AD or CN)"),
        ("9", "Predictors", f"{len(card.schema)} concepts, listed in the card"),
        ("10", "Sample size", f"{about['with_ad']} with AD, {about['people'] - about['with_ad']} "
            "without; no calculation beforehand"),
        ("11", "Missing data", "left out of the record; nothing is filled in"),
        ("12c", "Model", f"{about['bundle']}, profile {card.profile}, seed {card.seed}"),
        ("12e", "Measures", "AUC (DeLong and bootstrap), average precision, Brier score, "
            "calibration slope, intercept and error, net benefit, coverage"),
        ("12f", "Model updating", "none"),
        ("14", "Fairness", "AUC by age, sex and APOE \N{GREEK SMALL LETTER EPSILON}4; "
            f"{sum(each['auc'] is None for each in results['subgroups'])} groups are too small"),
        ("20", "Training people", f"{reference.n}, {reference.n_ad} with AD, "
            f"{reference.age_low_years:.0f} to {reference.age_high_years:.0f} years"),
        ("23a", "Calibration curve", "on this page" if curve else
            f"not drawn: it needs {ENOUGH_FOR_A_CURVE} people with AD and as many without"),
        ("26", "Limitations", card.limits),
    ]  # fmt: skip
