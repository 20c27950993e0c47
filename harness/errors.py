"""Every way the harness gives up, and the exit code that each one means. The codes are written here and nowhere else.

An error is for the person who must act: it says what is wrong, where, and what to do, and reads as one sentence.
"""

from __future__ import annotations

import enum
from typing import ClassVar

__all__ = [
    "EXIT_FAIL",
    "EXIT_INVALID",
    "EXIT_PASS",
    "EXIT_UNREACHABLE",
    "EXIT_USAGE",
    "EvidenceLost",
    "ExitCode",
    "HarnessError",
    "JournalFull",
    "LoginRefused",
    "RunInvalid",
    "TargetUnreachable",
    "UsageError",
]


class ExitCode(enum.IntEnum):
    """What a command's exit status says, for every command."""

    PASS = 0  # the contract is kept and every benchmark met
    FAIL = 1  # the contract is broken or a benchmark missed
    USAGE = 2  # the command, a profile or this machine's settings must change first
    UNREACHABLE = 3  # the target does not answer, or refuses the log-in
    INVALID = 4  # the evidence is not good enough to judge, or nothing was tested


EXIT_PASS = ExitCode.PASS
EXIT_FAIL = ExitCode.FAIL
EXIT_USAGE = ExitCode.USAGE
EXIT_UNREACHABLE = ExitCode.UNREACHABLE
EXIT_INVALID = ExitCode.INVALID


class HarnessError(Exception):
    """Base of all. `what` is wrong, `where` (file, key, line, address; may be empty), and what to `do` about it.

    Never put a session value or a password in any of the three: they reach the terminal and the report.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INVALID

    def __init__(self, what: str, where: str, do: str) -> None:
        # All three go to Exception.args, so that the error survives pickling between processes.
        super().__init__(what, where, do)
        self.what = what
        self.where = where
        self.do = do

    def __str__(self) -> str:
        what, where, do = (" ".join(part.split()).rstrip(".;") for part in (self.what, self.where, self.do))
        sentence = f"{where}: {what}" if where else what
        return f"{sentence}; {do}." if do else f"{sentence}."


class UsageError(HarnessError):
    """The command line, a profile, a scenario or a setting of this machine is wrong."""

    exit_code = ExitCode.USAGE


class TargetUnreachable(HarnessError):
    """Nothing answers at the target's address, or what answers is not the target."""

    exit_code = ExitCode.UNREACHABLE


class LoginRefused(HarnessError):
    """The target answers but gives no session for the accounts of the profile."""

    exit_code = ExitCode.UNREACHABLE


class RunInvalid(HarnessError):
    """The run cannot judge the target: the instrument was not fit, or nothing was tested."""

    exit_code = ExitCode.INVALID


class EvidenceLost(RunInvalid):
    """What was seen could not be kept, or cannot be read back."""


class JournalFull(EvidenceLost):
    """The journal cannot grow: the disk or a quota is full, or the disk fails."""
