"""Where an option's value comes from: the command line, else the environment, else roadmap-harness.toml, else the default.

The file has a table a command (`[check]`, `[report]`, ...) and, for the load, `[bench]` with what holds for every scenario and
`[bench.NAME]` with what holds for one. What is nobody's table or option is refused, for a word that is passed over is a setting that its
writer believes in. `--show-config` prints each value with its source, and runs nothing.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from argparse import Action, ArgumentParser
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer import Context, Exit, echo
from typer.core import TyperCommand

from harness.errors import ExitCode, UsageError

__all__ = ["COMMANDS", "FILE", "SHOW", "Configured", "Setting", "environment_name", "of_command", "parsed", "shown"]

FILE = "roadmap-harness.toml"
COMMANDS = ("bench", "check", "compare", "doctor", "export", "faults", "init", "report", "thresholds")
"""Those that have a table."""
Scenarios = Mapping[str, Callable[[], Iterable[str]]]
"""Names of scenarios as their files are called, and how to learn the options of each, which takes a while."""
_PREFIX = "ROADMAP"
SHOW = "--show-config"
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", ""})
_SOURCES = {"COMMANDLINE": "command line", "ENVIRONMENT": "environment", "DEFAULT_MAP": "file", "DEFAULT": "default"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One option as it stands; `source` says in words where its value is from."""

    name: str
    value: object
    source: str


def config_file() -> Path:
    """The file that is read: ROADMAP_CONFIG, or roadmap-harness.toml in the current folder. It need not exist."""
    return Path(os.environ.get(f"{_PREFIX}_CONFIG", FILE))


def environment_name(command: str, option: str) -> str:
    """The variable that sets an option of a command, such as ROADMAP_CHECK_PROFILE."""
    return f"{_PREFIX}_{command}_{option}".upper().replace("-", "_").replace(".", "_")


def of_command(command: str, options: Iterable[str]) -> dict[str, Any]:
    """The file's table of a command, keys with underscores. Raises UsageError for a file that cannot be read or a key that is no option."""
    return _table(_read().get(command, {}), command, options)


def parsed(parser: ArgumentParser, scenario: str, words: Sequence[str], scenarios: Scenarios) -> tuple[dict[str, Any], list[Setting]]:
    """What `bench` was asked: the values of a scenario's own parser, and where each is from.

    The file's `[bench]` holds for all scenarios, `[bench.NAME]` over it for one; `scenario` is the stem of its file, and NAME may have
    dashes for its underscores. What only another of the `scenarios` has is passed over. Raises UsageError as `of_command` does.
    """
    actions = [each for each in parser._actions if each.dest != "help"]
    table, path = _of_bench(scenario, [each.dest for each in actions], scenarios), config_file()
    sources = {}
    for action in actions:
        name = next(
            (each for each in (environment_name("bench", action.dest), f"{_PREFIX}_{action.dest.upper()}") if each in os.environ), ""
        )
        if name or action.dest in table:
            text = os.environ[name] if name else table[action.dest]
            where = name or f"{path}: {action.dest}"
            action.default = _converted(action, text, where)
            sources[action.dest] = f"environment ({name})" if name else f"file ({path})"
    given = vars(parser.parse_args(list(words)))
    for action in actions:
        if any(word.split("=")[0] in action.option_strings for word in words):
            sources[action.dest] = "command line"
    settings = [Setting(each.dest.replace("_", "-"), given[each.dest], sources.get(each.dest, "default")) for each in actions]
    return given, settings


def _converted(action: Action, value: Any, where: str) -> Any:
    if action.nargs == 0:
        if isinstance(value, bool) or str(value).lower() in _YES | _NO:
            return str(value).lower() in _YES
        raise UsageError(f"{value!r} is neither yes nor no", where, "write true or false")
    try:
        return action.type(str(value)) if callable(action.type) else value
    except ValueError:
        raise UsageError(
            f"{value!r} is not what --{action.dest.replace('_', '-')} takes", where, "give a number, or whatever its --help names"
        ) from None


def _of_bench(scenario: str, options: Sequence[str], scenarios: Scenarios) -> dict[str, Any]:
    found = _read().get("bench", {})
    own: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            if name.replace("-", "_") not in scenarios:
                raise _unknown(f"there is no scenario {name!r}", name, scenarios, f"[bench.{name}]")
            if name.replace("-", "_") == scenario:
                own |= value
    common = {key.replace("-", "_"): value for key, value in found.items() if not isinstance(value, dict)}
    for key in [each for each in common if each not in options]:
        _check_elsewhere(key, options, scenarios)
        del common[key]
    return {**_table(common, "bench", options), **_table(own, f"bench.{scenario}", options)}


