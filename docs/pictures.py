"""The README's pictures, from the page of a real run: python docs/pictures.py [RUN FOLDER] [-o FOLDER]; `make pictures` does it for
reports/example. Each is taken in the light and in the dark, for GitHub shows the one that fits its reader.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

__all__ = ["take"]

_HERE = Path(__file__).parent
_WINDOW = ViewportSize(width=1280, height=800)
_PARTS = {"latency": "#heat"}
"""Pictures of one drawing each, by its selector; a page that has it not gets none."""


def take(run: Path, into: Path) -> list[Path]:
    """Take all pictures of a run's page. Raises SystemExit, saying what to do, without a page or a Chromium."""
    page_file = (run / "index.html").resolve()
    if not page_file.is_file():
        raise SystemExit(f"{run} has no index.html: make it with `roadmap-harness report {run}`")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("there is no Chromium here: install it (Debian: apt install chromium) or set CHROMIUM to its path")
    into.mkdir(parents=True, exist_ok=True)
    taken: list[Path] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=_WINDOW, color_scheme=scheme, device_scale_factor=1.5)
            page.goto(page_file.as_uri())
            taken += _of(page, scheme, into)
        browser.close()
    return taken


def _of(page: Page, scheme: str, into: Path) -> list[Path]:
    taken = [into / f"first-screen-{scheme}.png"]
    page.screenshot(path=taken[0])
    for name, selector in _PARTS.items():
        if page.locator(selector).count():
            taken.append(into / f"{name}-{scheme}.png")
            page.locator(f"{selector} details").evaluate("node => { node.hidden = true }")
            page.locator(selector).screenshot(path=taken[-1])
    return taken


def main() -> int:
    """Take them and say where they are."""
    parser = argparse.ArgumentParser(description="take the README's pictures from the page of a run")
    parser.add_argument("run", type=Path, nargs="?", default=_HERE.parent / "reports" / "example")
    parser.add_argument("-o", "--into", type=Path, default=_HERE / "pictures")
    given = parser.parse_args()
    for path in take(given.run, given.into):
        print(f"{path} ({path.stat().st_size / 1e3:.0f} KB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
