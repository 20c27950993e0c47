"""Locust's web UI in a real Chromium, in live runs: the Contract tab, the live page, and the report that is linked at the end.

The first run is one of a master and two workers, whose sums are shown; the second a reconnect study with its waves.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from harness.locust_run import free_port, scenario_file
from tests.browser import complaints, opened
from tests.load.rig import PATIENCE, VIEWERS, locust_command, processes_of, server, start, until, wait
from tests.report.browser import NAMELESS, PALE, WIDTHS

_MS = 1000 * PATIENCE


@contextmanager
def web_ui(folder: Path, make: Callable[[Sequence[str]], list[str]]) -> Iterator[str]:
    """Locust with its web UI, up; its address. `make` makes the command with the options that it is given."""
    log, port = folder / "locust.log", free_port()
    process = start(make(["--web-host", "127.0.0.1", "--web-port", port]), log, page=True)
    try:
        until(lambda: _answers(int(port)), "the web UI")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.kill(process.pid, signal.SIGTERM)
        done = wait(process, log, folder / "reports")
    assert "Traceback" not in done.output


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _start_form(page: Page) -> None:
    """Fill in the number of users as a person does, and start."""
    expect(page.get_by_label(re.compile("Number of users"))).to_have_value(str(VIEWERS), timeout=_MS)
    page.get_by_role("button", name=re.compile("start", re.IGNORECASE)).first.click()


def test_a_run_of_two_workers_is_followed_from_the_start_form_to_its_report(tmp_path: Path) -> None:
    def command(words: Sequence[str]) -> list[str]:
        return locust_command(running.ready, tmp_path / "reports", *words, *processes_of(2), headless=False, duration=600)

    with server(tmp_path) as running, opened() as browser, web_ui(tmp_path, command) as url:
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        heard = complaints(page)
        until(lambda: page.request.get(f"{url}/stats/requests").json()["worker_count"] == 2, "both workers")
        page.goto(url, timeout=_MS)
        _start_form(page)
        page.get_by_role("tab", name="Contract").click(timeout=_MS)
        expect(page.get_by_role("cell", name="Vote to broadcast, p99")).to_be_visible(timeout=_MS)
        expect(page.get_by_role("cell", name="within so far").first).to_be_visible(timeout=_MS)
        page.screenshot(path=str(tmp_path / "tab.png"))

        page.get_by_role("link", name=re.compile("Contract, live")).click()
        expect(page.get_by_role("heading", name="Benchmarks as they stand")).to_be_visible(timeout=_MS)
        expect(page.get_by_role("img")).to_have_count(9, timeout=_MS)
        expect(page.get_by_role("img", name=re.compile(r"by definition: .*call to timestamp [\d.]+"))).to_be_visible(timeout=_MS)
        expect(page.get_by_role("img", name=re.compile(rf"Connections open: {VIEWERS}"))).to_be_visible(timeout=_MS)
        assert (page.evaluate(PALE), page.evaluate(NAMELESS)) == ([], [])
        page.screenshot(path=str(tmp_path / "live.png"), full_page=True)

        assert page.request.post(f"{url}/stop").ok, "it goes on until everything was looked at, however slow the machine"
        expect(page.locator("#headline")).to_have_text("INVALID", timeout=_MS)
        page.locator("#reports a").first.click(timeout=_MS)
        (said,) = (tmp_path / "reports").glob("*/verdicts.json")
        assert json.loads((said.parent / "journal.jsonl").read_text().partition("\n")[0])["workers"] == 2
        verdict = json.loads(said.read_text())["verdict"]
        expect(page.locator("h1")).to_contain_text(verdict, timeout=_MS)
        assert said.parent.name in page.url
        assert page.request.get(f"{url}/contract/report/..%2f..%2fetc/").status == 404
        assert not heard


def test_a_study_shows_its_waves_and_without_javascript_its_table(tmp_path: Path) -> None:
    study = {"users": 12, "time-scale": 0.1, "causes": "killed", "models": "contract,sample", "outages": 0.4}

    def command(words: Sequence[str]) -> list[str]:
        file = scenario_file("reconnect")
        return locust_command("", tmp_path / "reports", *words, headless=False, file=file, shape=False, **study)

    with opened() as browser, web_ui(tmp_path, command) as url:
        page = browser.new_page(color_scheme="dark", viewport=WIDTHS["phone"])
        plain = browser.new_context(java_script_enabled=False).new_page()
        heard = complaints(page)
        for each in (page, plain):
            each.goto(f"{url}/contract", timeout=_MS)
            expect(each.get_by_text("No run yet")).to_be_visible(timeout=_MS)
        form = {"user_count": "12", "spawn_rate": "12"}
        assert not page.request.post(f"{url}/swarm", form={**form, "models": "nobody"}).json()["success"]
        expect(page.locator("#headline")).to_have_text("REFUSED", timeout=_MS)
        expect(page.locator("#sentence")).to_contain_text("nobody is not among the choices")
        assert page.request.post(f"{url}/swarm", form={**form, "models": "contract,sample"}).json()["success"]
        expect(plain.get_by_role("row", name=re.compile("Last client back after the blow, contract"))).to_be_visible(timeout=_MS)
        for model in ("contract", "sample"):
            name = f"killed for 0.4 s, {model}"
            expect(page.get_by_role("heading", name=name)).to_be_visible(timeout=_MS)
            expect(page.get_by_role("img", name=re.compile(f"Clients connected, {name}"))).to_be_visible(timeout=_MS)
        expect(page.get_by_text(re.compile(r"over; \d+ of 12 connected")).first).to_be_visible(timeout=_MS)
        expect(page.locator("#headline")).to_have_text(re.compile("PASS|FAIL|INVALID"), timeout=_MS)
        expect(page.locator("#reports a")).to_be_visible(timeout=_MS)
        assert (page.evaluate(PALE), page.evaluate(NAMELESS)) == ([], [])
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"]["width"]
        page.locator("#reports a").focus()
        for _ in range(2):
            with page.expect_response("**/live.json"):
                pass
        assert page.evaluate("document.activeElement.closest('#reports') !== null"), "the keyboard's focus stays where it is"
        page.screenshot(path=str(tmp_path / "waves.png"), full_page=True)
        assert not heard
