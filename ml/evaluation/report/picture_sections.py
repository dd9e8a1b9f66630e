"""The sections of a report about pictures: what they show, what reads them, whom they give away."""

from ml.evaluation.parts.trial import is_told
from ml.evaluation.report import figures
from ml.evaluation.report.layout import Results, Section, not_told, section, table
from ml.evaluation.report.words import interval, percent, signed

READERS = {
    "surrogate": "Surrogate: no picture",
    "cnn_on_pseudo_mri": "CNN on the pseudo-MRI",
    "record": "Regression on the record, in the bundle",
    "fusion": "These three fused",
    "cnn_on_scan": "CNN on the person's scan",
}
REGIONS = {
    "left_ventricle_csf": "Left ventricle",
    "right_ventricle_csf": "Right ventricle",
    "left_temporal_horn_csf": "Left temporal horn",
    "right_temporal_horn_csf": "Right temporal horn",
    "frontal_csf": "Frontal CSF",
    "parietal_csf": "Parietal CSF",
    "temporal_csf": "Temporal CSF",
    "occipital_csf": "Occipital CSF",
    "tissue": "Tissue",
}
GUESSES = {
    "pseudo_mri": "Pseudo-MRI",
    "mean_surrogate": "One mean picture for everybody",
    "pseudo_minus_mean": "Difference, paired",
}


def picture_sections(results: Results) -> list[Section]:
    """All sections that need a picture."""
    return [
        _readers(results),
        _likeness(results),
        _regions(results),
        _atrophy(results),
        _frechet(results),
        _neighbours(results),
        _membership(results),
        _gates(results),
        _maps(results),
    ]


