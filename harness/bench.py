"""`roadmap-harness bench`: a scenario by name, its own options, and the bundled server where no target is named.

What a scenario can be asked is in its locustfile and nowhere else; it is read from there, in a process of its own.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.bundled import BundledServer, ServerSize
from harness.config import SHOW, parsed, shown
from harness.destination import check_destination
from harness.errors import ExitCode, UsageError
from harness.figure_names import run_figures
from harness.load.settings import check_option
from harness.load.shape import Option
from harness.locust_run import LocustRun, scenario_file, scenario_names
from harness.run_folder import RunFolder, forget_unbegun, new_run_folder
from harness.terminal import Teller
from harness.thresholds import read_thresholds

__all__ = ["Described", "bench", "describe"]

_DEFAULT = "broadcast"
_STDOUT = "-"
_DESCRIBE_SECONDS = 60.0
_LEAST_USERS = 50


@dataclass(frozen=True, slots=True)
class Described:
    """What a locustfile says of its scenario. See `harness.load.shape.Shape`."""

    name: str
    about: str
    casts: bool
    merges: bool
    own_server: bool
    judged: tuple[str, ...]
    options: tuple[Option, ...]


def describe(file: Path) -> Described:
    """Ask a locustfile what it is. Raises UsageError when it is none of ours."""
    command = [sys.executable, "-m", "harness.load.describe", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_DESCRIBE_SECONDS)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UsageError(
            said[-1] if said else "it installs no scenario", str(file), "mend the locustfile: it must call install(Shape(...))"
        )
    told = json.loads(done.stdout)
    return Described(**{**told, "options": tuple(Option(**option) for option in told["options"])})


def bench(words: Sequence[str]) -> int:
    """Run a scenario, judge it, and answer the exit code. Raises HarnessError."""
    if words and words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    name, rest = (words[0], words[1:]) if words and not words[0].startswith("-") else (_DEFAULT, words)
    file = scenario_file(name)
    shape = describe(file)
    given, settings = parsed(_parser(name, shape), file.stem, [word for word in rest if word != SHOW], _options_by_scenario())
    if SHOW in rest:
        print(shown(settings))
        return 0
    options: dict[str, object] = {}
    for option in shape.options:
        check_option(option, given[option.key])
        options["users" if option.name == "viewers" else option.name] = given[option.key]
    options["reports"] = given["reports"]
    if given["thresholds"] is not None:
        lines = read_thresholds(given["thresholds"])  # refused before anything is started
        if shape.judged:  # the reconnect study's figures follow from its causes and models, and it looks itself
            lines.check(run_figures(shape.judged))
        options["thresholds"] = given["thresholds"]
    if given["web"] and given["json"] is not None:
        raise UsageError("in the web UI each start is a run of its own", "--json", "leave it out: each run's folder has verdicts.json")
    if given["web"] and given["no_page"]:
        raise UsageError("the web UI leads to each run's page", "--no-page", "leave one of the two out")
    check_destination(given["json"], "--json")
    faults = _faults(shape, given)
    folder = new_run_folder(given["reports"], shape.name.replace("_", "-"), time.time())
    run = LocustRun(
        file,
        folder,
        options,
        processes=given["processes"],
        web_port=given["web_port"] if given["web"] else None,
        quiet=given["quiet"],
        page=not given["no_page"],
        silent=str(given["json"]) == _STDOUT,
    )
    try:
        code = _execute(run, shape, given, folder, faults)
    except KeyboardInterrupt:
        forget_unbegun(folder)
        raise
    if given["web"] or code in (ExitCode.USAGE, ExitCode.UNREACHABLE):  # in the web UI each start makes a folder of its own
        forget_unbegun(folder)
    if given["json"] is not None and RunFolder(folder).verdicts.is_file():
        _hand_out(RunFolder(folder).verdicts.read_bytes(), given["json"])
    return code


def _options_by_scenario() -> Mapping[str, Callable[[], Iterable[str]]]:
    def ask(name: str) -> list[str]:
        return [action.dest for action in _parser(name, describe(scenario_file(name)))._actions]

    return {name: functools.partial(ask, name) for name in scenario_names()}


def _hand_out(verdicts: bytes, to: Path) -> None:
    if str(to) != _STDOUT:
        to.write_bytes(verdicts)
        return
    sys.stdout.write(verdicts.decode())
    sys.stdout.flush()


def _execute(run: LocustRun, shape: Described, given: dict[str, Any], folder: Path, faults: Sequence[str]) -> int:
    if given["target"] or shape.own_server:
        return run.execute(given["target"])
    words = [word for name in faults for word in ("--fault", name)]
    with BundledServer(_size(shape, given), log=RunFolder(folder).server_log, arguments=words) as server:
        if not given["quiet"]:
            broken = f", which breaks its contract by {', '.join(faults)}" if faults else ""
            Teller().say(f"bundled server at {server.base_url}, process {server.pid}{broken}")
        return run.execute(str(server.ready))


def _faults(shape: Described, given: dict[str, Any]) -> tuple[str, ...]:
    """Names of seeded faults. Raises UsageError for one that there is not, or where the server is not ours to break."""
    names = [name.strip() for name in given["fault"].split(",") if name.strip()]
    if not names:
        return ()
    if given["target"] or shape.own_server:
        whose = "a target was named" if given["target"] else f"{shape.name} starts a server of its own"
        raise UsageError(f"only the bundled server has faults, and {whose}", "--fault", "leave one of the two out")
    from harness.faults.known import known_faults  # it asks the server, which takes half a second

    return tuple(each.name for each in known_faults().chosen(names, ()))


def _size(shape: Described, given: dict[str, Any]) -> ServerSize:
    """A bundled server that can carry the scenario. Its cap on broadcasts goes up with the rate unless the scenario is about that cap."""
    viewers, voters = given["viewers"], given.get("voters", 1)
    return ServerSize(
        sessions=max(viewers, voters),
        users=max(2 * voters, _LEAST_USERS),
        features=given.get("features", 1),
        connections=viewers,
        rate=0.0 if shape.merges else max(given.get("rate", 0.0), given.get("most_rate", 0.0)),
    )


def _overview() -> str:
    lines = [
        "usage: roadmap-harness bench [SCENARIO] [OPTION ...]",
        "",
        "Run a load scenario and judge it by the contract's benchmarks.",
        "",
    ]
    width = max(len(name) for name in scenario_names())
    lines += [f"  {name:<{width}}  {_first_line(scenario_file(name))}" for name in scenario_names()]
    lines += ["", f"Without a name it is {_DEFAULT}. Each has options of its own: roadmap-harness bench SCENARIO --help",
              "Example: roadmap-harness bench broadcast --target staging.toml --duration 60",
              "See one fail: roadmap-harness bench --fault some-lost-in-a-crowd"]  # fmt: skip
    return "\n".join(lines)


def _first_line(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return text.partition("\n")[0]


def _parser(name: str, shape: Described) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"roadmap-harness bench {name}",
        description=shape.about,
        epilog=f"Example: roadmap-harness bench {name} --target staging.toml --viewers 200. "
        f"{SHOW} prints each option's value and where it comes from, and does nothing else.",
        allow_abbrev=False,
    )
    target = "profile (TOML) of the target; without it the bundled server is started (also ROADMAP_TARGET)"
    parser.add_argument("--target", default=os.environ.get("ROADMAP_TARGET", ""), metavar="FILE", help=target)
    for option in shape.options:
        kind = type(option.default)
        shown = (
            f"{option.help} (default: {option.default:g})" if kind is not str else f"{option.help} (default: {option.default or 'none'})"
        )
        parser.add_argument(
            f"--{option.name}", type=kind, default=option.default, metavar={int: "N", float: "X"}.get(kind, "TEXT"), help=shown
        )
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="Locust worker processes; 1 runs in one process (default: 1)")
    parser.add_argument("--web", action="store_true", help="open Locust's web UI instead of starting at once")
    parser.add_argument("--web-port", type=int, default=8089, metavar="PORT", help="of Locust's web UI (default: 8089)")
    fault = "break the bundled server on purpose, and see it caught: names of `faults --list`, separated by commas"
    parser.add_argument("--fault", default="", metavar="NAME", help=fault)
    parser.add_argument("--quiet", action="store_true", help="no progress lines: the verdict and what went wrong")
    no_page = "judge the run and draw no page, which spares repeats for `compare` some seconds each; `report` draws it later"
    parser.add_argument("--no-page", action="store_true", help=no_page)
    out = "write the verdicts as JSON there too; - prints them on standard output and everything else on standard error"
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help=out)
    parser.add_argument("--thresholds", type=Path, default=None, metavar="FILE", help="judge by these lines too (see `thresholds`)")
    reports = Path(os.environ.get("ROADMAP_REPORTS", "reports"))
    parser.add_argument("--reports", type=Path, default=reports, metavar="DIR", help=f"where run folders are made (default: {reports})")
    return parser
