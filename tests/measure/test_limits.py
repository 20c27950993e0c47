"""The pre-flight with any numbers, and the reading of this machine's real ones."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.measure.limits import (
    Demand,
    Machine,
    busy_ports,
    descriptors_needed,
    preflight,
    raise_descriptors,
    read_machine,
)

DEMAND = Demand(sockets=1000, spawn_rate=100.0, disk=10**8)
ENOUGH = Machine(
    descriptors_soft=4096,
    descriptors_hard=8192,
    descriptors_used=20,
    ports_free=20_000,
    somaxconn=4096,
    disk_free=10**9,
)


def test_a_machine_with_enough_passes_in_silence() -> None:
    assert preflight(DEMAND, ENOUGH) == []
    assert preflight(DEMAND, replace(ENOUGH, ports_free=None, somaxconn=None)) == []


def test_too_few_descriptors_name_both_numbers_and_the_command() -> None:
    needed = descriptors_needed(1000, 20)
    with pytest.raises(UsageError) as caught:
        preflight(DEMAND, replace(ENOUGH, descriptors_hard=needed - 1))
    assert f"{needed} descriptors" in caught.value.what
    assert str(needed - 1) in caught.value.what
    assert f"ulimit -n {needed}" in caught.value.do
    preflight(DEMAND, replace(ENOUGH, descriptors_hard=needed))


def test_a_low_soft_limit_is_only_a_hint() -> None:
    (hint,) = preflight(DEMAND, replace(ENOUGH, descriptors_soft=1024))
    assert "1024" in hint


def test_too_few_ports_name_both_numbers_and_the_setting() -> None:
    with pytest.raises(UsageError, match="ip_local_port_range") as caught:
        preflight(DEMAND, replace(ENOUGH, ports_free=999))
    assert "1000" in caught.value.what
    assert "999" in caught.value.what
    assert preflight(DEMAND, replace(ENOUGH, ports_free=1000)) == []


def test_ports_are_shared_by_all_processes_of_this_machine() -> None:
    together = replace(DEMAND, ports=3000)
    with pytest.raises(UsageError, match="3000 sockets need as many local ports"):
        preflight(together, replace(ENOUGH, ports_free=2999))
    assert preflight(together, replace(ENOUGH, ports_free=3000)) == []


def test_too_little_disk_names_both_numbers() -> None:
    with pytest.raises(UsageError, match="free some room") as caught:
        preflight(DEMAND, replace(ENOUGH, disk_free=10**8 - 1))
    assert str(10**8) in caught.value.what
    assert str(10**8 - 1) in caught.value.what


def test_a_short_listen_queue_is_a_hint() -> None:
    (hint,) = preflight(DEMAND, replace(ENOUGH, somaxconn=99))
    assert "99" in hint
    assert preflight(DEMAND, replace(ENOUGH, somaxconn=100)) == []


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_sockets_never_need_fewer_descriptors(sockets: int, used: int) -> None:
    assert descriptors_needed(sockets, used) > sockets + used
    assert descriptors_needed(sockets + 1, used) == descriptors_needed(sockets, used) + 1


RAISE = """
import resource, sys
from harness.errors import UsageError
from harness.measure.limits import raise_descriptors
soft, hard, needed = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    print(raise_descriptors(needed))
except UsageError as error:
    print(error.do)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "needed", "says", "left"),
    [
        (100, 200, 150, "150", "150 200"),
        (100, 200, 200, "200", "200 200"),
        (100, 200, 90, "100", "100 200"),
        (100, 200, 201, "run `ulimit -n 201`", "100 200"),
    ],
)
def test_the_soft_limit_of_a_real_process_goes_up_to_what_is_needed(soft: int, hard: int, needed: int, says: str, left: str) -> None:
    words = [str(number) for number in (soft, hard, needed)]
    done = subprocess.run([sys.executable, "-c", RAISE, *words], capture_output=True, text=True, timeout=60, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith(says)
    assert second == left


def test_nothing_changes_when_the_limit_is_high_enough() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert raise_descriptors(1) == before[0]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:9C40 0100007F:0BB8 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0100007F:0BB8 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
   3: 0100007F:9C42 0100007F:0BB8 06 00000000:00000000 03:000017A2 00000000     0        0 0 3 0
   4: 0100007F:9C44 0100007F:0BB9 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 -1
   0: 0000000000000000FFFF00000100007F:9C46 0000000000000000FFFF00000100007F:0BB8 01 0:0 00:0 0 0 0 5 1 0
   1: 00000000000000000000000001000000:9C48 00000000000000000000000001000000:0BB8 01 0:0 00:0 0 0 0 6 1 0
"""


@pytest.mark.skipif(sys.byteorder == "big", reason="the table above is a little-endian machine's")
def test_only_the_other_end_counts_in_every_state_and_family() -> None:
    assert busy_ports(TABLE, "127.0.0.1", 3000) == 3
    assert busy_ports(TABLE, "127.0.0.1", 3001) == 1
    assert busy_ports(TABLE, "::1", 3000) == 1
    assert busy_ports(TABLE, "10.0.0.1", 3000) == 0
    assert busy_ports("", "127.0.0.1", 3000) == 0


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc")
def test_real_connections_are_found_in_the_kernels_table() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        before = busy_ports(Path("/proc/net/tcp").read_text("ascii"), host, port)
        clients = [socket.create_connection((host, port)) for _ in range(7)]
        after = busy_ports(Path("/proc/net/tcp").read_text("ascii"), host, port)
        for client in clients:
            client.close()
    assert (before, after) == (0, 7)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc")
def test_connections_in_use_are_taken_off_the_free_ports(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        host, port = server.getsockname()
        # More than the reserve below which the tables are not even read.
        clients = [socket.create_connection((host, port)) for _ in range(150)]
        busy = read_machine(host, port, tmp_path).ports_free
        elsewhere = read_machine(host, 1, tmp_path).ports_free
        for client in clients:
            client.close()
    assert busy is not None
    assert elsewhere is not None
    assert elsewhere - busy == 150


def test_this_machines_numbers_are_plausible_and_a_missing_folder_is_fine(tmp_path: Path) -> None:
    machine = read_machine("127.0.0.1", 9, tmp_path / "not" / "yet")
    assert 0 < machine.descriptors_used < machine.descriptors_soft <= machine.descriptors_hard
    assert machine.disk_free > 0
    assert machine.somaxconn is None or machine.somaxconn > 0
    assert read_machine("192.0.2.1", 9, tmp_path).somaxconn is None
