"""The options of the pytest plugin, and what they mean for the ground that the checks stand on."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

import pytest

from harness.conformance.catalogue import FAST_SECONDS, Selection
from harness.conformance.ground import SIDE_BY_SIDE, Options

__all__ = ["add_options", "options_of", "selection_of"]


def add_options(parser: pytest.Parser) -> None:
    """The group of options, on any pytest command line that loads the plugin."""
    group = parser.getgroup("roadmap", "conformance to the Real-Time Roadmap Updates contract")
    add = group.addoption
    add(
        "--target", default=os.environ.get("ROADMAP_TARGET", ""), help="profile (TOML) of the target, or the ready.json of a bundled server"
    )
    add("--clause", action="append", default=[], help="judge this clause only: an id or a pattern; may be repeated")
    add("--section", action="append", default=[], help="judge this section only, such as HB; may be repeated")
    add("--tier", action="append", default=[], help="judge this tier only (T0 to T3, TS, TC); may be repeated")
    add("--level", action="append", default=[], help="judge this level only (MUST, SHOULD, INFO); may be repeated")
    add("--profile", default="full", help=f"fast leaves out checks that wait more than {FAST_SECONDS:g} s; full is the default")
    add("--requirements", default="", help="pin the set of requirements: clauses that came later are left out")
    add(
        "--capacity",
        default="auto",
        choices=("auto", "yes", "no"),
        help="may as many sockets be opened as the limit allows; auto: on this host",
    )
    add("--second-url", default="", help="WebSocket URL of a second instance")
    add("--client", default="", help='command that starts a client under test, {url} being where it shall connect; or "open"')
    add("--client-scale", type=float, default=1.0, help="pace of the client's clock: 0.1 makes ten seconds of the contract one")
    add(
        "--confirm",
        default="yes",
        choices=("yes", "no"),
        help="try again what seems broken or cannot be judged while this machine is short of processors",
    )
    add("--seed", type=int, default=1, help="of what is left to chance")
    add("--run-folder", default="", help="where the records go; without it none are kept")
    add("--side-by-side", type=int, default=SIDE_BY_SIDE, help="active checks at once; 1 runs all one by one")
    add("--only", default="", choices=("", "shared", "alone"), help="only the checks that may share the target, or only those that may not")
    add("--run-began", type=float, default=0.0, help="seconds since the epoch that times are counted from")


def selection_of(config: pytest.Config) -> Selection:
    """Which clauses are asked for. Raises UsageError."""
    option = config.getoption
    return Selection(
        clauses=tuple(option("clause")),
        sections=tuple(option("section")),
        tiers=tuple(option("tier")),
        levels=tuple(option("level")),
        profile=option("profile"),
        requirements=option("requirements"),
    )


def options_of(config: pytest.Config, base_url: str, worker: int, workers: int) -> Options:
    """What the user allows and offers, for a target there; `worker` of `workers` processes."""
    option = config.getoption
    return Options(
        capacity={"yes": True, "no": False}.get(option("capacity"), _on_this_host(base_url)),
        second_url=option("second_url"),
        client=option("client"),
        client_scale=option("client_scale"),
        seed=option("seed"),
        confirm=option("confirm") == "yes",
        worker=worker,
        workers=workers,
    )


def _on_this_host(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
