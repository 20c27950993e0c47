"""The templates and the style sheet that all parts of the page share, and the one rule that guards them: everything is escaped.

Text is escaped when it is put in, and characters that cannot be seen or that would reorder what is seen are written as their numbers.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from harness import words

__all__ = ["style", "template"]


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_legible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def template(name: str) -> jinja2.Template:
    """A template of this package by file name."""
    return _environment().get_template(name)


@cache
def style() -> str:
    """The style sheet's text."""
    return resources.files("harness.report").joinpath("templates/style.css").read_text("utf-8")


def _legible(value: object) -> object:
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
