"""What a person reads: one HTML page and one text, each a pure function of a run folder."""

from harness.report.index_page import shelve, write_index
from harness.report.page import render
from harness.report.rebuild import Rebuilt, rebuild
from harness.report.text import summary_text

__all__ = ["Rebuilt", "rebuild", "render", "shelve", "summary_text", "write_index"]
