"""The one timer: everything is woken, in order, never early, and what is dropped does not pile up."""

from __future__ import annotations

import asyncio
import math
import random
import time

import pytest

from server_under_test.alarms import Alarms

from .live import run, until


class Bell:
    """Notes when it was woken; wants to be woken again after each of `gaps`."""

    def __init__(self, name: str, log: list[tuple[str, float]], *gaps: float) -> None:
        self.alarm_at = math.inf
        self.name, self.log, self.gaps = name, log, list(gaps)

    def wake(self, now: float) -> float | None:
        self.log.append((self.name, now))
        return now + self.gaps.pop(0) if self.gaps else None


class Broken(Bell):
    def wake(self, now: float) -> float | None:
        raise RuntimeError("a seeded defect")


def test_all_are_woken_in_order_and_never_early() -> None:
    async def test() -> None:
        alarms, log = Alarms(time.monotonic), list[tuple[str, float]]()
        start = time.monotonic()
        due = {str(n): start + random.Random(n).uniform(0, 0.1) for n in range(200)}
        for name, when in due.items():
            alarms.set(Bell(name, log), when)
        await until(lambda: len(log) == len(due))
        assert all(at >= due[name] for name, at in log)
        assert [name for name, _ in log] == sorted(due, key=lambda name: due[name])
        assert len(alarms) == 0

    run(test)


def test_one_that_asks_again_is_woken_again_and_an_earlier_alarm_replaces_a_later_one() -> None:
    async def test() -> None:
        alarms, log = Alarms(time.monotonic), list[tuple[str, float]]()
        bell = Bell("again", log, 0.01, 0.02)
        alarms.set(bell, time.monotonic() + 3600)
        alarms.set(bell, time.monotonic())
        alarms.set(bell, time.monotonic() + 7200)  # later than what it has: changes nothing
        await until(lambda: len(log) == 3)
        (_, a), (_, b), (_, c) = log
        assert b - a >= 0.01
        assert c - b >= 0.02

    run(test)


def test_one_that_fails_does_not_silence_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        alarms, log = Alarms(time.monotonic), list[tuple[str, float]]()
        alarms.set(Broken("broken", log), time.monotonic())
        alarms.set(Bell("fine", log, 0.001), time.monotonic())
        await until(lambda: len(log) == 2)

    run(test)
    assert "a seeded defect" in caplog.text


def test_dropped_ones_are_not_woken_and_do_not_pile_up() -> None:
    async def test() -> None:
        alarms, log = Alarms(time.monotonic), list[tuple[str, float]]()
        kept = Bell("kept", log)
        for n in range(10_000):
            bell = Bell(str(n), log)
            alarms.set(bell, time.monotonic() + 0.05)
            alarms.drop(bell)
            alarms.drop(bell)
            assert len(alarms) <= 200
        alarms.set(kept, time.monotonic() + 0.05)
        await until(lambda: bool(log))
        assert [name for name, _ in log] == ["kept"]

    run(test)


def test_after_a_stall_the_loop_reads_before_anything_is_judged() -> None:
    """A byte that has waited in the socket while the process stood still is seen before an overdue alarm rings."""

    async def test() -> None:
        events: list[str] = []

        class Judge(Bell):
            def wake(self, now: float) -> float | None:
                events.append("alarm")
                return None

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)
            events.append("read")
            writer.close()

        server = await asyncio.start_server(note, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        try:
            await asyncio.sleep(0.05)
            alarms = Alarms(time.monotonic)
            alarms.set(Judge("judge", []), time.monotonic() + 0.05)
            writer.write(b"x")
            time.sleep(0.2)  # noqa: ASYNC251 - the stall is what is tested
            await until(lambda: len(events) == 2)
        finally:
            writer.close()
            server.close()
        assert events == ["read", "alarm"]

    run(test)


def test_stop_wakes_nobody() -> None:
    async def test() -> None:
        alarms, log = Alarms(time.monotonic), list[tuple[str, float]]()
        alarms.set(Bell("never", log), time.monotonic() + 0.01)
        alarms.stop()
        await asyncio.sleep(0.05)
        assert log == []
        assert len(alarms) == 0

    run(test)
