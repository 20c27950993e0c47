"""Can this machine carry the plan? Asked before the run, because a generator out of descriptors looks like a bad target.

The machine's numbers are read in one place (`read_machine`) and judged in another (`preflight`), so every judgement can be
tried with any numbers. What cannot be read here (None) is not judged.
"""

from __future__ import annotations

import ipaddress
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.errors import UsageError

__all__ = ["Demand", "Machine", "busy_ports", "descriptors_needed", "kernel_forms", "preflight", "raise_descriptors", "read_machine"]

_SPARE_DESCRIPTORS = 256
"""Descriptors beyond the sockets: the interpreter's, the journal, HTTP connections, Locust's own."""

_PORT_RESERVE = 64
"""Local ports left to everyone else on this machine."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one process of the plan needs. spawn_rate: sockets opened per second; disk: bytes of evidence; ports: local ports, of all
    the plan's processes on this machine together (0: as many as `sockets`)."""

    sockets: int
    spawn_rate: float
    disk: int
    ports: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has. ports_free: local ports left toward the target's address; somaxconn only for a local target."""

    descriptors_soft: int
    descriptors_hard: int
    descriptors_used: int
    ports_free: int | None
    somaxconn: int | None
    disk_free: int


def preflight(demand: Demand, machine: Machine) -> list[str]:
    """Judge the plan by the machine's numbers. Returns hints for the reader; changes nothing.

    Raises UsageError for what cannot work, with the number needed, the number there is, and what to do.
    """
    needed = descriptors_needed(demand.sockets, machine.descriptors_used)
    _refuse_descriptors(needed, machine.descriptors_hard)
    ports = demand.ports or demand.sockets
    if machine.ports_free is not None and ports > machine.ports_free:
        what = f"{ports} sockets need as many local ports, and {machine.ports_free} are free toward the target"
        do = (
            "wait a minute for closed ones to clear, widen the range (sysctl net.ipv4.ip_local_port_range), "
            "or spread the viewers over more hosts"
        )
        raise UsageError(what, "local ports", do)
    if demand.disk > machine.disk_free:
        what = f"the evidence may take {demand.disk} bytes, and the disk has {machine.disk_free} bytes free"
        raise UsageError(what, "reports folder", "free some room, or put the reports on another disk")
    hints = []
    if needed > machine.descriptors_soft:
        hints.append(f"the descriptor limit goes up from {machine.descriptors_soft} to {needed} for this run")
    if machine.somaxconn is not None and machine.somaxconn < demand.spawn_rate:
        hints.append(
            f"the target's listen queue holds at most {machine.somaxconn} (net.core.somaxconn), fewer than the "
            f"{demand.spawn_rate:g} sockets opened a second: a pause of the target may refuse some"
        )
    return hints


def _refuse_descriptors(needed: int, hard: int) -> None:
    if needed > hard:
        what = f"{needed} descriptors are needed, and this process may have {hard}"
        raise UsageError(what, "descriptors (ulimit -n)", f"run `ulimit -n {needed}` as a user who may, or use fewer viewers")


def descriptors_needed(sockets: int, used: int) -> int:
    """Descriptors for that many sockets beside those in use now."""
    return sockets + used + _SPARE_DESCRIPTORS


def raise_descriptors(needed: int) -> int:
    """Raise this process's soft limit of descriptors to `needed` where it is lower; children inherit it.

    Returns the soft limit now. Raises UsageError when the hard limit is lower than that; then nothing is changed.
    """
    soft, hard = (_count(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft >= needed:
        return soft
    _refuse_descriptors(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except (OSError, ValueError) as error:
        what = f"{needed} descriptors are needed, this process has {soft}, and the system refuses more ({error})"
        raise UsageError(what, "descriptors (ulimit -n)", f"run `ulimit -n {needed}` first") from error
    return needed


def read_machine(host: str, port: int, folder: Path) -> Machine:
    """This machine's numbers for sockets to `host` (an IP address) and `port`, and evidence in `folder` (may not exist yet)."""
    soft, hard = (_count(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    address = ipaddress.ip_address(host)
    local = address.is_loopback or any(host == own.address for owned in psutil.net_if_addrs().values() for own in owned)
    somaxconn = _proc("sys/net/core/somaxconn") if local else None
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return Machine(
        descriptors_soft=soft,
        descriptors_hard=hard,
        descriptors_used=psutil.Process().num_fds(),
        ports_free=_ports_free(host, port),
        somaxconn=int(somaxconn) if somaxconn else None,
        disk_free=shutil.disk_usage(existing).free,
    )


def _count(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def _proc(name: str) -> str | None:
    try:
        return Path("/proc", name).read_text("ascii")
    except OSError:
        return None


def _ports_free(host: str, port: int) -> int | None:
    bounds = _proc("sys/net/ipv4/ip_local_port_range")
    if bounds is None:
        return None
    low, high = (int(bound) for bound in bounds.split())
    reserved = _in_ranges(_proc("sys/net/ipv4/ip_local_reserved_ports") or "", low, high)
    return max(0, high - low + 1 - reserved - _ports_busy(host, port) - _PORT_RESERVE)


def _in_ranges(text: str, low: int, high: int) -> int:
    """How many ports of low..high the kernel's list ("8080,9000-9100") names."""
    count = 0
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            count += max(0, min(int(last or first), high) - max(int(first), low) + 1)
    return count


def _ports_busy(host: str, port: int) -> int:
    # The counters are cheap and bound the answer; the tables, long on a busy machine, are read only when there is much to tell.
    counters = (_proc("net/sockstat") or "") + (_proc("net/sockstat6") or "")
    total = _counter(counters, "TCP:", "inuse") + _counter(counters, "TCP:", "tw") + _counter(counters, "TCP6:", "inuse")
    if total <= _PORT_RESERVE:
        return total
    return busy_ports((_proc("net/tcp") or "") + (_proc("net/tcp6") or ""), host, port)


def _counter(sockstat: str, protocol: str, name: str) -> int:
    for line in sockstat.splitlines():
        words = line.split()
        if words[:1] == [protocol]:
            return int(words[words.index(name) + 1])
    return 0


def busy_ports(table: str, host: str, port: int) -> int:
    """Sockets in the kernel's TCP tables (/proc/net/tcp, tcp6) whose other end is host and port, TIME_WAIT included."""
    wanted = {f"{address}:{port:04X}" for address in kernel_forms(host)}
    return sum(1 for line in table.splitlines() if (words := line.split(maxsplit=3))[2:3] and words[2] in wanted)


def kernel_forms(host: str) -> list[str]:
    """An IP address as the kernel's tables write it: as itself, and for IPv4 also as an IPv6 socket sees it."""
    address = ipaddress.ip_address(host)
    forms = [address.packed]
    if isinstance(address, ipaddress.IPv4Address):
        forms.append(ipaddress.IPv6Address(f"::ffff:{address}").packed)
    return ["".join(_word(form[at : at + 4]) for at in range(0, len(form), 4)) for form in forms]


def _word(four: bytes) -> str:
    return f"{int.from_bytes(four, sys.byteorder):08X}"
