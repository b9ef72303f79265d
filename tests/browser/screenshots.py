"""Take a picture of every page: `python -m tests.browser.screenshots --out docs/screenshots`.

Pages come from the demo workspace (`lbsf demo --prepare-only`), 1280 and 1920 wide, light and dark;
empty, unknown and error states from the tests' fake workspace.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from dashboard.measure.watch import FLAGS, chromium_path
from tests.browser.pages import bars, click, idle, open_panel, open_row, visit
from tests.browser.servers import fake_server, real_server

WIDTHS = (1280, 1920)
SCHEMES = ("light", "dark")
#: What the first screen of a laptop holds, and the tallest picture worth keeping.
SCREEN, TALLEST = 800, 4000
#: Picture's name -> (mode of the fake server, address).
STATES = {
    "state-empty-workspace": ("empty", "/"),
    "state-proxy-label": ("proxy", "/"),
    "state-damaged-workspace": ("broken", "/"),
    "state-several-workspaces": ("several", "/"),
    "state-no-match": ("demo", "/?q_user=%25"),
    "state-no-user": ("demo", "/user"),
    "state-unknown-user": ("demo", "/user?user=U00"),
    "state-empty-history": ("demo", "/user?user=empty"),
    "state-one-payment": ("demo", "/user?user=one-payment"),
    "state-broken-sum": ("demo", "/user?user=broken"),
    "state-hostile-names": ("demo", "/user?user=hostile"),
    "state-empty-cohort": ("demo", "/cohorts?a_merchant=nobody"),
}


@contextmanager
def _page(browser: Browser, width: int, scheme: str) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": width, "height": SCREEN},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    yield context.new_page()
    context.close()


def _shoot(page: Page, path: Path) -> None:
    """The whole page, as tall as its content."""
    idle(page)
    tall = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    size = page.viewport_size
    assert size is not None
    page.set_viewport_size({"width": size["width"], "height": min(int(tall) + 8, TALLEST)})
    page.wait_for_timeout(900)  # charts and grids settle after the resize
    page.screenshot(path=path)
    page.set_viewport_size({"width": size["width"], "height": SCREEN})
    print(path)


def pages(browser: Browser, address: str, out: Path) -> None:
    """Every page of a real workspace, in every width and scheme."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            with _page(browser, width, scheme) as page:
                tail = f"{width}-{scheme}.png"
                for name in ("cohorts", "model"):
                    visit(page, f"{address}/{name}")
                    _shoot(page, out / f"{name}-{tail}")
                visit(page, address)
                _shoot(page, out / f"portfolio-{tail}")
                open_row(page, 0)
                _shoot(page, out / f"user-{tail}")
                for panel in ("How it adds up", "Relations"):
                    open_panel(page, panel)
                    _shoot(page, out / f"user-{panel.lower().replace(' ', '-')}-{tail}")
                open_panel(page, "Payments")
                click(page, bars(page).first)
                page.locator(".st-key-selected_merchant").wait_for()
                page.mouse.move(0, 0)
                _shoot(page, out / f"user-merchant-{tail}")


def states(browser: Browser, out: Path) -> None:
    """Empty, unknown and error states."""
    for mode in dict.fromkeys(mode for mode, _ in STATES.values()):
        with fake_server(mode) as address:
            for name, (wanted, place) in STATES.items():
                for scheme in SCHEMES if wanted == mode else ():
                    with _page(browser, 1280, scheme) as page:
                        visit(page, f"{address}{place}")
                        _shoot(page, out / f"{name}-1280-{scheme}.png")


def main() -> int:
    """Take the pictures; 0 when all were taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--workspace", type=Path, default=Path(".lbsf/demo/workspace"))
    parser.add_argument("--only", choices=("pages", "states"), help="take only these")
    arguments = parser.parse_args()
    path = chromium_path()
    if path is None:
        print("No Chromium here: install Debian's `chromium` to take pictures.", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS])
        if arguments.only != "states":
            with real_server(arguments.workspace) as address:
                pages(browser, address, arguments.out)
        if arguments.only != "pages":
            states(browser, arguments.out)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
