"""Has this machine room for a plan against a target? The numbers are `harness.measure.limits`'; here they are read toward the target.

The same question is asked by `doctor`, for the contract's load test, and at the start of each run, for the run's own plan.
"""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import TargetUnreachable
from harness.measure.limits import Machine, read_machine
from harness.target.model import Target

__all__ = ["machine_toward"]


def machine_toward(target: Target, folder: Path) -> Machine:
    """This machine's numbers for sockets to the target, and evidence in `folder`. Raises TargetUnreachable when the target's name has no
    address."""
    address = urlsplit(target.base_url)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        host = socket.getaddrinfo(address.hostname, port, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        do = "check base_url in the profile"
        raise TargetUnreachable(f"the name {address.hostname} has no address ({error})", target.base_url, do) from error
    return read_machine(str(host), port, folder)
