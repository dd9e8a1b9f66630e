"""The statistics of a study as a PDF: the page on paper, with every mark and signature."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
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
from reportlab.platypus import (
    Flowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from apps.review.models import ReaderStudy, StudyAnalysis
from apps.review.reporting.report import Report, report_of
from apps.review.reporting.table3 import Picture, Row, Table3
from apps.review.reporting.words import MINUS, RESEARCH, SIMULATED, Cell

# Of static/css/tokens.css, light theme: paper is always light.
INK, INK_2, LINE, LINE_STRONG, SUNKEN, RISK, WARN = (
    colors.HexColor(code)
    for code in ("#16191c", "#4a535b", "#d9dde1", "#7d8790", "#eceef0", "#0b5c6b", "#7a4d00")
)
SIDE = 15 * mm
FRAME_PADDING = 6  # points that reportlab keeps between a frame and what is in it
WIDTH = A4[0] - 2 * SIDE
BODY, BOLD = "Vera", "VeraBd"  # reportlab's own, whose licence allows embedding; they have a minus

TEXT = ParagraphStyle("text", fontName=BODY, fontSize=9, leading=13, textColor=INK)
SMALL = ParagraphStyle("small", TEXT, fontSize=7.5, leading=10, textColor=INK_2)
STRONG = ParagraphStyle("strong", SMALL, fontName=BOLD, textColor=INK)
HEAD = ParagraphStyle("head", TEXT, fontName=BOLD, fontSize=11, leading=15, spaceBefore=10)
TITLE = ParagraphStyle("title", TEXT, fontName=BOLD, fontSize=15, leading=19)
MARK = ParagraphStyle("mark", TEXT, fontName=BOLD, textColor=WARN)


def write_report(study: ReaderStudy, analysis: StudyAnalysis, *, made_at: datetime) -> bytes:
    """The bytes of the PDF. The same analysis at the same time gives the same bytes."""
    _register_fonts()
    report, out = report_of(study, analysis), BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=SIDE - FRAME_PADDING,
        rightMargin=SIDE - FRAME_PADDING,
        topMargin=16 * mm,
        bottomMargin=20 * mm,
        title=f"MIRAGE reader study {study.pk}, statistics",
        author="MIRAGE",
        subject=f"{RESEARCH} {SIMULATED if study.is_simulated else ''}".strip(),
        invariant=1,
    )
    parts: list[Flowable] = [*_head(report, made_at), *_shown(report)]
    for table in report.tables:
        parts += _table3(table, report)
    parts += [*_detection(report), *_agreement(report), *_times(report), *_sensitivity(report)]
    parts += _provenance(report)
    foot = partial(_foot, study)
    document.build(parts, onFirstPage=foot, onLaterPages=foot)
    return out.getvalue()


def _register_fonts() -> None:
    if BODY not in pdfmetrics.getRegisteredFontNames():
        folder = Path(reportlab.__file__).parent / "fonts"
        for name in (BODY, BOLD):
            pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))


def _head(report: Report, made_at: datetime) -> list[Flowable]:
    study = report.study
    facts = [report.readers, report.cases, f"{report.repeats} repeats"]
    facts += [f"{report.ratings_per_arm} readings", f"printed {_time(made_at)}"]
    parts = [
        _text(f"Study {study.pk}: {study.title}", TITLE),
        _text(" · ".join(facts), SMALL),
        Spacer(1, 4),
    ]
    if study.is_simulated:
        parts.append(_text(SIMULATED, MARK))
    return parts


def _shown(report: Report) -> list[Flowable]:
    parts: list[Flowable] = [_text("What the study shows", HEAD)]
    for sentence in report.sentences:
        subject = f'<font name="{BOLD}">{escape(sentence.subject)}</font>'
        parts.append(Paragraph(f"• {subject}: {escape(sentence.text)}", TEXT))
    return parts + [_text(f"• {caution}", SMALL) for caution in report.cautions]


def _table3(table: Table3, report: Report) -> list[Flowable]:
    header = ["Question", table.reference_name, table.compared_name]
    header += [f"{table.reference_name} {MINUS} {table.compared_name}"]
    header += ["Difference and margin", "Verdict"]
    shares = [0.19, 0.125, 0.125, 0.135, 0.2, 0.225]
    if table.has_paper:
        header.append("The paper")
        shares = [0.18, 0.115, 0.115, 0.125, 0.2, 0.165, 0.1]
    rows = [_row(row, has_paper=table.has_paper) for row in table.rows]
    parts: list[Flowable] = [
        _text(f"Ratings by arm: {table.reference_name} and {table.compared_name}", HEAD),
        _text(
            "The paper's Table 3 from this study. Intervals in brackets are 95 %, over readers and "
            f"cases, {report.content['replicates']:,} bootstraps; thick in the picture: the "
            "interval of the equivalence test; grey: the margin of the protocol."
            + (
                " The paper's numbers are real / synthetic and have no intervals."
                if table.has_paper
                else ""
            ),
            SMALL,
        ),
        _table(header, rows, shares),
    ]
    return parts + [_text(f"• {note}", SMALL) for note in table.notes]


def _row(row: Row, *, has_paper: bool) -> list[Any]:
    verdict = [_text(row.verdict.text, STRONG)]
    if row.verdict.more:
        verdict.append(_text(row.verdict.more, SMALL))
    cells: list[Any] = [
        [_text(row.title, STRONG), _text(row.unit, SMALL)],
        *(_two_lines(cell) for cell in (row.reference, row.compared, row.difference)),
        _drawing(row.picture) if row.picture else "",
        verdict,
    ]
    return [*cells, row.paper] if has_paper else cells


def _two_lines(cell: Cell) -> list[Flowable]:
    return [_text(cell.value, STRONG if cell.is_defined else SMALL), _text(cell.interval, SMALL)]


def _drawing(picture: Picture) -> Drawing:
    """The page's small picture, scaled to its column."""
    scale, height = 0.185 * WIDTH / picture.width, 18.0
    drawing = Drawing(picture.width * scale, height)

    def line(low: float, high: float, width: float) -> None:
        bar = Line(low * scale, height / 2, high * scale, height / 2)
        bar.strokeColor, bar.strokeWidth = RISK, width
        drawing.add(bar)

    if picture.margin:
        low, high = (edge * scale for edge in picture.margin)
        drawing.add(Rect(low, 0, high - low, height, fillColor=SUNKEN, strokeColor=None))
        for edge in (low, high):
            dashed = Line(edge, 0, edge, height, strokeColor=LINE_STRONG, strokeWidth=0.7)
            dashed.strokeDashArray = (2, 2)
            drawing.add(dashed)
    middle = picture.zero * scale
    drawing.add(Line(middle, 0, middle, height, strokeColor=INK_2, strokeWidth=0.7))
    if picture.outer:
        line(*picture.outer, 1.0)
    if picture.inner:
        line(*picture.inner, 3.0)
    dot = Circle(picture.dot * scale, height / 2, 3.2, fillColor=RISK, strokeColor=colors.white)
    drawing.add(dot)
    return drawing


