"""What the documents name exists."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from ml.evaluation.tables.results import readable

ROOT = Path(__file__).parent.parent
NAMED = sorted(
    set(re.findall(r"`(ml\.[\w.]+\.[A-Za-z]\w*)`", (ROOT / "docs/paper-map.md").read_text()))
)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("dotted", NAMED)
def test_every_equation_points_at_code_that_cites_it(dotted):
    module, symbol = dotted.rsplit(".", 1)
    assert "Paper:" in getattr(import_module(module), symbol).__doc__


def test_the_paper_map_covers_all_equations():
    text = (ROOT / "docs/paper-map.md").read_text()
    assert all(f"({number})" in text for number in range(1, 8))


def test_every_trap_and_canary_names_tests_that_exist():
    rows = re.findall(r"^\| [^|-].*", (ROOT / "docs/traps.md").read_text(), flags=re.MULTILINE)
    rows = [row for row in rows if "negative control" not in row]
    assert len(rows) == 12 + 7
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), (file, test)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(document):
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text())
    assert [t for t in targets if not (document.parent / t).exists()] == []


def test_the_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make ([a-z-]+)`", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


@pytest.mark.parametrize("people", ["phantoms", "oasis"])
def test_the_papers_tables_stand_in_the_results_as_they_were_printed(people):
    kept = ROOT / "benchmarks" / "results" / f"tables_{people}.json"
    printed = readable(json.loads(kept.read_text())).splitlines()
    rows = [line for line in printed if line.startswith("|")]
    told = set((ROOT / "docs/results.md").read_text().splitlines())
    assert len(rows) > 20
    assert [row for row in rows if row not in told] == []
