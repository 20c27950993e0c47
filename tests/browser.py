"""A real Chromium for tests of pages: one way to start it, and to hear what a page complains of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

__all__ = ["complaints", "opened"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def _chromium() -> str:
    """Where Chromium is: CHROMIUM in the environment, or the first of its usual names. Without one the test is skipped, and says so."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("no Chromium here: install it (Debian: apt install chromium) or set CHROMIUM to its path")
    return found


@contextmanager
def opened() -> Iterator[Browser]:
    """Chromium, headless, for the length of a test."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_chromium(), args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def complaints(page: Page) -> list[str]:
    """From now on, everything that the page's console calls an error, and every exception that nobody caught."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    return heard
