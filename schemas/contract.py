"""contract.toml as frozen types: the one place from which code learns a number of the contract.

Nothing here has a default value: what is not in the file does not exist, and a key that nobody reads is an error.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "Benchmarks",
    "ClientRules",
    "CloseCodes",
    "Contract",
    "ContractError",
    "ErrorCodes",
    "Limits",
    "Messages",
    "load_contract",
    "parse_contract",
]

T = TypeVar("T", bound="DataclassInstance")


class ContractError(ValueError):
    """contract.toml and the types of this module disagree; the text names the key."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server enforces. Durations are seconds, sizes are bytes, the rest are counts."""

    connections: int
    heartbeat_interval: float
    heartbeat_timeout: float
    rate_messages: int
    rate_window: float
    batch_window: float
    broadcasts_per_second: int
    revalidate_every: float
    message_bytes: int
    subscriptions: int
    persistent_windows: int
    persistent_factor: int
    backlog_bytes: int
    shutdown_grace: float

    DURATIONS: ClassVar[tuple[str, ...]] = (
        "heartbeat_interval",
        "heartbeat_timeout",
        "rate_window",
        "batch_window",
        "revalidate_every",
        "shutdown_grace",
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"limit {field.name} is {value}: it must be greater than 0")

    def scaled(self, factor: float) -> Limits:
        """Every duration times `factor`; the rest stays. Raises ValueError unless 0 < factor < infinity."""
        if not 0 < factor < math.inf:
            raise ValueError(f"the time scale is {factor}: it must be a finite number greater than 0")
        return dataclasses.replace(self, **{name: getattr(self, name) * factor for name in self.DURATIONS})


@dataclass(frozen=True, slots=True)
class CloseCodes:
    """WebSocket close codes of the contract, and the protocol's own that it does not forbid."""

    normal: int
    going_away: int
    policy_violation: int
    session_invalid: int
    protocol: tuple[int, ...]

    @property
    def permitted_from_server(self) -> frozenset[int]:
        """Codes that a server may send in a Close frame (clause CLS-06)."""
        return frozenset({self.normal, self.going_away, self.policy_violation, self.session_invalid, *self.protocol})


@dataclass(frozen=True, slots=True)
class ErrorCodes:
    """The `code` values of ERROR messages."""

    session_expired: str
    rate_limit_exceeded: str
    invalid_message: str
    subscription_limit: str
    server_error: str

    @property
    def all(self) -> frozenset[str]:
        return frozenset(dataclasses.astuple(self))


@dataclass(frozen=True, slots=True)
class Messages:
    """Message types and the enums inside them, in the contract's order."""

    server: tuple[str, ...]
    client: tuple[str, ...]
    admin_only: frozenset[str]
    vote_actions: tuple[str, ...]
    feature_status: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """What the contract promises under load. Seconds, bytes, counts, per second."""

    latency: float
    connections: int
    broadcasts_per_second: int
    steady: float
    bytes_per_connection: int
    reconnect_earliest: float
    reconnect_latest: float


@dataclass(frozen=True, slots=True)
class ClientRules:
    """What the contract's own client does. Durations in seconds."""

    reconnect_base: float
    reconnect_cap: float
    reconnect_attempts: int
    unsolicited_pong_every: float


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything that contract.toml says."""

    path: str
    cookie: str
    auth_refusal_status: int
    rate_example_window: float
    """Seconds that the example of a rate error tells, which contradicts `limits.rate_window` (A23)."""
    limits: Limits
    close: CloseCodes
    errors: ErrorCodes
    messages: Messages
    benchmark: Benchmarks
    client: ClientRules


@cache
def load_contract() -> Contract:
    """The contract.toml of this package, read once. Raises ContractError when the file and these types disagree."""
    return parse_contract(resources.files("schemas").joinpath("contract.toml").read_text("utf-8"))


def parse_contract(text: str) -> Contract:
    """The Contract of a contract.toml given as text. Raises ContractError, naming the key, for a missing or unread one."""
    data: dict[str, dict[str, Any]] = tomllib.loads(text)

    def take(section: str, key: str) -> Any:
        try:
            return data[section].pop(key)
        except KeyError:
            raise ContractError(f"contract.toml: {section}.{key} is missing") from None

    def fill(cls: type[T], section: str, **given: Any) -> T:
        """Each field of `cls` that is not given, from the key of the same name."""
        names = (field.name for field in dataclasses.fields(cls) if field.name not in given)
        return cls(**given, **{name: _frozen(take(section, name)) for name in names})

    connections, per_second = take("connections", "limit"), take("broadcast", "per_second")
    contract = Contract(
        path=take("endpoint", "path"),
        cookie=take("endpoint", "cookie"),
        auth_refusal_status=take("endpoint", "auth_refusal_status"),
        rate_example_window=take("rate", "example_window"),
        limits=fill(
            Limits,
            "choice",
            connections=connections,
            heartbeat_interval=take("heartbeat", "interval"),
            heartbeat_timeout=take("heartbeat", "timeout"),
            rate_messages=take("rate", "messages"),
            rate_window=take("rate", "window"),
            batch_window=take("broadcast", "batch_window"),
            broadcasts_per_second=per_second,
            revalidate_every=take("session", "revalidate_every"),
        ),
        close=fill(CloseCodes, "close"),
        errors=fill(ErrorCodes, "errors"),
        messages=fill(Messages, "messages", admin_only=frozenset(take("messages", "admin_only"))),
        benchmark=fill(Benchmarks, "benchmark", connections=connections, broadcasts_per_second=per_second),
        client=fill(ClientRules, "client"),
    )
    unread = [f"{section}.{key}" for section, table in data.items() for key in table]
    if unread:
        raise ContractError(f"contract.toml: nobody reads {', '.join(unread)}; remove it or give it a field in contract.py")
    return contract


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