def _detection(report: Report) -> list[Flowable]:
    parts: list[Flowable] = []
    for table in report.detection:
        header = ["Reader", "Right", "Against chance", "d'", "Criterion"]
        rows = [
            [row.name, row.right, row.p, f"{row.d_prime.value} {row.d_prime.interval}",
             row.criterion]
            for row in table.rows
        ]  # fmt: skip
        heading = f"{table.title} {table.arms}"
        parts += [
            KeepTogether([
                _text(heading, HEAD),
                _text(
                    "Readers alone: exact binomial tests. All: over readers and cases. d' is 0 "
                    "where nothing can be told apart; a criterion above 0 prefers “real”.",
                    SMALL,
                ),
                _table(header, rows, [0.2, 0.25, 0.18, 0.25, 0.12]),
            ]),
            *(_text(f"• {note}", SMALL) for note in table.notes),
        ]  # fmt: skip
    return parts


def _agreement(report: Report) -> list[Flowable]:
    header = ["Question", *report.measures, "Same reader, repeats"]
    rows = [[row.title, *map(_two_lines, row.cells)] for row in report.agreement]
    return [
        _text("Agreement between readers and of readers with themselves", HEAD),
        _table(header, rows, [0.2, *[0.13] * 5, 0.15]),
        *(_text(f"• {note}", SMALL) for note in report.agreement_notes),
    ]


