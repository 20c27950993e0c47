"""The probes against real processes, a real HTTP server and real commands."""

from __future__ import annotations

import http.server
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.measure.resources import CommandProbe, ProcessProbe, PrometheusProbe, Sample

# Pages count only once they are written to.
HOLD = "import sys; x = b'x' * int(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]], stdin=sys.stdin)"


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.communicate("", timeout=60)


def test_memory_descriptors_and_threads_of_a_process() -> None:
    with running(sys.executable, "-c", HOLD, "1000") as small, running(sys.executable, "-c", HOLD, "50000000") as big:
        one, other = ProcessProbe(small.pid).sample(1.0), ProcessProbe(big.pid).sample(2.0)
        descriptors = len(list(Path(f"/proc/{big.pid}/fd").iterdir()))
    assert one is not None
    assert other is not None
    assert (one.t, other.t) == (1.0, 2.0)
    assert one.rss is not None
    assert other.rss is not None
    assert 45_000_000 < other.rss - one.rss < 60_000_000
    assert one.pss is None or 0 < one.pss <= one.rss
    assert other.uss is None or 45_000_000 < other.uss <= other.rss
    assert other.descriptors == descriptors
    assert other.threads == 1
    assert other.cpu is not None
    assert other.cpu >= 0


def test_children_are_part_of_the_target() -> None:
    with running(sys.executable, "-c", PARENT, HOLD, "50000000") as parent:
        sample = ProcessProbe(parent.pid).sample(0.0)
    assert sample is not None
    assert sample.rss is not None
    assert sample.rss > 50_000_000
    assert sample.threads == 2


def test_cpu_of_children_that_ended_stays_in_the_sum() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('ready', flush=True); sys.stdin.read()"
    with running(sys.executable, "-c", code) as parent:
        sample = ProcessProbe(parent.pid).sample(0.0)
    assert sample is not None
    assert sample.cpu is not None
    assert sample.cpu >= 0.29


def test_a_vanished_process_gives_nothing_also_before_it_is_reaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    probe = ProcessProbe(child.pid)
    assert probe.sample(0.0) is not None
    assert probe.problem is None
    assert child.stdin is not None
    child.stdin.close()
    deadline = time.monotonic() + 60
    while probe.sample(1.0) is not None:
        assert time.monotonic() < deadline, "the child did not end"
        time.sleep(0.01)
    assert child.returncode is None
    assert probe.problem == f"process {child.pid} has ended"
    child.wait()
    assert probe.sample(2.0) is None
    assert ProcessProbe(child.pid).sample(3.0) is None


Answer = tuple[int, bytes]


@contextmanager
def page(answer: Callable[[], Answer]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


METRICS = b"""# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 5.0e+07
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 12.25
# TYPE process_open_fds gauge
process_open_fds 1012.0
# TYPE other gauge
other{a="b"} 7
"""


def test_a_prometheus_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with page(lambda: (200, METRICS)) as url:
        probe = PrometheusProbe(url, 30.0)
        assert probe.sample(3.5) == Sample(3.5, 50_000_000, None, None, 12.25, 1012, None)
        assert probe.problem is None


def test_several_processes_on_one_page_are_summed() -> None:
    text = b'process_resident_memory_bytes{pid="1"} 10\nprocess_resident_memory_bytes{pid="2"} 32\n'
    with page(lambda: (200, text)) as url:
        assert PrometheusProbe(url, 30.0).sample(0.0) == Sample(0.0, 42, None, None, None, None, None)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((500, b""), "does not answer"),
        ((200, b"<html>no metrics</html>"), "Prometheus|process_resident"),
        ((200, b"\xff\xfe"), "not Prometheus text"),
        ((200, b"up 1\n"), "has no process_resident_memory_bytes"),
    ],
)
def test_a_page_that_says_nothing_gives_nothing_and_a_reason(answer: Answer, problem: str) -> None:
    with page(lambda: answer) as url:
        probe = PrometheusProbe(url, 30.0)
        assert probe.sample(0.0) is None
        assert re.search(problem, str(probe.problem))


def test_nobody_there_or_nobody_answering_gives_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        probe = PrometheusProbe(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.05)
        assert probe.sample(0.0) is None
        assert "does not answer" in str(probe.problem)
        port = silent.getsockname()[1]
    assert PrometheusProbe(f"http://127.0.0.1:{port}/", 5.0).sample(0.0) is None


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/", "/metrics", ""])
def test_only_http_is_asked(url: str) -> None:
    with pytest.raises(UsageError, match="http"):
        PrometheusProbe(url, 1.0)


def test_a_command_that_prints_bytes() -> None:
    probe = CommandProbe([sys.executable, "-c", "print(123456)"], 60.0)
    assert probe.sample(9.0) == Sample(9.0, 123_456, None, None, None, None, None)
    assert probe.problem is None


@pytest.mark.parametrize(
    ("argv", "timeout", "problem"),
    [
        ([sys.executable, "-c", "print('12 MB')"], 60.0, "whole number"),
        ([sys.executable, "-c", "raise SystemExit(7)"], 60.0, "status 7"),
        ([sys.executable, "-c", "input()"], 60.0, "status 1"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], 0.2, "longer than 0.2 s"),
        (["/no/such/program"], 60.0, "No such file"),
    ],
)
def test_a_command_that_fails_gives_nothing_and_a_reason(argv: list[str], timeout: float, problem: str) -> None:
    probe = CommandProbe(argv, timeout)
    assert probe.sample(0.0) is None
    assert problem in str(probe.problem)


def test_an_empty_command_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        CommandProbe([], 1.0)
