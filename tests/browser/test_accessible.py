"""axe-core on every page: nothing serious or critical that is ours, in either theme."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from dashboard.measure.watch import SCREEN
from tests.browser.pages import open_row, visit

pytestmark = pytest.mark.browser

#: What Streamlit lays down and no theme reaches: the white text on a chosen option's tag.
THEIRS = '[data-testid="stMultiSelect"] span[title]'


def serious(page: Page) -> list[str]:
    """What axe-core finds serious or critical, in words; all but `THEIRS`."""
    found = Axe().run(page, context={"exclude": [THEIRS]}).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['html'][:200]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault(browser: Browser, demo: str, scheme: str):
    context = browser.new_context(viewport=SCREEN, color_scheme=scheme, bypass_csp=True)  # type: ignore[arg-type]
    page = context.new_page()
    found: dict[str, list[str]] = {}
    for name in ("cohorts", "model", "", "user"):
        if name == "user":
            open_row(page, 0)  # from the portfolio, which was looked at before
        else:
            visit(page, f"{demo}/{name}")
        found[name or "portfolio"] = serious(page)
    context.close()
    assert not [f"{name}: {line}" for name, lines in found.items() for line in lines]


def test_a_fault_would_be_found(page: Page, demo: str):
    visit(page, f"{demo}/model")
    page.evaluate(
        "() => document.querySelector('[data-testid=stMain]')"
        ".insertAdjacentHTML('beforeend', '<button></button><img src=\"data:,\">')"
    )
    assert {line.split()[0] for line in serious(page)} == {"button-name", "image-alt"}
