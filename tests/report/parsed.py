"""A page of the report as its tests see it: parsed strictly, and held to what must be true of every page."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

__all__ = ["HOSTILE", "Page", "check"]

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_LOADS = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "formaction"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>]]>&amp;\x1b[2J</style><!--{{ 7*7 }}"
"""What a target might send to a reader of the page."""


class Page(HTMLParser):
    """Parses strictly enough to notice what is not closed, and keeps what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: Counter[str] = Counter()
        self._words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []
        self.text = "".join(self._words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append((tag, named))
        if named.get("id"):
            self.ids[str(named["id"])] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def check(text: str) -> Page:
    """What must hold of every page."""
    page = Page(text)
    assert len(text.encode()) < 3_000_000
    assert [name for name, times in page.ids.items() if times > 1] == []
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img", "base", "foreignobject")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in _LOADS:
                assert (value or "").startswith("#"), f"{tag} {name}={value}"
            wanted_ids = (value or "").split() if name in ("aria-labelledby", "aria-describedby") else []
            wanted_ids += [(value or "")[1:]] if name in ("href", "xlink:href") else []
            if "url(" in (value or ""):  # seldom, and there are a hundred thousand attributes
                wanted = re.findall(r"url\(\s*['\"]?([^)'\"]*)", value or "")
                assert all(each.startswith("#") for each in wanted)
                wanted_ids += [each[1:] for each in wanted]
            assert all(page.ids[each] == 1 for each in wanted_ids), f"{tag} {name}={value}"
    style = text[text.index("<style>") : text.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    return page
