"""What the study is asked to do: which causes, outages and client models, with how many clients, as one frozen object.

A cell is one combination, tried on its own. Durations are seconds; the client's own durations and the benchmark's are scaled like the
target's, so that a server whose durations are shortened meets clients that are shortened as much.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.load.settings import add_places
from harness.load.shape import Option, Shape
from harness.measure.backoff import CLIENT_MODELS
from schemas import load_contract
from schemas.contract import ClientRules

__all__ = ["CAUSES", "SHAPE", "Cell", "Order", "add_arguments", "scaled_rules"]

CAUSES = {
    "graceful": "the server is stopped in order (it says 1001) and comes back after the outage",
    "killed": "the server's process is killed without a word and comes back after the outage",
    "expired": "every session is revoked: 4401, and no way back in",
    "silent": "the path swallows everything, and after the outage knows nothing of the old connections (no reset until somebody speaks)",
    "full": "the clients arrive while the server is at its limit; places fall free after the outage",
}
"""Why the clients lose the server, in the order in which they are tried."""

_SPAWN_RATE = 100  # of Locust's own users, who only stand for the clients
_ENDLESS = frozenset({"expired"})
_OUTAGES = "4"  # between two attempts of each model: one that ends in the moment of an attempt is a race, and reads as chance


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination. outage: None where nothing comes back."""

    number: int
    cause: str
    outage: float | None
    model: str

    @property
    def name(self) -> str:
        return f"{self.cause}, {self.model}" if self.outage is None else f"{self.cause} for {self.outage:g} s, {self.model}"


@dataclass(frozen=True, slots=True)
class Order:
    """One study. time_scale: of the server that the study starts itself; a target of its own says its scale in its profile."""

    target: str
    clients: int
    models: tuple[str, ...]
    causes: tuple[str, ...]
    outages: tuple[float, ...]
    time_scale: float
    seed: int
    reports: Path
    folder: Path | None
    thresholds: Path | None = None

    def cells(self) -> Iterator[Cell]:
        """Every combination; the models of one cause and outage come one after the other."""
        number = 0
        for cause in self.causes:
            for outage in (None,) if cause in _ENDLESS else self.outages:
                for model in self.models:
                    yield Cell(number, cause, outage, model)
                    number += 1

    def parameters(self) -> dict[str, Any]:
        """What the journal's header says of the study."""
        known = dataclasses.asdict(self)
        return {name: known[name] for name in ("clients", "models", "causes", "outages", "time_scale")}

    @classmethod
    def of(cls, options: Any, clients: int) -> Order:
        """From Locust's parsed options. Raises UsageError."""
        if clients < 1:
            raise UsageError(f"{clients} clients", "--users", "give a number greater than 0")
        scale = float(options.time_scale)
        if not 0 < scale < math.inf:
            raise UsageError(f"the time scale is {scale:g}", "--time-scale", "give a number greater than 0")
        return cls(
            target=options.target or "",
            clients=clients,
            models=_words(options.models, CLIENT_MODELS, "--models"),
            causes=_words(options.causes, tuple(CAUSES), "--causes"),
            outages=_seconds(options.outages),
            time_scale=scale,
            seed=int(options.seed),
            reports=Path(options.reports),
            folder=Path(options.run_folder) if options.run_folder else None,
            thresholds=Path(options.thresholds) if options.thresholds else None,
        )


def _words(text: str, known: Sequence[str], where: str) -> tuple[str, ...]:
    """Chosen words in the order in which they are known. Raises UsageError for one that is not."""
    chosen = {word.strip() for word in text.split(",") if word.strip()}
    if not chosen or not chosen <= set(known):
        wrong = ", ".join(sorted(chosen - set(known))) or "nothing"
        raise UsageError(f"{wrong} is not among the choices", where, f"give some of {','.join(known)}, separated by commas")
    return tuple(word for word in known if word in chosen)


def _seconds(text: str) -> tuple[float, ...]:
    try:
        outages = {float(word) for word in text.split(",") if word.strip()}
    except ValueError:
        outages = set()
    if not outages or not all(0 < outage < math.inf for outage in outages):
        raise UsageError(f"{text!r} is not a list of durations", "--outages", "give seconds greater than 0, such as 0.5,3,10,40")
    return tuple(sorted(outages))


def scaled_rules(rules: ClientRules, scale: float) -> ClientRules:
    """The client's rules with every duration times `scale`."""
    return dataclasses.replace(
        rules,
        reconnect_base=rules.reconnect_base * scale,
        reconnect_cap=rules.reconnect_cap * scale,
        unsolicited_pong_every=rules.unsolicited_pong_every * scale,
    )


_ABOUT = (
    "What clients do when their server goes: stopped, killed, full, behind a silent path, or with their sessions revoked; as the "
    "contract's sample class does it, as its formula done once, and with full jitter. Who is back when, and what the herd looks like."
)
SHAPE = Shape(
    name="reconnect",
    about=_ABOUT,
    options=(
        Option("models", ",".join(CLIENT_MODELS), "client models, separated by commas"),
        Option("causes", ",".join(CAUSES), "; ".join(f"{name}: {what}" for name, what in CAUSES.items())),
        Option("outages", _OUTAGES, "seconds until the server is back, separated by commas; the full study is 0.5,3,10,40"),
        Option("time-scale", 1.0, "times every duration of the clients and of the server that the study starts; not the outages", 1e-9),
    ),
    judged=(),
    casts=False,
    own_server=True,
)
"""What the command line asks for; the study has a conductor of its own."""


def add_arguments(parser: Any) -> None:
    """The options for Locust's command line and its start form."""
    about = "profile (TOML) or ready.json with stop and start hooks; without it the study starts, kills and restarts the bundled server"
    parser.add_argument("--target", env_var="ROADMAP_TARGET", default="", help=about)
    for option in (*SHAPE.options, Option("seed", 1, "of the jitter, and of the order in which sockets of one moment are opened")):
        parser.add_argument(f"--{option.name}", type=type(option.default), default=option.default, help=option.help)
    add_places(parser)
    parser.set_defaults(num_users=load_contract().benchmark.connections, spawn_rate=_SPAWN_RATE)
