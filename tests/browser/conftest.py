"""Real Chromium against a real server. WebGL2 is drawn in software, and really drawn."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
NIIVUE = ROOT / "static/vendor/niivue/niivue.umd.js"
AXE = ROOT / "node_modules/axe-core/axe.min.js"
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-rasterization",
    "--disable-gpu-compositing",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 30_000  # a busy machine draws slowly; a test that passes does not wait
PASSWORD = "correct horse battery"
WATCH_POLICY = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
        window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def playwright():
    """Playwright keeps an event loop in this thread, in which Django refuses the database.

    Nothing here is asynchronous, so Django's check is switched off for these tests alone.
    """
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as running:
        yield running
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def launch(playwright, *flags):
    program = shutil.which("chromium")
    assert program, "Chromium is missing. Run `make browser`."
    assert NIIVUE.exists(), "NiiVue is missing. Run `make assets`."
    return playwright.chromium.launch(executable_path=program, args=[*FLAGS, *flags])


@pytest.fixture(scope="package")
def chromium(playwright):
    browser = launch(playwright)
    yield browser
    browser.close()


@pytest.fixture
def new_page(chromium, live_server):
    """Pages that fail the test if the browser meets an error or something the policy forbids."""
    opened = []

    def make(browser=chromium, **options):
        context = browser.new_context(
            base_url=live_server.url, viewport={"width": 1280, "height": 900}, **options
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.add_init_script(WATCH_POLICY)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda message: note(page, message))
        opened.append(page)
        return page

    yield make
    for page in opened:
        problems = page.problems + page.evaluate("window.violations || []")
        page.context.close()
        assert not problems


def note(page, message):
    """Errors count, but for answers that a page is meant to give: 404 and 422 are answers."""
    is_answer = "status of 4" in message.text
    if message.type == "error" and not is_answer:
        page.problems.append(message.text)


def drawn(page):
    """Wait until the browser has painted what was asked for, however slow the machine is."""
    page.evaluate(
        """async () => {
            for (let n = 0; n < 4; n++) await new Promise(requestAnimationFrame);
        }"""
    )


@pytest.fixture
def page(new_page):
    return new_page()


@pytest.fixture
def sign_in(page):
    """Sign somebody in with their password."""

    def do(user, page=page):
        user.set_password(PASSWORD)
        user.save()
        page.goto("/sign-in/")
        page.get_by_label("User name").fill(user.username)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "sign-in" not in url)
        return page

    return do


@pytest.fixture
def axe():
    """Accessibility violations of a page, by the rules of WCAG 2.2 AA and best practice.

    All rules in light, and in dark those of contrast: the others do not depend on colours.
    """
    source = AXE.read_text()

    def violations(page, scheme, more):
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate(f"axe.run(document, {{resultTypes: ['violations']{more}}})")
        return [
            f"{scheme}, {v['id']}: {v['help']} at {node['target']} {node['failureSummary']}"
            for v in found["violations"]
            for node in v["nodes"]
        ]

    def run(page):
        page.evaluate(source)
        found = violations(page, "dark", ", runOnly: ['color-contrast']")
        return found + violations(page, "light", "")

    return run
