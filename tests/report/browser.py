"""A page of the report from disk in a real Chromium, with all that it complains of and asks for written down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser import complaints

__all__ = ["NAMELESS", "PALE", "WIDTHS", "Opened", "opened"]

WIDTHS = {
    "wide": ViewportSize(width=1440, height=900),
    "phone": ViewportSize(width=390, height=844),
    "paper": ViewportSize(width=703, height=1000),
}
"""A desk, a phone, and A4 within margins of 12 mm."""

PALE = """() => {
  const channel = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const light = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const under = node => {
    for (let at = node; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const pale = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const box = node.parentElement, style = getComputedStyle(box);
    if (!node.textContent.trim() || !box.checkVisibility({ visibilityProperty: true })) continue;
    const drawn = box.closest('svg');
    const ink = parse(drawn ? style.fill : style.color), paper = under(drawn ? drawn.parentElement : box);
    const [one, two] = [light(ink), light(paper)].sort((a, b) => b - a);
    if ((one + .05) / (two + .05) < 4.5) pale.push(`${node.textContent.trim().slice(0, 40)}: ${ink} on ${paper}`);
  }
  return [...new Set(pale)];
}"""
"""JavaScript: the texts whose contrast with what lies under them is below 4.5."""

NAMELESS = """() => {
  const named = e => e.getAttribute('aria-label') || e.title || e.textContent.trim()
    || (e.getAttribute('aria-labelledby') || '').split(' ').map(id => document.getElementById(id)?.textContent || '').join('').trim();
  const must = 'a, button, input, summary, nav, section, svg[role=img], [role=group], [tabindex="0"]';
  return [...document.querySelectorAll(must)].filter(e => !named(e)).map(e => e.outerHTML.slice(0, 120));
}"""
"""JavaScript: what can be reached or stands for a picture or a landmark, and has no name."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A page from disk. `told`: errors of its console and exceptions; `asked`: requests for anything but the page itself."""

    page: Page
    told: list[str]
    asked: list[str]


@contextmanager
def opened(browser: Browser, file: Path, *, width: str = "wide", dark: bool = False, script: bool = True) -> Iterator[Opened]:
    """The file, opened from disk."""
    context = browser.new_context(viewport=WIDTHS[width], color_scheme="dark" if dark else "light", java_script_enabled=script)
    try:
        page, address = context.new_page(), file.resolve().as_uri()
        found = Opened(page, complaints(page), [])
        page.on("request", lambda request: found.asked.append(request.url) if request.url.split("#")[0] != address else None)
        page.goto(address)
        yield found
    finally:
        context.close()
