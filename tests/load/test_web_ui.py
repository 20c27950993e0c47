"""The scenario in Locust's web UI: start, stop, start again and reset, each run with its own folder and verdict."""

from __future__ import annotations

import json
import os
import signal
import urllib.parse
import urllib.request
from pathlib import Path

from harness.locust_run import free_port
from tests.load.rig import CASTS, OWED, SHAPE, locust_command, outcome, server, start, until, wait


class Browser:
    """What the page of the web UI does, by its own requests."""

    def __init__(self, port: str) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self._url}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def post(self, path: str) -> None:
        urllib.request.urlopen(f"{self._url}{path}", data=b"", timeout=30).close()

    def up(self) -> bool:
        try:
            return "<html" in self.get("/").lower()
        except OSError:
            return False

    def state(self) -> str:
        return str(json.loads(self.get("/stats/requests"))["state"])

    def swarm(self, **changes: object) -> str:
        """Start; what the form says in place of starting, empty when it starts."""
        form = {name.replace("users", "user_count").replace("-", "_"): value for name, value in SHAPE.items()}
        data = urllib.parse.urlencode({**form, **changes}).encode()
        with urllib.request.urlopen(f"{self._url}/swarm", data=data, timeout=30) as answer:
            told = json.loads(answer.read())
        return "" if told["success"] else str(told["message"])


def _judged(reports: Path) -> int:
    return len(list(reports.glob("*/verdicts.json")))


def test_start_stop_and_a_second_start(tmp_path: Path) -> None:
    reports, log, port = tmp_path / "reports", tmp_path / "locust.log", free_port()
    with server(tmp_path) as running:
        command = locust_command(running.ready, reports, "--web-host", "127.0.0.1", "--web-port", port, headless=False)
        process = start(command, log)
        try:
            page = Browser(port)
            until(page.up, "the web UI")
            assert "votes cast per second" in page.get("/"), "the scenario's parameters are fields of the start form"

            assert page.swarm(duration=60) == ""
            until(lambda: any(b'"kind":"broadcasts"' in j.read_bytes() for j in reports.glob("*/journal.jsonl")), "broadcasts")
            page.post("/stop")
            until(lambda: _judged(reports) == 1 and page.state() == "stopped", "the first verdict")
            stopped = outcome(0, log, reports)
            assert stopped.footer["reason"] == "stopped"

            (tmp_path / "mine.toml").write_text('require = ["latency.p98 < 60s"]\n')
            refused = page.swarm(thresholds=tmp_path / "mine.toml")
            assert "there is no figure 'latency.p98'" in refused
            table = json.loads(page.get("/stats/requests"))["extended_stats"][0]["data"]
            assert [(row["measured"], row["state"]) for row in table] == [(refused, "REFUSED")]
            until(lambda: page.state() == "stopped", "the end of what did not begin")
            (tmp_path / "mine.toml").write_text('require = ["latency.p99 < 60s", "delivery.expected >= 1000000"]\n')
            assert page.swarm(thresholds=tmp_path / "mine.toml") == ""
            until(lambda: _judged(reports) == 2 and page.state() == "stopped", "the second verdict")
            second = outcome(0, log, reports)
            assert second.footer["reason"] == "completed"
            assert second.footer["totals"]["delivered"] == OWED
            lines = [each["id"] for each in second.verdicts()["benchmarks"] if each["id"].startswith("threshold_")]
            states = {each["id"]: each["state"] for each in json.loads(page.get("/contract/live.json"))["standings"]}
            assert (lines, states["threshold_1"], states["threshold_2"]) == (["threshold_1", "threshold_2"], "within", "open")
            assert not [each for each in stopped.verdicts()["benchmarks"] if each["id"].startswith("threshold_")]
            assert sum(len(record["n"]) for record in second.of("casts")) == CASTS
            entries = {entry["name"]: entry["num_requests"] for entry in json.loads(page.get("/stats/requests"))["stats"]}
            # what the first run's votes left behind is taken back before the second, and that may still be seen by its first sockets
            seen = sum(record["types"].get("VOTE_UPDATE", 0) for record in second.of("second"))
            assert entries["VOTE_UPDATE"] == seen >= OWED

            page.post("/stats/reset")
            until(lambda: not any(each["num_requests"] for each in json.loads(page.get("/stats/requests"))["stats"]), "a clean table")
            assert _judged(reports) == 2
        finally:
            os.kill(process.pid, signal.SIGTERM)
        done = wait(process, log, reports)
    assert done.output.count("Traceback") == 0
