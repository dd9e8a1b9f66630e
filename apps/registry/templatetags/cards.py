"""How the figures of a model card are written: in a fixed order, each with its interval."""

from collections.abc import Iterator, Mapping
from typing import Any

from django import template

from apps.patients.templatetags.numbers import number, thousands
from ml.card import gate_words, gates_of

register = template.Library()

# In the order of the page; a figure that is not here follows under its own name. (The database
# keeps no order of the keys.)
WORDS = {
    "auc": "AUC",
    "auc_minus_logistic_regression": "AUC, minus that of a logistic regression",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "brier": "Brier score",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
    "answers": "Answers at 90 % coverage",
    "certain": "AD or CN, not uncertain",
    "ad_covered": "AD not excluded where it is true",
    "cn_covered": "CN not excluded where it is true",
    "logistic_regression": "Logistic regression on the same records",
    "auc_with_label_proximal": "AUC with close copies of the label",
    "heads": "The readers side by side",
    "cnn_on_real_mri": "CNN on real MRI, AUC",
    "cnn_on_pseudo_mri": "CNN on pseudo-MRI, AUC",
    "surrogate": "Surrogate, AUC",
    "record": "Logistic regression on the record, AUC",
    "fusion": "All three fused, AUC",
    "cnn_pseudo_minus_real": "CNN on pseudo-MRI, minus on real",
    "fusion_minus_surrogate": "Fused, minus surrogate",
    "fusion_minus_cnn_on_pseudo_mri": "Fused, minus CNN",
    "fusion_minus_record": "Fused, minus record",
    "neighbours": "CNN where skip features are exchanged",
    "true": "None exchanged",
    "mean_skips": "Mean of all donors",
    "random_donors": "Random donors",
    "cn_donors": "Donors without AD alone",
    "ad_donors": "Donors with AD alone",
    "shuffled_z": "Surrogates of others, own skip features",
    "donors_vote": "Vote of the donors' diagnoses",
    "donors_with_ad": "Donors with AD",
    "ad_donors_shift_over_ad_cn_difference": "Moved by donors with AD, share of AD's own",
    "swap_ratio": "Swap ratio of real latents",
    "surrogate_swap_ratio": "Swap ratio of surrogates",
    "ventricle_difference_ml": "Ventricles, AD minus CN, ml",
    "ssim": "Likeness of pseudo-MRI and scan (SSIM)",
    "pseudo_mri": "Pseudo-MRI",
    "mean_brain": "The mean brain instead",
    "own_latent_own_skips": "The scan's own latent and skips",
    "own_latent_donor_skips": "The scan's own latent, donors' skips",
    "no_latent_donor_skips": "No latent, donors' skips",
}


@register.filter
def figure(metric: Any) -> str:
    """A number alone, or with its interval and n."""
    if not isinstance(metric, Mapping):
        return number(float(metric), digits=3) if isinstance(metric, int | float) else str(metric)
    if metric.get("value") is None:
        return "not defined"
    words = number(float(metric["value"]), digits=2)
    if metric.get("low") is not None and metric.get("high") is not None:
        low, high = (number(float(metric[key]), digits=2) for key in ("low", "high"))
        words += f" ({low} to {high})"
    if metric.get("n"):
        words += f", n {thousands(int(metric['n']))}"
    return words


@register.filter
def gates(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """Figure and verdict of each gate of a card, and the tag that the verdict is shown in."""
    tags = {True: "tag-done", False: "tag-danger", None: "tag-warn"}
    rows = []
    for each in gates_of(card):
        words, _, verdict = gate_words(each).partition(": ")
        rows.append({"words": words, "verdict": verdict, "tag": tags[each.passed]})
    return rows


@register.filter
def figures(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of name and figure; a row without a figure is the heading of those that follow."""
    return list(_rows(metrics))


def _rows(metrics: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    places = {key: place for place, key in enumerate(WORDS)}
    for key in sorted(metrics, key=lambda key: (places.get(key, len(places)), key)):
        metric, name = metrics[key], WORDS.get(key, key.replace("_", " ").capitalize())
        if isinstance(metric, Mapping) and "value" not in metric:
            yield {"name": name, "figure": ""}
            yield from _rows(metric)
        else:
            yield {
                "name": name,
                "figure": _difference(metric) if "_minus_" in key else figure(metric),
            }


def _difference(metric: Any) -> str:
    """A difference has a sign, and says in words what its interval shows."""
    words = figure(metric)
    if not isinstance(metric, Mapping) or metric.get("value") is None:
        return words
    sign = "+" if metric["value"] > 0 else ""
    covers_zero = metric.get("low") is not None and metric["low"] <= 0 <= metric["high"]
    return f"{sign}{words}. No difference is shown" if covers_zero else f"{sign}{words}"
