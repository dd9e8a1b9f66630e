"""An evaluation as a page for people: sentences for a clinician, tables for a scientist.

The page needs no network and no server: Plotly lies beside it. It shows a view, plain JSON with all
words and figures formatted, which the registry's page shows as well.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ml.card import BundleCard
from ml.evaluation.report import words as words
from ml.evaluation.report.sections import sections
from ml.monai_card import monai_metadata, with_interval

FILES = ("index.html", "report.json", "metadata.json", "plotly.min.js")
READERS = {"clinician": "In figures", "scientist": "For a scientist"}


def view_of(results: Mapping[str, Any], card: BundleCard) -> dict[str, Any]:
    """All that a page about an evaluation shows, as plain JSON.

    Args:
        results: of `ml.evaluation.evaluate.evaluate_bundle`.
        card: of the bundle.

    Returns:
        `title`, `about`, `notice`, `sentences`, `sections` (each with id, title, reader, help,
        table, figure, and in `empty` why there is neither) and `checklist`. A table has a caption,
        a head and rows of text; the first cell of a row is its header, the others are numbers
        unless the table says `text`. A figure is Plotly's JSON.
    """
    return {
        "title": words.title(results),
        "about": words.about(results),
        "notice": words.notice(results),
        "sentences": words.sentences(results),
        "sections": sections(results),
        "checklist": [list(item) for item in words.checklist(results, card)],
    }


def write_report(results: Mapping[str, Any], card: BundleCard, out: Path) -> Path:
    """Write the page, its script, every number as JSON, and the model's card as MONAI has it.

    Args:
        results: of `ml.evaluation.evaluate.evaluate_bundle`.
        card: of the bundle.
        out: folder; files of an earlier report in it are replaced.

    Returns:
        The page.
    """
    out.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=PackageLoader("ml.evaluation.report", "pages"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    view = view_of(results, card)
    figures = {each["id"]: each["figure"] for each in view["sections"] if each["figure"]}
    page = environment.get_template("report.html").render(
        view=view, readers=READERS, figures=figures
    )
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    shutil.copyfile(script, out / "plotly.min.js")
    (out / "report.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    metadata = monai_metadata(card, with_interval(results["bundle"]))
    (out / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    draft = out / "index.html.part"
    draft.write_text(page, encoding="utf-8")
    return draft.replace(out / "index.html")
