"""The client that casts the votes: a kept connection is used again whatever its descriptor's number, and one that has ended is not."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.target.api import Reply, Seen, api

CALLER = """
from gevent import monkey
monkey.patch_all()
import json, os, sys
from types import SimpleNamespace
from harness.load.http_client import http_client
from harness.measure.limits import raise_descriptors

url, paths = sys.argv[1], sys.argv[2:]
raise_descriptors(1200)
held = [os.dup(0) for _ in range(1050)]  # as beside a thousand viewers: the next descriptors are past what select() knows
client = http_client(SimpleNamespace(base_url=url, tls_context=None))
answers = []
for path in paths:
    response = client.request("POST", path, body=b"{}")
    response.read()
    answers.append(response.status_code)
client.close()
print(json.dumps(answers))
"""


def test_a_connection_past_the_thousandth_descriptor_is_kept_until_the_server_ends_it() -> None:
    def answer(seen: Seen) -> Reply:
        return Reply(headers=(("Connection", "close"),) if seen.path == "/end" else ())

    with api(answer) as server:
        words = [sys.executable, "-c", CALLER, server.url, "/a", "/b", "/end", "/c", "/d"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        first, second = server.seen[0].client, server.seen[-1].client
        assert [seen.client for seen in server.seen] == [first, first, first, second, second]
    assert first != second
    assert json.loads(done.stdout) == [200] * 5
