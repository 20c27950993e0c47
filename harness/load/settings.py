"""What a run is asked to do: Locust's command line, its start form in the web UI and the environment, as one frozen object."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from schemas import load_contract

__all__ = ["Settings", "add_arguments"]

_SPAWN_RATE = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """One run. rate: casts per second; durations in seconds; viewers: sockets of all workers together."""

    scenario: str
    target: str
    viewers: int
    spawn_rate: float
    rate: float
    duration: float
    warmup: float
    features: int
    voters: int
    drain: float
    seed: int
    reports: Path
    folder: Path | None

    def __post_init__(self) -> None:
        for name, least in (("viewers", 1), ("spawn_rate", 1e-9), ("rate", 1e-9), ("duration", 1e-9), ("features", 1), ("voters", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}", f"--{name}", "give a number greater than 0")
        if self.warmup < 0 or self.drain < 0:
            raise UsageError("a duration is negative", "--warmup and --drain", "give 0 or more seconds")
        if not self.target:
            do = "name a profile (TOML) or the ready.json of a bundled server, or set ROADMAP_TARGET"
            raise UsageError("there is no target", "--target", do)

    def parameters(self) -> dict[str, Any]:
        """What the journal's header says of the run."""
        known = asdict(self)
        return {name: known[name] for name in ("viewers", "spawn_rate", "rate", "duration", "warmup", "features", "voters", "drain")}

    @classmethod
    def of(cls, scenario: str, options: Any, viewers: int, spawn_rate: float) -> Settings:
        """From Locust's parsed options. Raises UsageError."""
        return cls(
            scenario=scenario,
            target=options.target or "",
            viewers=viewers,
            spawn_rate=spawn_rate,
            rate=float(options.rate),
            duration=float(options.duration),
            warmup=float(options.warmup),
            features=int(options.features),
            voters=int(options.voters),
            drain=float(options.drain),
            seed=int(options.seed),
            reports=Path(options.reports),
            folder=Path(options.run_folder) if options.run_folder else None,
        )


def add_arguments(parser: Any) -> None:
    """The scenario's own options; Locust shows them as fields of its start form too."""
    benchmark = load_contract().benchmark
    per_second = float(benchmark.broadcasts_per_second)
    group = parser  # Locust takes its own keywords (include_in_web_ui) on the parser only, not on a group
    group.add_argument("--target", env_var="ROADMAP_TARGET", default="", help="profile (TOML), or ready.json of a bundled server")
    group.add_argument("--rate", type=float, default=per_second, help="votes cast per second, all workers together")
    group.add_argument("--duration", type=float, default=benchmark.steady, help="seconds of the steady phase, which is judged")
    group.add_argument("--warmup", type=float, default=5.0, help="seconds of the same load before it, which are not judged")
    group.add_argument("--features", type=int, default=100, help="features voted on in turn; more of them keep votes on one further apart")
    group.add_argument("--voters", type=int, default=20, help="users who vote in turn")
    group.add_argument("--drain", type=float, default=10.0, help="most seconds to wait for the last deliveries")
    group.add_argument("--seed", type=int, default=1, help="of the vote plan")
    group.add_argument("--reports", default=os.environ.get("ROADMAP_REPORTS", "reports"), help="where run folders are made")
    group.add_argument("--run-folder", default="", include_in_web_ui=False, help="an existing folder for this run, without a journal")
    parser.set_defaults(num_users=benchmark.connections, spawn_rate=_SPAWN_RATE)
