"""The rules that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(p for d in ("apps", "ml", "mirage_web") for p in (ROOT / d).rglob("*.py"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))


def name(path):
    return str(path.relative_to(ROOT))


def calls(tree, function):
    return [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and getattr(n.func, "id", "") == function
    ]


@pytest.mark.parametrize("module", [p for p in MODULES if p.name == "tasks.py"], ids=name)
def test_every_task_has_time_limits_and_the_suffix(module):
    functions = [
        n for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, ast.FunctionDef)
    ]
    decorated = [f for f in functions if f.decorator_list]
    assert decorated
    for function in decorated:
        [task] = calls(function.decorator_list[0], "shared_task")
        assert {"soft_time_limit", "time_limit"} <= {k.arg for k in task.keywords}
        assert function.name.endswith("_task")


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_no_module_is_too_long_to_read(module):
    assert len(module.read_text().splitlines()) <= 400


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_nothing_is_unpickled(module):
    assert not re.search(r"torch\.load\(|\bpickle\.load|allow_pickle=True", module.read_text())


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_no_page_has_an_inline_style_or_script(template):
    text = template.read_text()
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=\"|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_no_page_loads_anything_from_elsewhere(template):
    assert not re.search(r"(src|href)=\"(https?:)?//", template.read_text())


def test_the_two_dark_themes_are_the_same():
    text = (ROOT / "static/css/tokens.css").read_text()
    blocks = re.findall(r"color-scheme:\s*dark;(.*?)\}", text, flags=re.DOTALL)
    declarations = [re.findall(r"--[\w-]+:\s*[^;]+", block) for block in blocks]
    assert len(declarations) == 2
    assert declarations[0] == declarations[1]


def test_the_repository_names_no_machine_and_no_registry():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    text_files = [
        ROOT / f
        for f in listed
        if Path(f).suffix
        in {".py", ".md", ".toml", ".json", ".html", ".css", ".js", ".yaml", ".txt", ".sh", ""}
        and (ROOT / f).is_file()
    ]
    pattern = re.compile(r"/(?:work|farm)/|registry\.npmjs|pypi\.org/simple|files\.pythonhosted")
    found = [
        name(f)
        for f in text_files
        if f != Path(__file__) and pattern.search(f.read_text(errors="replace"))
    ]
    assert not found


def test_a_web_process_never_loads_torch_or_numpy():
    code = (
        "import django, sys; django.setup();"
        "from django.urls import get_resolver; list(get_resolver().reverse_dict);"
        "import mirage_web.wsgi;"
        "heavy = ('torch', 'numpy', 'nibabel', 'plotly', 'ml.predictor', 'ml.evaluation');"
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={
            "DJANGO_SETTINGS_MODULE": "mirage_web.settings",
            "PATH": "/usr/bin:/bin",
            "SECRET_KEY": "for-this-test-only",
            "MIRAGE_IDENTIFIER_KEY": "for-this-test-only",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "REDIS_URL": "redis://127.0.0.1:1/0",
        },
    )
    assert result.stdout.strip() == "[]"
