"""A station in a network of its own whose local ports all wait (TIME_WAIT).

    unshare --map-root-user --net python -m tests.load.narrow FOLDER

The ports are used up by real connections; the last word is what the station says of its next one.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import fcntl  # noqa: E402
import socket  # noqa: E402
import struct  # noqa: E402
import sys  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402

from harness.load.station import OwnLimit, Station, Timing  # noqa: E402
from harness.measure.limits import Demand, preflight  # noqa: E402
from harness.target import load_profile, machine_toward  # noqa: E402

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_FIRST, _PORTS = 40_000, 200
_PROFILE = 'name = "t"\nbase_url = "http://127.0.0.1:{port}"\n[sessions]\nsource = "cookies-file"\npath = "c.json"\n'
_COOKIES = '[{"name": "better-auth.session_token", "value": "t.c2ln", "role": "regular", "userId": "u"}]'


def _network() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = b"lo".ljust(16, b"\0")
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, name + bytes(24)), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, name + struct.pack("H22x", flags | _IFF_UP))
    settings = Path("/proc/sys/net/ipv4")
    (settings / "ip_local_port_range").write_text(f"{_FIRST} {_FIRST + _PORTS - 1}")
    (settings / "tcp_tw_reuse").write_text("0")


def _use_up(listener: socket.socket) -> int:
    """Connections that are over at once, but whose ports wait. Returns how many there were."""
    used = 0
    with suppress(OSError):
        while True:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
            ours.close()
            theirs.close()
            used += 1
    return used


def _main(folder: Path) -> None:
    _network()
    listener = socket.create_server(("127.0.0.1", 1024), backlog=16)
    (folder / "c.json").write_text(_COOKIES)
    profile = folder / "target.toml"
    profile.write_text(_PROFILE.format(port=listener.getsockname()[1]))
    target = load_profile(profile, {})
    demand = Demand(sockets=50, spawn_rate=50.0, disk=0)
    preflight(demand, machine_toward(target, folder))
    print("used", _use_up(listener))
    for attempt in (
        lambda: preflight(demand, machine_toward(target, folder)),
        Station(target, target.available_sessions(1), place=(0, 1), capacity=5, timing=Timing(3.0, 2.0, 30.0)).connect,
    ):
        try:
            attempt()
        except Exception as error:
            print(f"{type(error).__name__}: {error}{'' if not isinstance(error, OwnLimit) else ' (own limit)'}")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
