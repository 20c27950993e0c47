"""Locust's web UI in a real Chromium, in a live run: the Contract tab, the live page, and the report that is linked at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from harness.bundled import BundledServer
from harness.locust_run import free_port
from tests.browser import complaints, opened
from tests.load.rig import PATIENCE, VIEWERS, locust_command, server, start, until, wait

_MS = 1000 * PATIENCE


@contextmanager
def web_ui(folder: Path, running: BundledServer) -> Iterator[str]:
    """Locust with its web UI, up; its address."""
    log, port = folder / "locust.log", free_port()
    command = locust_command(running.ready, folder / "reports", "--web-host", "127.0.0.1", "--web-port", port, headless=False)
    process = start(command, log)
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


def test_a_run_is_followed_from_the_start_form_to_its_report(tmp_path: Path) -> None:
    with server(tmp_path) as running, opened() as browser, web_ui(tmp_path, running) as url:
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        heard = complaints(page)
        page.goto(url, timeout=_MS)
        _start_form(page)
        page.get_by_role("tab", name="Contract").click(timeout=_MS)
        expect(page.get_by_role("cell", name="Vote to broadcast, p99")).to_be_visible(timeout=_MS)
        expect(page.get_by_role("cell", name="within so far").first).to_be_visible(timeout=_MS)
        page.screenshot(path=str(tmp_path / "tab.png"))

        page.get_by_role("link", name=re.compile("Contract, live")).click()
        expect(page.get_by_role("heading", name="Benchmarks as they stand")).to_be_visible(timeout=_MS)
        expect(page.get_by_role("img")).to_have_count(8, timeout=_MS)
        expect(page.get_by_role("img", name=re.compile(rf"Connections open: {VIEWERS}"))).to_be_visible(timeout=_MS)
        page.screenshot(path=str(tmp_path / "live.png"), full_page=True)

        expect(page.locator("#headline")).to_have_text(re.compile("PASS|INVALID"), timeout=_MS)
        page.locator("#reports a").first.click(timeout=_MS)
        (said,) = (tmp_path / "reports").glob("*/verdicts.json")
        verdict = json.loads(said.read_text())["verdict"]
        expect(page.locator("h1")).to_contain_text(verdict, timeout=_MS)
        assert said.parent.name in page.url
        assert page.request.get(f"{url}/contract/report/..%2f..%2fetc/").status == 404
        assert not heard


def test_without_javascript_the_live_page_still_has_the_table(tmp_path: Path) -> None:
    with server(tmp_path) as running, opened() as browser, web_ui(tmp_path, running) as url:
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(f"{url}/contract", timeout=_MS)
        expect(page.get_by_text("No run yet")).to_be_visible(timeout=_MS)
        assert page.request.post(f"{url}/swarm", form={"user_count": str(VIEWERS), "spawn_rate": "100"}).ok
        expect(page.get_by_role("row", name=re.compile("Connections open"))).to_be_visible(timeout=_MS)