def _check_elsewhere(key: str, options: Sequence[str], scenarios: Scenarios) -> None:
    """Raise UsageError unless another scenario has this option."""
    known = set(options)
    for ask in scenarios.values():
        theirs = {each.replace("-", "_") for each in ask()}
        if key in theirs:
            return
        known |= theirs
    raise _unknown(f"no scenario has an option {key!r}", key, known, "[bench]")


def _read() -> dict[str, Any]:
    path = config_file()
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if f"{_PREFIX}_CONFIG" in os.environ:
            raise UsageError("it does not exist", f"{_PREFIX}_CONFIG={path}", "name a file that exists, or unset the variable") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"it is no TOML: {error}", str(path), "mend the file") from None
    for name, table in tables.items():
        if not isinstance(table, dict) and name not in COMMANDS:
            raise UsageError(f"{name!r} stands in no table", str(path), f"put it under one of [{'], ['.join(COMMANDS)}]")
        if name not in COMMANDS:
            raise _unknown(f"there is no command {name!r} that has options here", name, COMMANDS, f"[{name}]")
        if not isinstance(table, dict):
            raise UsageError(f"[{name}] must be a table", str(path), f"write it as [{name}] with one option a line")
    return tables


def _table(table: Mapping[str, Any], name: str, options: Iterable[str]) -> dict[str, Any]:
    known = {each.rstrip("_"): each for each in sorted(options)}
    plain = {key.replace("-", "_"): value for key, value in table.items()}
    for key in plain:
        if key not in known:
            raise _unknown(f"[{name}] has no option {key!r}", key, known, f"[{name}]")
    return {known[key]: value for key, value in plain.items()}


def _unknown(what: str, word: str, known: Iterable[str], table: str) -> UsageError:
    words = sorted(each.replace("_", "-") for each in known)
    near = difflib.get_close_matches(word.replace("_", "-"), words, n=2)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return UsageError(what, f"{config_file()}, {table}", f"{meant}There are: {', '.join(words)}")


def shown(settings: Iterable[Setting]) -> str:
    """The values with their sources, a line each, in columns."""
    rows = [(each.name, "" if each.value is None else str(each.value), each.source) for each in settings]
    wide = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return "\n".join(f"{name:<{wide[0]}}  {value:<{wide[1]}}  {source}".rstrip() for name, value, source in rows)


class Configured(TyperCommand):
    """A command whose options may come from the environment and from the file, and that can say so."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        for param in self.params:
            if param.name and param.name.endswith("_") and not param.envvar:  # spelt so for Python's sake alone
                param.envvar = environment_name(str(self.name), param.name.rstrip("_"))
        self.epilog = self.epilog or f"{SHOW} prints each option's value and where it comes from, and does nothing else."

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        name = str(self.name)
        extra["auto_envvar_prefix"] = f"{_PREFIX}_{name.upper()}"
        extra["default_map"] = of_command(name, (str(each.name) for each in self.params))
        context = super().make_context(info_name, [word for word in args if word != SHOW], parent, **extra)
        context.meta[SHOW] = SHOW in args
        return context

    def invoke(self, ctx: Any) -> Any:
        if ctx.meta.get(SHOW):
            echo(shown(self._settings(ctx)))
            raise Exit(int(ExitCode.PASS))
        return super().invoke(ctx)

    def _settings(self, context: Context) -> Iterable[Setting]:
        for name, value in context.params.items():
            given = context.get_parameter_source(name)
            source = _SOURCES.get(given.name if given is not None else "", "default")
            where = {"environment": self._variable(context, name), "file": str(config_file())}.get(source)
            yield Setting(name.rstrip("_").replace("_", "-"), value, f"{source} ({where})" if where else source)

    def _variable(self, context: Context, name: str) -> str:
        (param,) = (each for each in self.params if each.name == name)
        own = [each for each in ([param.envvar] if isinstance(param.envvar, str) else param.envvar or ()) if each in os.environ]
        return own[0] if own else f"{context.auto_envvar_prefix}_{name.upper()}"
