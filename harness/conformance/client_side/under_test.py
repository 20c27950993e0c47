"""Which client is under test, how it is started, and the contract's durations at the pace of its clock.

A client built for tests can run its clock faster: `scale` 0.1 makes ten seconds of the contract one. Nothing is started here.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import shutil
import threading
from dataclasses import dataclass, field

from harness.errors import UsageError
from schemas import Contract
from schemas.contract import ClientRules, Limits

__all__ = ["BY_HAND", "ClientUnderTest"]

BY_HAND = "open"
"""Instead of a command: a person opens the address."""

_SCENES_BY_HAND = 12
_MINUTES = 180.0  # seconds for a person to open an address


@dataclass(frozen=True)
class ClientUnderTest:
    """Durations in seconds, times `scale`. An empty command means that a person opens the address."""

    command: tuple[str, ...]
    scale: float
    limits: Limits
    rules: ClientRules
    earliest: float
    """From the loss of a connection to the next attempt, by the contract's benchmark."""
    latest: float
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held by whoever shows an address to a person: one at a time."""
    ports: list[int] = field(default_factory=list, repr=False)
    """Where such addresses were; guarded by `turn`."""

    @classmethod
    def parse(cls, text: str, scale: float, contract: Contract) -> ClientUnderTest:
        """From what --client and --client-scale say. Raises UsageError when no client can be started like this."""
        if not 0 < scale < math.inf:
            raise UsageError(f"the scale is {scale:g}", "--client-scale", "give a number greater than 0, 1 for the contract's own pace")
        rules, benchmark = contract.client, contract.benchmark
        scaled = dataclasses.replace(
            rules,
            reconnect_base=rules.reconnect_base * scale,
            reconnect_cap=rules.reconnect_cap * scale,
            unsolicited_pong_every=rules.unsolicited_pong_every * scale,
        )
        return cls(
            _words(text),
            scale,
            contract.limits.scaled(scale),
            scaled,
            benchmark.reconnect_earliest * scale,
            benchmark.reconnect_latest * scale,
        )

    @property
    def by_hand(self) -> bool:
        return not self.command

    @property
    def patience(self) -> float:
        """Seconds in which the client must have opened its first connection."""
        return _MINUTES if self.by_hand else 60.0

    @property
    def extra(self) -> float:
        """Seconds that a check may take beyond its own waits, because a person serves several of them in turn."""
        return _SCENES_BY_HAND * self.patience if self.by_hand else 0.0

    def words(self, url: str) -> list[str]:
        """The argument list that starts the client against `url`."""
        return [word.replace("{url}", url).replace("{scale}", f"{self.scale:g}") for word in self.command]


def _words(text: str) -> tuple[str, ...]:
    do = f"write for example --client 'node client.js {{url}}', or --client {BY_HAND} to get an address to open yourself"
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"the command cannot be split into words ({error})", "--client", do) from None
    if words == (BY_HAND,):
        return ()
    if not words:
        raise UsageError("the command is empty", "--client", do)
    if not any("{url}" in word for word in words):
        raise UsageError("the command does not say where {url} goes, so the client cannot know where to connect", "--client", do)
    if shutil.which(words[0]) is None:
        raise UsageError(f"there is no program {words[0]!r}", "--client", "install it, or name it with its path")
    return words
