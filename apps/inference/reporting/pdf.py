"""A result as a PDF: the page on paper, with the caveats of the model card and every mark."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path as FilePath
from typing import Any
from xml.sax.saxutils import escape

import reportlab
from django.utils import timezone
from django.utils.formats import date_format
from reportlab.graphics.shapes import Circle, Drawing, Line, Rect
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from apps.inference.explaining import Path
from apps.inference.reporting.words import (
    ANSWERS,
    COVERAGE,
    SYNTHETIC,
    WHAT_IT_IS,
    number_in_words,
)
from apps.inference.results import Result
from apps.inference.templatetags.estimates import finding_value
from apps.inference.templatetags.results import ml, percentile_words
from apps.inference.volumes import Volume
from apps.patients.templatetags.numbers import change, of_hundred, percent, probability
from apps.registry.templatetags.cards import figure

# Of static/css/tokens.css, light theme: paper is always light.
INK, INK_2, LINE = (
    colors.HexColor("#16191c"),
    colors.HexColor("#4a535b"),
    colors.HexColor("#d9dde1"),
)
RISK, BAND, TRACK = (colors.HexColor(code) for code in ("#0b5c6b", "#9cc7cf", "#e4e8ea"))
MARK = colors.HexColor("#86106f")
WIDTH = A4[0] - 40 * mm
FRAME_PADDING = 6  # points that reportlab keeps between a frame and what is in it
BODY, BOLD = "Vera", "VeraBd"  # reportlab's own, whose licence allows embedding; they have a minus

TEXT = ParagraphStyle("text", fontName=BODY, fontSize=9, leading=13, textColor=INK)
SMALL = ParagraphStyle("small", TEXT, fontSize=8, leading=11, textColor=INK_2)
HEAD = ParagraphStyle("head", TEXT, fontName=BOLD, fontSize=11, leading=15, spaceBefore=9)
TITLE = ParagraphStyle("title", TEXT, fontName=BOLD, fontSize=16, leading=20)
BIG = ParagraphStyle("big", TEXT, fontName=BOLD, fontSize=26, leading=32)
SYNTHETIC_TEXT = ParagraphStyle("mark", TEXT, fontName=BOLD, fontSize=8, textColor=MARK)


def write_report(result: Result, *, made_at: datetime) -> bytes:
    """The bytes of the PDF. The same result at the same time gives the same bytes."""
    _register_fonts()
    out = BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=20 * mm - FRAME_PADDING,
        rightMargin=20 * mm - FRAME_PADDING,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
        title="MIRAGE research result, not a diagnosis",
        author="MIRAGE",
        subject=WHAT_IT_IS,
        invariant=1,
    )
    parts = [
        *_head(result, made_at),
        *_answer(result),
        *_missing(result),
        *_explanation(result),
        *_volumes(result),
        *_provenance(result),
        *_caveats(result),
    ]
    foot = partial(_foot, result.patient.pseudonym)
    document.build(parts, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def _register_fonts() -> None:
    if BODY not in pdfmetrics.getRegisteredFontNames():
        folder = FilePath(reportlab.__file__).parent / "fonts"
        for name in (BODY, BOLD):
            pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))


def _head(result: Result, made_at: datetime) -> list[Flowable]:
    patient = result.patient
    age = "age not given" if patient.age_years is None else f"{patient.age_years:.0f} years"
    sex = "sex not given" if patient.female is None else ("F" if patient.female else "M")
    said = [f"{age}, {sex}", patient.cohort.name, f"printed {_time(made_at)}"]
    parts = [
        _text(f"{patient.pseudonym}: calibrated probability of Alzheimer disease (AD)", TITLE),
        _text(" · ".join(said), SMALL),
        Spacer(1, 4),
        _text(WHAT_IT_IS, ParagraphStyle("what", TEXT, fontName=BOLD)),
    ]
    if result.stale:
        parts.append(_text(f"This answer is stale: {result.stale}.", TEXT))
    return parts


def _answer(result: Result) -> list[Flowable]:
    prediction, rate = result.prediction, result.card["base_rate"]
    parts: list[Flowable] = []
    if prediction.probability is not None:
        parts += [
            Spacer(1, 6),
            _text(probability(prediction.probability), BIG),
            _text(f"{number_in_words(prediction)}; base rate {probability(rate)}", SMALL),
            _bar(result),
            _text(
                "Of 100 people of the reference population with this number, about "
                f"{of_hundred(prediction.probability)} had AD ({of_hundred(prediction.low or 0.0)} "
                f"to {of_hundred(prediction.high or 0.0)}). Without any input it would be "
                f"{of_hundred(rate)}.",
                TEXT,
            ),
        ]
    parts += [Spacer(1, 4), _text(f"{ANSWERS[prediction.answer]} {COVERAGE}", TEXT)]
    parts += [_text(f"• {reason}", TEXT) for reason in prediction.reasons]
    if len(result.heads) > 1:
        rows = [
            [
                head.name,
                probability(head.probability),
                "no interval"
                if head.low is None or head.high is None
                else f"{probability(head.low)} to {probability(head.high)}",
            ]
            for head in result.heads
        ]
        parts += [
            _text("Two ways to the number", HEAD),
            _table(["Way", "Probability", "95 % interval"], rows, [0.5, 0.2, 0.3]),
            _text(result.agreement, SMALL),
            _text(SYNTHETIC, SYNTHETIC_TEXT),
        ]
    return parts


def _missing(result: Result) -> list[Flowable]:
    count = len(result.prediction.missing)
    parts: list[Flowable] = [_text(f"{count} of {result.inputs} inputs are missing", HEAD)]
    for group in result.missing:
        names = ", ".join(concept.label for concept in group.entries)
        parts.append(_text(f"{group.name}: {names}", SMALL))
    if result.explained and result.explained.missing:
        rows = [
            [each.concept.label, f"{probability(each.low)} to {probability(each.high)}"]
            for each in result.explained.missing
        ]
        parts += [Spacer(1, 4), _table(["If it were known", "The number could become"], rows)]
    return parts


def _explanation(result: Result) -> list[Flowable]:
    explained = result.explained
    if explained is None:
        return []
    parts: list[Flowable] = [_text("What moved the number", HEAD)]
    if not explained.passed:
        sentence = "The deletion check was not passed, so no ranking of the findings is shown."
        return [*parts, _text(sentence, TEXT)]
    rows = [
        [effect.concept.label, finding_value(effect.value, effect.concept), change(effect.change)]
        for effect in explained.effects
    ]
    parts.append(_table(["Finding", "Value", "Change"], rows, [0.5, 0.3, 0.2]))
    for test in explained.deletions:
        verb = "raise" if test.toward_ad else "lower"
        parts.append(
            _text(
                f"Deletion check passed. Without the {test.n} that {verb} it most: "
                f"{change(test.change)}. Without {test.n} at random: {change(test.random_change)} "
                f"({change(test.random_low)} to {change(test.random_high)}).",
                SMALL,
            )
        )
    return parts + [_text(f"Path: {' – '.join(_stops(path))}", SMALL) for path in explained.paths]


def _stops(path: Path) -> list[str]:
    """The finding, what it stands for, what it has in common with the disease, the disease."""
    return list(
        dict.fromkeys([path.effect.concept.label, path.steps[0], path.shared, path.steps[-1]])
    )


def _volumes(result: Result) -> list[Flowable]:
    if not result.volumes:
        return []
    rows = [[volume.name, *_measured(volume)] for volume in result.volumes if not volume.is_further]
    header = ["Region", "Volume", "5th to 95th percentile for age and sex", "Percentile"]
    parts = [
        _text("Regional volumes of the pseudo-MRI", HEAD),
        _text(SYNTHETIC, SYNTHETIC_TEXT),
        _table(header, rows, [0.35, 0.2, 0.3, 0.15]),
    ]
    if result.norms_people:
        parts.append(_text(f"Compared with {result.norms_people}.", SMALL))
    return parts


def _measured(volume: Volume) -> list[str]:
    error = f" ± {ml(volume.error_ml)}" if volume.error_ml else ""
    usual = volume.usual
    if usual is None:
        return [f"{ml(volume.volume_ml)}{error} ml", "no norm", "no norm"]
    return [
        f"{ml(volume.volume_ml)}{error} ml",
        f"{ml(usual.low_ml)} to {ml(usual.high_ml)} ml",
        percentile_words(usual.percentile),
    ]


def _provenance(result: Result) -> list[Flowable]:
    prediction, bundle = result.prediction, result.bundle
    rows = [
        ["Bundle", f"{bundle.name} {bundle.version}"],
        ["Bundle sha256", bundle.fingerprint],
        ["Input snapshot", f"{result.given} values as known {_time(prediction.run.requested_at)}"],
        ["Input sha256", prediction.input_sha256 or "not kept: made by an earlier version"],
        ["Answered", f"{_time(prediction.created_at)}, run {prediction.run.number}"],
    ]
    return [_text("Provenance", HEAD), _table(None, rows, [0.22, 0.78])]


def _caveats(result: Result) -> list[Flowable]:
    card, people = result.card, result.card["reference"]
    lines = [
        f"Trained on {people['n']:,} people, {percent(card['base_rate'])} with AD, aged "
        f"{people['age_low_years']:.0f} to {people['age_high_years']:.0f} years. "
        f"{people['description']}",
        card["limits"],
    ]
    if "auc" in card["metrics"]:
        lines.insert(1, f"AUC there: {figure(card['metrics']['auc'])}.")
    return [_text("From the model card", HEAD), *(_text(line, SMALL) for line in lines if line)]


def _bar(result: Result) -> Drawing:
    """Track, interval, number and base rate, as on the page."""
    prediction, rate = result.prediction, result.card["base_rate"]
    width, height, middle = 320.0, 20.0, 10.0
    low, high, dot = (
        (value or 0.0) * width
        for value in (prediction.low, prediction.high, prediction.probability)
    )
    drawing = Drawing(width, height)
    drawing.add(Rect(0, middle - 4, width, 8, rx=4, fillColor=TRACK, strokeColor=None))
    drawing.add(Rect(low, middle - 4, high - low, 8, rx=4, fillColor=BAND, strokeColor=None))
    base = Line(rate * width, 0, rate * width, height, strokeColor=INK_2, strokeWidth=1)
    base.strokeDashArray = (2, 2)
    drawing.add(base)
    drawing.add(Circle(dot, middle, 5.5, fillColor=RISK, strokeColor=colors.white))
    return drawing


def _table(
    header: Sequence[str] | None,
    rows: Sequence[Sequence[str]],
    shares: Iterable[float] = (0.6, 0.4),
) -> Table:
    cells = [[_text(cell, SMALL) for cell in row] for row in rows]
    if header:
        bold = ParagraphStyle("cell", SMALL, fontName=BOLD)
        cells.insert(0, [_text(cell, bold) for cell in header])
    table = Table(
        cells,
        colWidths=[share * WIDTH for share in shares],
        repeatRows=1 if header else 0,
        hAlign="LEFT",
    )
    table.setStyle(
        TableStyle(
            [
                ("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE),
                ("LEFTPADDING", (0, 0), (0, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return table


def _text(words: str, style: ParagraphStyle) -> Paragraph:
    """Whatever stands in a name or a card is text, never markup."""
    return Paragraph(escape(words), style)


def _time(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "j F Y, H:i:s")


def _foot(pseudonym: str, canvas: Any, document: Any) -> None:
    """What every sheet must say, because sheets are parted."""
    canvas.saveState()
    canvas.setFont(BODY, 7.5)
    canvas.setFillColor(INK_2)
    canvas.drawString(20 * mm, 12 * mm, WHAT_IT_IS)
    canvas.drawRightString(A4[0] - 20 * mm, 12 * mm, f"{pseudonym}, page {document.page}")
    canvas.restoreState()
