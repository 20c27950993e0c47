"""Which faults there are: asked of the server as a process, for the harness shares no code with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.errors import RunInvalid, UsageError

__all__ = ["Fault", "Faults", "known_faults"]

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One named defect. It breaks `clause`, and with it the clauses of `follows`, each for the reason given there.

    needs: what it takes to see it: "tls", "capacity" (a server that is soon full), "load" (one whose cap on broadcasts is low).
    """

    name: str
    clause: str
    summary: str
    follows: Mapping[str, str]
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Faults:
    """Every fault, in the order of the contract's sections; and the binding clauses without any, with the reason."""

    all: tuple[Fault, ...]
    unfaultable: Mapping[str, str]

    def chosen(self, names: Sequence[str], clauses: Sequence[str]) -> tuple[Fault, ...]:
        """Those whose name matches one of the patterns `names` and whose clause one of `clauses`; no pattern selects all.

        Raises UsageError for a pattern that nothing matches.
        """
        _must_match("--fault", names, [each.name for each in self.all], "list them with: roadmap-harness faults --list")
        _must_match("--clause", [each.upper() for each in clauses], [each.clause for each in self.all], "give an id such as HB-05")
        found = tuple(
            each
            for each in self.all
            if (not names or any(fnmatchcase(each.name, pattern) for pattern in names))
            and (not clauses or any(fnmatchcase(each.clause, pattern.upper()) for pattern in clauses))
        )
        if not found:
            raise UsageError("no fault is both among --fault and among --clause", "", "widen one of them")
        return found


def _must_match(option: str, patterns: Iterable[str], known: Sequence[str], do: str) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(each, pattern) for each in known):
            raise UsageError(f"{pattern!r} matches no fault", option, do)


def known_faults() -> Faults:
    """Ask the bundled server. Raises RunInvalid when it does not tell."""
    command = [sys.executable, "-m", "server_under_test", "--list-faults"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or "").strip().splitlines()
        why = said[-1] if said else type(error).__name__
        raise RunInvalid(f"the bundled server did not list its faults: {why}", "python -m server_under_test --list-faults", "") from None
    data = json.loads(done.stdout)
    return Faults(
        tuple(Fault(each["name"], each["clause"], each["summary"], each["follows"], tuple(each["needs"])) for each in data["faults"]),
        data["unfaultable"],
    )
