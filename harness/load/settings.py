"""What a run is asked to do: Locust's command line, its start form in the web UI and the environment, as one frozen object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.load.shape import CASTING, COMMON, Option, Shape, Value

__all__ = ["Settings", "add_arguments", "add_places", "check_option"]

_LOCUSTS_OWN = ("viewers", "spawn-rate")  # Locust has these two itself, the first as --users


@dataclass(frozen=True, slots=True)
class Settings:
    """One run. rate: casts per second; durations in seconds; viewers: sockets of all workers together.

    A scenario that casts nothing has a rate and durations of 0. `own` are the scenario's own options, by name with underscores;
    `thresholds`: a file by which the run is judged too.
    """

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
    own: Mapping[str, Value] = field(default_factory=dict)
    thresholds: Path | None = None

    def __post_init__(self) -> None:
        if not self.target:
            do = "name a profile (TOML) or the ready.json of a bundled server, or set ROADMAP_TARGET"
            raise UsageError("there is no target", "--target", do)

    def number(self, name: str) -> float:
        """One of the scenario's own options that is a number. Raises KeyError when the scenario has no such option."""
        return float(self.own[name])

    def parameters(self) -> dict[str, Any]:
        """What the journal's header says of the run."""
        names = ("viewers", "spawn_rate", "rate", "duration", "warmup", "features", "voters", "drain")
        return {**{name: getattr(self, name) for name in names}, **self.own}

    @classmethod
    def of(cls, shape: Shape, options: Any, viewers: int, spawn_rate: float) -> Settings:
        """From Locust's parsed options. Raises UsageError for a number that is too small, or without a target."""
        given: dict[str, Any] = {"viewers": viewers, "spawn_rate": spawn_rate}
        for option in shape.all_options():
            given.setdefault(option.key, type(option.default)(getattr(options, option.key, option.default)))
            check_option(option, given[option.key])
        shared = {option.key: given.pop(option.key, 0) for option in (*COMMON, *CASTING)}
        return cls(
            scenario=shape.name, target=options.target or "", reports=Path(options.reports), folder=_path(options.run_folder),
            own=given, thresholds=_path(options.thresholds), **shared,
        )  # fmt: skip


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def check_option(option: Option, value: Value) -> None:
    """Raise UsageError when a number is smaller than the option allows."""
    if option.least is None or isinstance(value, str) or value >= option.least:
        return
    do = "give a number greater than 0" if 0 < option.least < 1 else f"give {option.least:g} or more"
    raise UsageError(f"{option.name} is {value}", f"--{option.name}", do)


def add_places(parser: Any) -> None:
    """The files and folders that every scenario can be told."""
    thresholds = "a file of lines to judge by too; `roadmap-harness thresholds` prints one to begin with"
    parser.add_argument("--thresholds", default=os.environ.get("ROADMAP_THRESHOLDS", ""), help=thresholds)
    parser.add_argument("--reports", default=os.environ.get("ROADMAP_REPORTS", "reports"), help="where run folders are made")
    parser.add_argument("--run-folder", default="", include_in_web_ui=False, help="an existing folder for this run, without a journal")


def add_arguments(parser: Any, shape: Shape) -> None:
    """The scenario's options; Locust shows them as fields of its start form too."""
    # Locust takes its own keywords (include_in_web_ui) on the parser only, not on a group.
    parser.add_argument("--target", env_var="ROADMAP_TARGET", default="", help="profile (TOML), or ready.json of a bundled server")
    for option in shape.all_options():
        if option.name in _LOCUSTS_OWN:
            continue
        parser.add_argument(f"--{option.name}", type=type(option.default), default=option.default, help=option.help)
    add_places(parser)
    viewers, spawn_rate = (option.default for option in shape.all_options()[: len(_LOCUSTS_OWN)])
    parser.set_defaults(num_users=viewers, spawn_rate=spawn_rate)
