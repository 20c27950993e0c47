"""Routes and the tab that this tool adds to Locust's web UI; made once for each process that has one, before it accepts requests.

`/contract` is the live page, `/contract/live.json` what it asks for each second, `/contract/report/RUN/` the report of a run of this
process. Locust's own page gets a tab with the benchmarks as they stand, and a link to the live page; its start form is answered with the
reason when a start is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from threading import Event
from typing import Any

from flask import Blueprint, Response, jsonify, request, send_from_directory
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from harness.errors import HarnessError
from harness.load.web.live import Live, View
from harness.thresholds import thresholds_in
from schemas import load_contract

__all__ = ["Face"]

TAB = "contract"
_START = "locust.swarm"
_GOING = ("spawning", "running")  # states of Locust's in which its form changes the load of a run, and starts none
# Locust sorts a tab's rows by a column called name; without one they keep their order.
_COLUMNS = (
    ("benchmark", "Benchmark"),
    ("measured", "So far"),
    ("limit", "Limit"),
    ("margin", "Room"),
    ("samples", "Samples"),
    ("state", "Stands"),
)
_LINK = '<a href="{href}" style="{style}">Contract, live &rarr;</a>'
_LINK_STYLE = (
    "position:fixed;right:1rem;bottom:1rem;z-index:2000;padding:.5rem .875rem;border-radius:.375rem;"
    "background:#005a94;color:#fff;font:600 .875rem system-ui,sans-serif;text-decoration:none"
)
_SAYS = {"within": "within so far", "outside": "OUTSIDE", "open": "not seen yet", "told": "the report judges", "aside": "not judged"}


_REFUSED = "REFUSED"
_PATIENCE = 5.0
"""Seconds that the start form waits to learn whether its start is refused. What comes later is told on the tab and the live page alone."""


class Face:
    """`web_ui` is Locust's. A start becomes a run by `watch(folder)`, which returns what is to see its records, or ends in `refuse`."""

    def __init__(self, web_ui: Any, prefix: str) -> None:
        self._web_ui, self._prefix = web_ui, prefix
        self._begun = Event()  # the start that the form asked for is a run, or is refused
        self._refusal: str | None = None
        self._live = Live(load_contract())
        self._folders: dict[str, Path] = {}
        self._folder: Path | None = None
        templates = Environment(loader=PackageLoader("harness.load.web", "."), autoescape=select_autoescape(), trim_blocks=True)
        self._page = templates.get_template("live.html")
        self._style = Markup(_text("live.css"))  # noqa: S704 - our own files
        self._script = Markup(_text("live.js"))  # noqa: S704
        web_ui.template_args.update(
            extended_tabs=[{"title": "Contract", "key": TAB}],
            extended_tables=[{"key": TAB, "structure": [{"key": key, "title": title} for key, title in _COLUMNS]}],
        )
        guarded: Callable[[Any], Any] = web_ui.auth_required_if_enabled
        routes = Blueprint("contract", __name__, url_prefix=f"{prefix}/contract")
        routes.add_url_rule("", "page", guarded(self._show_page))
        routes.add_url_rule("/live.json", "live", guarded(self._show_live))
        routes.add_url_rule("/report/<run>/", "report", guarded(self._show_report))
        web_ui.app.register_blueprint(routes)
        web_ui.app.before_request(self._expect_start)
        web_ui.app.after_request(self._extend)

    def watch(self, folder: Path) -> Callable[[Mapping[str, Any]], None]:
        """A new run, in this folder, is the one that is shown from now on."""
        self._live, self._folder = Live(load_contract(), thresholds_in(folder)), folder
        self._folders[folder.name] = folder
        self._settle(None)
        return self._live.see

    def refuse(self, error: HarnessError) -> None:
        """The start that was asked for is no run: nothing but the reason is shown until there is one."""
        self._live, self._folder = Live(load_contract()), None
        self._settle(f"This start was refused: {error}")

    def _settle(self, refusal: str | None) -> None:
        self._refusal = refusal
        self._begun.set()

    # -- what is asked for

    def _show_page(self) -> str:
        return self._page.render(state=self._state(), style=self._style, script=self._script, home=f"{self._prefix}/", says=_SAYS)

    def _show_live(self) -> Response:
        answer = jsonify(self._state())
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def _show_report(self, run: str) -> Response:
        folder = self._folders.get(run)
        if folder is None or not (folder / "index.html").is_file():
            return Response("This process has no report of that name: reports of other runs are in the reports folder.", 404)
        return send_from_directory(folder.resolve(), "index.html")

    def _state(self) -> dict[str, Any]:
        return {**self._live.view().plain(), "base": f"{self._prefix}/contract", "verdict": self._verdict(), "reports": self._reports()}

    def _verdict(self) -> dict[str, str] | None:
        """What the report of the run that is shown says, or why there is no run; None until there is either."""
        if self._refusal is not None:
            return {"verdict": _REFUSED, "sentence": self._refusal}
        return _verdict_in(self._folder) if self._folder is not None else None

    def _reports(self) -> list[dict[str, str]]:
        """The runs of this process that have a report, the last one first."""
        found = [(name, _verdict_in(folder)) for name, folder in reversed(self._folders.items())]
        return [{"run": name, "verdict": said["verdict"]} for name, said in found if said is not None]

    # -- Locust's own page

    def _expect_start(self) -> None:
        runner = self._web_ui.environment.runner
        if request.endpoint == _START and runner is not None and runner.state not in _GOING:
            self._begun.clear()

    def _tell_refusal(self, response: Response) -> None:
        """Locust answers before it has started: wait a moment for what becomes of it."""
        if response.get_json()["success"] and not self._begun.wait(_PATIENCE):
            return  # it takes its time, or Locust itself did not begin
        if self._refusal is not None:
            response.set_data(json.dumps({**response.get_json(), "success": False, "message": self._refusal}))

    def _extend(self, response: Response) -> Response:
        if request.endpoint == "locust.request_stats" and response.is_json:
            response.set_data(json.dumps({**response.get_json(), "extended_stats": [{"key": TAB, "data": self._table()}]}))
        elif request.endpoint == _START and response.is_json:
            self._tell_refusal(response)
        elif request.endpoint == "locust.index" and response.mimetype == "text/html" and not response.direct_passthrough:
            link = _LINK.format(href=f"{self._prefix}/contract", style=_LINK_STYLE)
            response.set_data(response.get_data(as_text=True).replace("</body>", f"{link}</body>"))
        return response

    def _table(self) -> list[dict[str, Any]]:
        view, verdict = self._live.view(), self._verdict()
        first = {"benchmark": "This run", "measured": _phase(view), "limit": "", "margin": "", "samples": "", "state": ""}
        if verdict is not None:
            first |= {"measured": verdict["sentence"], "state": verdict["verdict"]}
        lines = [
            {"benchmark": each.name, "measured": each.measured, "limit": each.limit, "margin": each.margin, "samples": f"{each.samples:,}",
             "state": _SAYS[each.state]}
            for each in view.standings
        ]  # fmt: skip
        return [first, *lines]


def _phase(view: View) -> str:
    left = "" if view.remaining is None else f", {view.remaining:.0f} s to go"
    return f"{view.went or view.phase}{left}" if view.phase != "ended" else f"ended: {view.reason}"


def _verdict_in(folder: Path) -> dict[str, str] | None:
    if not (folder / "index.html").is_file():
        return None  # it is written last
    try:
        said = json.loads((folder / "verdicts.json").read_text("utf-8"))
        return {"verdict": str(said["verdict"]), "sentence": str(said["sentence"])}
    except (OSError, ValueError, KeyError):
        return None


def _text(name: str) -> str:
    return resources.files("harness.load.web").joinpath(name).read_text("utf-8")