def _readers(results: Results) -> Section:
    name, title, found = "readers", "Two ways to a probability", results["readers"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    best = results["others"][results["best_other"]]["label"]
    rows = [
        [
            label,
            interval(each["auc"], 3),
            signed(each["minus_surrogate"]) if each["minus_surrogate"] else "",
            signed(each["minus_best_other"]),
        ]
        for key, label in READERS.items()
        if (each := found["readers"].get(key))
    ]
    rows.append([f"{best} on the record", interval(found["best_other"], 3), "", ""])
    scans = "" if "cnn_on_scan" in found["readers"] else " There are no scans to read."
    return section(
        name,
        title,
        "scientist",
        help_text="A CNN that was trained on scans reads what the decoder draws from the "
        f"surrogate; the fusion was fitted in training, out of fold.{scans}",
        table=table(
            f"AUC on the {found['people']} people who were drawn",
            ["Reader", "AUC", "Minus surrogate, paired", f"Minus {best.lower()}, paired"],
            rows,
        ),
    )


def _likeness(results: Results) -> Section:
    name, title, found = "images", "Pictures beside the scans", results["images"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    rows = []
    for key, label in GUESSES.items():
        shown = signed if key == "pseudo_minus_mean" else interval
        of = found[key]
        rows.append([label, shown(of["ssim"], 3), shown(of["psnr_db"], 2), shown(of["l1"], 3)])
    return section(
        name,
        title,
        "scientist",
        help_text="The mean picture is what the decoder draws for the mean surrogate: a decoder "
        "that cannot tell people apart reaches as much.",
        table=table(
            f"Inside the brain, {found['people']} people",
            ["Picture", "SSIM", "PSNR, dB", "Mean absolute distance"],
            rows,
        ),
    )


def _regions(results: Results) -> Section:
    name, title, found = "regions", "Regional volumes against the scans", results["images"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    rows = [
        [
            REGIONS[each["name"]],
            interval(each["scan_ml"], 1),
            interval(each["correlation"]),
            interval(each["error_ml"]),
            interval(each["mean_error_ml"]),
            signed(each["error_minus_mean_ml"], 2),
        ]
        for each in found["regions"]
    ]
    return section(
        name,
        title,
        "scientist",
        help_text="In ml, as the atlas reads them off scan and pseudo-MRI; r: with the person's "
        "own scan; error: mean absolute distance to the scan's volume.",
        table=table(
            f"{found['people']} people",
            [
                "Region",
                "Scans",
                "r",
                "Error of the pseudo-MRI",
                "Error of one mean picture",
                "Difference, paired",
            ],
            rows,
        ),
    )


def _atrophy(results: Results) -> Section:
    name, title = "atrophy", "Does AD differ from CN as in the scans?"
    found = results["images"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    told = [each for each in found["regions"] if each["scan_ad_minus_cn_ml"]]
    shown = [each for each in told if each["name"] != "tissue"]
    rows = [
        [
            REGIONS[each["name"]],
            signed(each["scan_ad_minus_cn_ml"], 2),
            signed(each["pseudo_ad_minus_cn_ml"], 2),
            signed(each["pseudo_minus_scan_ml"], 2),
        ]
        for each in told
    ]
    return section(
        name,
        title,
        "scientist",
        help_text="Bootstrap over people. The figure leaves tissue out, whose scale is another.",
        figure=figures.group_differences(shown, [REGIONS[each["name"]] for each in shown])
        if shown
        else None,
        table=table(
            "Mean volume of AD minus that of CN, ml",
            ["Region", "Scans", "Pseudo-MRIs", "Pseudo-MRIs minus scans, paired"],
            rows,
        )
        if rows
        else None,
        empty="Too few: it needs 5 people with a scan of each diagnosis.",
    )


def _frechet(results: Results) -> Section:
    name, title, images = "frechet", "Fréchet distance to scans", results["images"]
    if not is_told(images):
        return not_told(name, title, images, "scientist")
    found = images["frechet"]
    if found is None:
        return section(
            name,
            title,
            "scientist",
            empty="Too few: it needs 20 people with a scan, and a bundle that holds a CNN.",
        )
    labels = {
        "pseudo_mri": "Pseudo-MRIs",
        "mean_surrogate": "One mean picture for everybody",
        "scans": "Scans of as many others",
        "pseudo_minus_scans": "Pseudo-MRIs minus scans",
    }
    return section(
        name,
        title,
        "scientist",
        help_text="On the features of the bundle's first CNN, because a bundle keeps no encoder. "
        f"Pictures of one random half ({found['scans']['n']} people) against scans of the other; "
        "intervals are over such halvings.",
        table=table(
            "0 is the same distribution",
            ["Pictures", "Distance"],
            [[label, interval(found[key])] for key, label in labels.items()],
        ),
    )


def _neighbours(results: Results) -> Section:
    name, title, found = "neighbours", "Vote of the donors' diagnoses", results["neighbours"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    return section(
        name,
        title,
        "scientist",
        help_text="What the people whose skips a pseudo-MRI is made with would say, without any "
        f"picture: {found['known']} of {found['donors']} donors have a known diagnosis.",
        table=table(
            "AUC on the same people",
            ["Reader", "AUC", "Minus surrogate, paired"],
            [["Donors' vote", interval(found["auc"], 3), signed(found["minus_surrogate"])]],
        ),
    )


def _maps(results: Results) -> Section:
    name, title, found = "maps", "Where the CNN looks", results["maps"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    rows = [
        [
            label,
            f"{interval(each['better'])}, {'passed' if each['passed'] else 'failed'}",
            *(
                f"{each[key]:+.3f}".replace("-", "\N{MINUS SIGN}")
                for key in (
                    "deletion",
                    "deletion_random",
                    "insertion",
                    "insertion_random",
                    "randomised",
                )
            ),
        ]
        for label, each in found["maps"].items()
    ]
    return section(
        name,
        title,
        "scientist",
        help_text=f"{found['people']} people, first CNN of the bundle. Passed: taking away the "
        "voxels that a map shows lowers the log-odds of the answer more than random blocks do in "
        f"{percent(found['needed'])} of people. The other columns are means without an interval: "
        "change of the log-odds when voxels are taken away or put in, and rank correlation with "
        "the map of shuffled weights.",
        table=table(
            "Maps of the CNN",
            [
                "Map",
                "Beats random, share of people",
                "Taken away: map",
                "At random",
                "Put in: map",
                "At random",
                "Shuffled weights",
            ],
            rows,
        ),
    )


def _gates(results: Results) -> Section:
    name, title, found = "copies", "Swap test and donor copy test", results["gates"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    said = {True: "passed", False: "failed", None: "too few to judge"}
    rows = [
        [gate["title"], gate["finding"], gate["limit"], said[gate["passed"]]]
        for gate in found["gates"]
    ]
    return section(
        name,
        title,
        "scientist",
        help_text="As the registry's gates judge a bundle that is to be promoted.",
        table=table("Gates on pictures", ["Test", "Found", "Limit", ""], rows, text=True),
    )


def _membership(results: Results) -> Section:
    name, title, found = "membership", "Can it be told who trained?", results["membership"]
    if not is_told(found):
        return not_told(name, title, found, "scientist")
    rows = [
        [f"Attack by {attack}, AUC", interval(figure, 3)]
        for attack, figure in found["attacks"].items()
    ]
    if donors := found["donors"]:
        rows += [
            ["Pseudo-MRI to the nearest donor's scan", interval(donors["to_nearest_donor"], 3)],
            [
                "One mean picture to the nearest donor's scan",
                f"{donors['mean_picture_to_nearest_donor']:.3f}",
            ],
            [
                "Donor's scan to the nearest other donor's, mean",
                f"{donors['donors_to_nearest_other']:.3f}",
            ],
        ]
    members, others = found["people"]
    return section(
        name,
        title,
        "scientist",
        help_text=f"{members} people who trained and {others} who did not; the attacker holds "
        "record and scan of a person and gets pseudo-MRI and probability. An AUC of .5 tells "
        "nothing. Distances are root mean squares of normalised voxels; the mean picture "
        "copies nobody and is near to every brain, so nearness alone proves no copy: see the donor "
        "copy test.",
        table=table("Privacy", ["Figure", "Value (95 % interval)"], rows),
    )
