"""The instrument's own vital signs, read from real processes; the stall meter with no clock at all."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.health import HealthSampler, StallMeter, host_cpu_seconds


def test_cpu_is_the_process_s_own_over_the_time_passed_in() -> None:
    before = os.times()
    sampler = HealthSampler(100.0)
    deadline = time.process_time() + 0.25
    while time.process_time() < deadline:
        pass
    health = sampler.sample(110.0)
    after = os.times()
    spent = (after.user + after.system) - (before.user + before.system)
    # The kernel counts in hundredths of a second.
    assert 0.2 / 10 <= health.cpu <= (spent + 0.02) / 10
    assert health.t == 110.0
    assert 0 < health.host_cpu <= 1


def test_intervals_follow_each_other() -> None:
    sampler = HealthSampler(0.0)
    deadline = time.process_time() + 0.1
    while time.process_time() < deadline:
        pass
    first = sampler.sample(1.0)
    second = sampler.sample(1000.0)
    assert first.cpu > 0.05
    assert second.cpu < first.cpu / 10
    assert sampler.sample(1000.0).cpu == 0.0


def test_open_descriptors_are_counted() -> None:
    gc.collect()  # nothing that earlier tests dropped may close a descriptor meanwhile
    sampler = HealthSampler(0.0)
    before = sampler.sample(1.0).descriptors
    pipes = [os.pipe() for _ in range(5)]
    assert sampler.sample(2.0).descriptors == before + 10
    for pair in pipes:
        for descriptor in pair:
            os.close(descriptor)


def test_another_process_can_be_watched() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        sampler = HealthSampler(0.0, child.pid)
        deadline = time.monotonic() + 60
        rounds = itertools.count(1)
        while sampler.sample(float(next(rounds))).cpu == 0.0:
            assert time.monotonic() < deadline, "the child used no CPU"
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()


def test_the_host_is_never_busier_than_it_has_time() -> None:
    busy, total = host_cpu_seconds()
    assert 0 < busy < total


def test_a_stall_is_what_exceeds_the_period() -> None:
    meter = StallMeter(0.0, 0.1)
    assert [round(meter.tick(now), 6) for now in (0.1, 0.2, 0.75, 0.8)] == [0.0, 0.0, 0.45, 0.0]
    assert meter.take(0.85) == pytest.approx(0.45)
    assert meter.take(0.86) == 0.0


def test_a_stall_that_goes_on_is_seen_before_it_ends() -> None:
    meter = StallMeter(0.0, 0.1)
    assert meter.take(5.0) == pytest.approx(4.9)
    assert meter.tick(6.0) == pytest.approx(5.9)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=50), st.floats(0.01, 1))
def test_the_longest_absence_is_the_longest_gap_less_the_period(gaps: list[float], period: float) -> None:
    meter = StallMeter(0.0, period)
    now = 0.0
    for gap in gaps:
        now += gap
        meter.tick(now)
    assert meter.take(now) == pytest.approx(max(0.0, max(gaps) - period), abs=1e-9)
