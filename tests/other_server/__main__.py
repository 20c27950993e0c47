"""The process: both ports up, the ready file written, and a good end on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from schemas import load_contract
from tests.other_server.api import Api
from tests.other_server.book import COOKIE, Book
from tests.other_server.live import Live
from tests.other_server.options import HABITS, READINGS, Options, parse_options


def _private(path: Path, text: str) -> None:
    """Write it whole or not at all, readable for its owner only: it holds sessions."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with open(part, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    part.replace(path)


def _book(options: Options) -> Book:
    if options.state is not None and options.state.exists():
        return Book.load(options.state.read_text("utf-8"))
    book = Book()
    password = os.environ.get("OTHER_SERVER_PASSWORD") or secrets.token_urlsafe(12)
    states = load_contract().messages.feature_status
    book.seed(options.people, options.staff, options.items, states, time.time(), password)
    return book


async def _run(options: Options, argv: list[str]) -> None:
    book, stop = _book(options), asyncio.Event()
    live = Live(options, book)
    api = Api(options, book, live, stop.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    live_port, port = await live.start(), await api.start()
    minted = [
        {"sid": book.open_session(person), "uid": person.uid, "label": person.label, "rank": person.rank}
        for person in book.people.values()
        for _ in range(options.mint)
    ]
    # The refs of the sessions just made, which are the last ones there.
    refs = [session.ref for session in book.sessions.values()][-len(minted) :]
    facts = {
        "api": f"http://127.0.0.1:{port}/v2",
        "live": f"ws://127.0.0.1:{live_port}/live",
        "pid": os.getpid(),
        "cookie": COOKIE,
        "password": book.password,
        "accounts": [{"login": each.login, "uid": each.uid, "label": each.label, "rank": each.rank} for each in book.people.values()],
        "minted": [{**each, "ref": ref} for each, ref in zip(minted, refs, strict=True)] if minted else [],
        "readings": {key: options.choices[key] for key in READINGS},
        "habits": {key: options.choices[key] for key in HABITS},
        "limits": options.own_limits,
        "time_scale": options.time_scale,
        "tenant": options.tenant,
        "origin": options.allowed_origin,
        "argv": [*argv, "--port", str(port), "--live-port", str(live_port)],
    }
    pid_file = options.ready.with_suffix(".pid")
    _private(pid_file, f"{os.getpid()}\n")
    _private(options.ready, json.dumps(facts))
    await stop.wait()
    options.ready.unlink(missing_ok=True)
    api.stop()
    with contextlib.suppress(TimeoutError):
        await live.stop()
    if options.state is not None:
        _private(options.state, book.dump())
    pid_file.unlink(missing_ok=True)


if __name__ == "__main__":
    asyncio.run(_run(parse_options(sys.argv[1:]), sys.argv[1:]))