def _times(report: Report) -> list[Flowable]:
    rows = [[each.arm, each.reference, each.compared, each.difference] for each in report.times]
    header = ["Arms", "Median of the first", "Median of the second", "Difference"]
    trends = [["Seconds", report.time_trend], *map(list, report.trends)]
    return [
        _text("Time a case, and change along the order", HEAD),
        _table(header, rows, [0.28, 0.24, 0.24, 0.24]),
        Spacer(1, 4),
        _table(["Change from one place to the next", "Mean over readers"], trends, [0.4, 0.6]),
    ]


def _sensitivity(report: Report) -> list[Flowable]:
    if not report.flagged:
        return []
    said = f"{', '.join(report.flagged)}: these readers may know cases."
    parts: list[Flowable] = [_text("Without readers who may know cases", HEAD), _text(said, TEXT)]
    if report.sensitivity:
        header = ["Difference", "All readers", "Without them"]
        parts.append(_table(header, [list(row) for row in report.sensitivity], [0.5, 0.25, 0.25]))
    return parts


def _provenance(report: Report) -> list[Flowable]:
    content, study = report.content, report.study
    rows = [
        ["Protocol sha256", content["protocol_sha256"]],
        ["Ratings sha256", content["ratings_sha256"]],
        ["Script version", content["script_version"]],
        ["Seed, bootstraps", f"{content['seed']}, {content['replicates']:,}"],
        ["Volumes", "; ".join(report.sources)],
        [
            "Left out",
            f"{report.plan.exclusions} Amended answers: {content['described']['amended']}.",
        ],
    ]
    signed = study.events.filter(is_signed=True).select_related("actor").exclude(kind="exported")
    for event in signed:
        who = event.actor.get_full_name() or event.actor.get_username()
        said = f"{_time(event.happened_at)}, signed by {who}: “{event.reason}”"
        rows.append([event.get_kind_display(), said])
    return [_text("Protocol and signatures", HEAD), _table(None, rows, [0.2, 0.8])]


def _table(
    header: Sequence[str] | None, rows: Sequence[Sequence[Any]], shares: Sequence[float]
) -> Table:
    cells: list[list[Any]] = [
        [_text(cell, SMALL) if isinstance(cell, str) else cell for cell in row] for row in rows
    ]
    if header:
        cells.insert(0, [_text(cell, STRONG) for cell in header])
    table = Table(
        cells,
        colWidths=[share * WIDTH for share in shares],
        repeatRows=1 if header else 0,
        hAlign="LEFT",
    )
    style = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
        ("LEFTPADDING", (1, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ]
    if header:
        style.append(("LINEBELOW", (0, 0), (-1, 0), 0.8, LINE_STRONG))
    table.setStyle(TableStyle(style))
    return table


def _text(words: str, style: ParagraphStyle) -> Paragraph:
    """Whatever stands in a title or a reason is text, never markup."""
    return Paragraph(escape(words), style)


def _time(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "j F Y, H:i:s")


def _foot(study: ReaderStudy, canvas: Any, document: Any) -> None:
    """What every sheet must say, because sheets are parted."""
    canvas.saveState()
    canvas.setFont(BODY, 7)
    canvas.setFillColor(INK_2)
    said = f"{RESEARCH} Protocol {study.protocol_sha256[:16]}."
    canvas.drawString(SIDE, 12 * mm, said)
    canvas.drawRightString(A4[0] - SIDE, 12 * mm, f"Study {study.pk}, page {document.page}")
    if study.is_simulated:
        canvas.setFont(BOLD, 7)
        canvas.setFillColor(WARN)
        canvas.drawString(SIDE, 8.5 * mm, SIMULATED)
    canvas.restoreState()
