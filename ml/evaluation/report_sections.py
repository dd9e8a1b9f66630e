"""The sections of a report: what each shows, to whom, or why it shows nothing."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ml.evaluation import report_figures as figures
from ml.evaluation.report_words import interval, signed

Reader = Literal["clinician", "scientist"]
Results = Mapping[str, Any]

SCORES = {
    "auc": "AUC, DeLong",
    "auc_bootstrap": "AUC, bootstrap over people",
    "average_precision": "Average precision (AUPRC)",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "brier": "Brier score",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
}
ANSWERS = {
    "ad": "Alzheimer's disease more likely",
    "cn": "Cognitively normal more likely",
    "uncertain": "Uncertain",
    "outside": "Outside the training data",
    "too_few": "Too few inputs",
}


def section(
    name: str,
    title: str,
    reader: Reader,
    *,
    help_text: str = "",
    table: Mapping[str, Any] | None = None,
    figure: Mapping[str, Any] | None = None,
    empty: str = "",
) -> dict[str, Any]:
    """One section; a section without table and figure says why."""
    return {
        "id": name,
        "title": title,
        "reader": reader,
        "help": help_text,
        "table": table,
        "figure": figure,
        "empty": "" if table or figure else empty,
    }


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, text: bool = False
) -> dict[str, Any]:
    """Cells that are formatted already; the first of a row is its header, the others numbers.

    Args:
        caption: above the table.
        head: names of the columns.
        rows: as wide as the head.
        text: the other cells are words.
    """
    return {
        "caption": caption,
        "head": list(head),
        "rows": [list(row) for row in rows],
        "text": text,
    }


def sections(results: Results) -> list[dict[str, Any]]:
    """All sections, those of a clinician first."""
    return [
        _beside(results),
        section(
            "roc", "Receiver operating characteristic", "clinician", figure=figures.roc(results)
        ),
        section(
            "calibration",
            "Calibration",
            "clinician",
            figure=figures.calibration(results),
            empty="Too few for a curve: it needs 200 people with the disease and 200 without.",
        ),
        section("benefit", "Net benefit", "clinician", figure=figures.net_benefit(results)),
        _missing(results),
        _answers(results),
        _scores(results),
        _groups(results),
        _subgroups(results),
        _outside(results),
        _images(results),
    ]


def _beside(results: Results) -> dict[str, Any]:
    bundle, best = results["bundle"], results["best_other"]
    rows = [[results["about"]["bundle"], interval(bundle["auc"], 3), ""]]
    for name, other in results["others"].items():
        label = f"{other['label']}, best of these" if name == best else other["label"]
        rows.append([label, interval(other["auc"], 3), signed(other["bundle_minus_it"])])
    return section(
        "beside",
        "Beside what needs no MRI",
        "clinician",
        help_text=f"Each tuned by nested cross-validation and fitted on "
        f"{results['about']['others_fitted_on']}. The best of them was chosen on the people who "
        "judge, which flatters it.",
        table=table("AUC on the same people", ["Model", "AUC", "Bundle minus it, paired"], rows),
    )


def _missing(results: Results) -> dict[str, Any]:
    return section(
        "missing",
        "When values are missing",
        "clinician",
        help_text="Values are taken away at random from every record.",
        figure=figures.against_share(
            results["bundle"]["auc"], results["hidden"]["values"], "Values taken away, %"
        ),
    )


def _answers(results: Results) -> dict[str, Any]:
    answers = results["answers"]
    rows = [[label, str(answers["counts"][name])] for name, label in ANSWERS.items()]
    covered = answers["covered"]
    rows += [
        ["Room for the truth, of those with AD", interval(covered["ad"])],
        ["Room for the truth, of those without", interval(covered["cn"])],
    ]
    return section(
        "answers",
        "Answers",
        "clinician",
        help_text="An answer leaves room for the truth if it is right or uncertain.",
        table=table("What it answers", ["Answer", "People"], rows),
    )


def _scores(results: Results) -> dict[str, Any]:
    bundle, about = results["bundle"], results["about"]
    error = bundle["calibration_error"]
    rows = [[label, interval(bundle[name], 3)] for name, label in SCORES.items()]
    rows.append(
        [
            "Expected calibration error, 10 groups (perfect model here: mean, 95th percentile)",
            f"{error['value']:.3f} ({error['perfect']:.3f}, {error['perfect_high']:.3f})",
        ]
    )
    return section(
        "scores",
        "All figures of the bundle",
        "scientist",
        help_text=f"Threshold {bundle['threshold']:.3f}, chosen out of fold in training. "
        f"Predictive values at a prevalence of {100 * about['settings']['prevalence']:.0f} %. "
        f"Bootstrap: {about['replicates']} samples, cases and controls apart, seed "
        f"{about['settings']['seed']}.",
        table=table("Surrogate", ["Figure", "Value (95 % interval)"], rows),
    )


def _groups(results: Results) -> dict[str, Any]:
    rows = [
        [each["name"], interval(each["auc"]), signed(each["change"])]
        for each in results["hidden"]["groups"]
    ]
    return section(
        "groups",
        "Without whole groups of findings",
        "scientist",
        table=table("AUC without a group", ["Without", "AUC", "Change, paired"], rows),
    )


def _subgroups(results: Results) -> dict[str, Any]:
    rows = [
        [group["name"], str(group["people"]), interval(group["auc"])]
        for group in results["subgroups"]
    ]
    return section(
        "subgroups",
        "Subgroups",
        "scientist",
        help_text="“Too few”: below 30 people or 5 of a diagnosis.",
        table=table("AUC by subgroup", ["Group", "People", "AUC"], rows),
    )


def _outside(results: Results) -> dict[str, Any]:
    rows = [[each["name"], interval(each["refused"])] for each in results["outside"]]
    return section(
        "outside",
        "Refused as outside the training data",
        "scientist",
        table=table("Share of records refused", ["Records", "Share refused"], rows),
    )


def _images(results: Results) -> dict[str, Any]:
    images = results["images"]
    rows = [
        [label, f"{of['ssim']:.3f}", f"{of['psnr_db']:.1f}", f"{of['l1']:.3f}"]
        for name, label in (
            ("pseudo_mri", "Pseudo-MRI"),
            ("mean_surrogate", "One mean picture for everybody"),
        )
        if images and (of := images[name])
    ]
    return section(
        "images",
        "Pictures",
        "scientist",
        table=table(
            f"Inside the brain, {images['people']} people",
            ["Guess", "SSIM", "PSNR, dB", "L1"],
            rows,
        )
        if images
        else None,
        empty="No scans in this cohort, so no picture is judged.",
    )
