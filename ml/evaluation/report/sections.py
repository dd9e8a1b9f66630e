"""The sections of a report: what each shows, to whom, or why it shows nothing."""

from ml.evaluation.parts.trial import is_told
from ml.evaluation.report import figures
from ml.evaluation.report.layout import Results, Section, not_told, section, table
from ml.evaluation.report.picture_sections import picture_sections
from ml.evaluation.report.words import interval, percent, signed

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


def sections(results: Results) -> list[Section]:
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
        _subgroups(results),
        _groups(results),
        _outside(results),
        _schema(results),
        _states(results),
        *picture_sections(results),
        _explanations(results),
    ]


def _beside(results: Results) -> Section:
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


def _missing(results: Results) -> Section:
    shares = results["hidden"]["values"]
    return section(
        "missing",
        "When values are missing",
        "clinician",
        help_text="Values are taken away at random from every record.",
        figure=figures.against_share(results["bundle"]["auc"], shares, "Values taken away, %"),
        table=table(
            "AUC with so many values taken away",
            ["Taken away", "AUC", "Change, paired"],
            [
                [percent(each["share"]), interval(each["auc"]), signed(each["change"])]
                for each in shares
            ],
        ),
    )


def _answers(results: Results) -> Section:
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


def _scores(results: Results) -> Section:
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
        f"Predictive values at a prevalence of {percent(about['settings']['prevalence'])}. "
        f"Bootstrap: {about['replicates']} samples, cases and controls apart, seed "
        f"{about['settings']['seed']}.",
        table=table("Surrogate", ["Figure", "Value (95 % interval)"], rows),
    )


def _groups(results: Results) -> Section:
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


def _subgroups(results: Results) -> Section:
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


def _outside(results: Results) -> Section:
    rows = [[each["name"], interval(each["refused"])] for each in results["outside"]]
    return section(
        "outside",
        "Refused as outside the training data",
        "scientist",
        table=table("Share of records refused", ["Records", "Share refused"], rows),
    )


def _schema(results: Results) -> Section:
    name, title, found = "schema", "Another clinic's table", results["schema"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    rows = [["own names and units", interval(found["own_names"]), "", ""]]
    rows += [
        [
            each["name"],
            interval(each["auc"]),
            signed(each["change"]),
            f"{round(each['linked_rightly']['value'] * each['columns'])} of {each['columns']}",
        ]
        for each in found["situations"]
    ]
    refused = found["situations"][0]["refused_cells"]
    return section(
        name,
        title,
        "scientist",
        help_text="The same people under other column names and in other units, linked by the "
        "names of the dictionary and by the nearness of texts, with nobody to correct it. "
        f"{refused} cells were refused as implausible for the concept they were linked to.",
        table=table(
            "AUC from the table as linked",
            ["Table", "AUC", "Change, paired", "Columns linked rightly"],
            rows,
        ),
    )


def _states(results: Results) -> Section:
    name, title, found = "states", "Concept states exchanged", results["states"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    rows = [
        [
            percent(one["share"]),
            interval(one["auc"]),
            signed(one["change"]),
            interval(other["auc"]),
            signed(other["change"]),
        ]
        for one, other in zip(found["exchanged"], found["random"], strict=True)
    ]
    return section(
        name,
        title,
        "scientist",
        help_text="A bundle keeps no graph, but what the graph's layers made of each finding. Here "
        "these states belong to the wrong findings, or to none, while values stay right; "
        f"mean of {found['draws']} draws, whose spread is in the interval. A fall says that the "
        "model tells findings apart by these states, not that what the graph knows of them adds "
        "anything: for that, graphs are rewired before training, in the tables.",
        figure=figures.spoiled_states(found),
        table=table(
            "AUC when the states of so many findings are spoiled",
            ["Findings", "Exchanged: AUC", "Change, paired", "Random: AUC", "Change, paired"],
            rows,
        ),
    )


TESTS = {
    "deletion": (
        "Deletion: taking its first findings away outdoes random ones",
        "{needed} of people",
    ),
    "insertion": ("Insertion: its first findings alone outdo random ones", "{needed} of people"),
    "noise": (
        "Randomisation: rank correlation with models of noise",
        "within \N{PLUS-MINUS SIGN}{alike}",
    ),
    "stability": ("Stability: the same after small changes of the record", "{needed} of people"),
    "planted": ("Planted cause: what was wired in is named first", "{needed} of people"),
}


def _explanations(results: Results) -> Section:
    name, title = "explanations", "Which explanations can be believed"
    found = results["explanations"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    methods, limits = (
        found["methods"],
        {"needed": percent(found["needed"]), "alike": found["alike"]},
    )
    rows = [
        [
            label,
            needed.format(**limits),
            *(_tested(each["tests"][test]) for each in methods.values()),
        ]
        for test, (label, needed) in TESTS.items()
    ]
    rows.append(
        ["All five", "", *("passed" if each["passed"] else "failed" for each in methods.values())]
    )
    passed = " and ".join(found["passed"]).lower() or "none"
    return section(
        name,
        title,
        "scientist",
        help_text=f"{found['people']} people. Passed all five, and so may be offered to the pages: "
        f"{passed}. There each ranking is tested again on its own record. An explanation says what "
        "the model makes of a finding, not what the finding does to a person.",
        table=table("Tests of each method", ["Test", "Needed", *methods], rows),
    )


def _tested(test: Results) -> str:
    if test["figure"] is None:
        return "too few"
    return f"{interval(test['figure'])}, {'passed' if test['passed'] else 'failed'}"
