"""Messages as data for the tests of this room: the contract's own examples, and strategies for all that is valid.

Written from the contract, not from the schema files, so that the two can disagree.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from schemas import Problem, Side, load_contract, validate_client, validate_server

__all__ = ["DROP", "EXAMPLES", "REQUIRED", "TYPES", "changed", "problems", "side_of", "valid_messages"]

MESSAGES = load_contract().messages
ERRORS = load_contract().errors

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "PING": {"type": "PING"},
    "VOTE_UPDATE": {
        "type": "VOTE_UPDATE",
        "featureId": "clxyz123456789",
        "voteCount": 43,
        "voterId": "clusr987654321",
        "action": "add",
        "timestamp": "2025-10-20T15:30:45.123Z",
    },
    "FEATURE_UPDATE": {
        "type": "FEATURE_UPDATE",
        "featureId": "clxyz123456789",
        "changes": {"status": "IN_PROGRESS"},
        "timestamp": "2025-10-20T15:35:22.456Z",
    },
    "FEATURE_CREATED": {
        "type": "FEATURE_CREATED",
        "feature": {
            "id": "clxyz789012345",
            "title": "Mobile app version",
            "description": "Release native iOS and Android apps",
            "status": "TODO",
            "voteCount": 0,
            "createdById": "clusr111222333",
            "createdBy": {"name": "Jane Admin"},
            "createdAt": "2025-10-20T15:40:00.000Z",
            "updatedAt": "2025-10-20T15:40:00.000Z",
        },
        "timestamp": "2025-10-20T15:40:00.123Z",
    },
    "FEATURE_DELETED": {
        "type": "FEATURE_DELETED",
        "featureId": "clxyz123456789",
        "timestamp": "2025-10-20T15:45:10.789Z",
    },
    "ERROR": {
        "type": "ERROR",
        "code": "RATE_LIMIT_EXCEEDED",
        "message": "Too many requests. Please slow down.",
        "context": {"limit": 10, "window": "60s"},
        "timestamp": "2025-10-20T15:50:00.000Z",
    },
    "PONG": {"type": "PONG"},
    "SUBSCRIBE": {"type": "SUBSCRIBE", "featureIds": ["clxyz123456789", "clxyz987654321"]},
    "UNSUBSCRIBE": {"type": "UNSUBSCRIBE", "featureIds": ["clxyz123456789"]},
}

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "PING": (),
    "VOTE_UPDATE": ("featureId", "voteCount", "action", "timestamp"),
    "FEATURE_UPDATE": ("featureId", "changes", "timestamp"),
    "FEATURE_CREATED": (
        "feature",
        "feature.id",
        "feature.title",
        "feature.description",
        "feature.status",
        "feature.voteCount",
        "feature.createdById",
        "feature.createdBy",
        "feature.createdBy.name",
        "feature.createdAt",
        "feature.updatedAt",
        "timestamp",
    ),
    "FEATURE_DELETED": ("featureId", "timestamp"),
    "ERROR": ("code", "message", "timestamp"),
    "PONG": (),
    "SUBSCRIBE": ("featureIds",),
    "UNSUBSCRIBE": ("featureIds",),
}

OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "VOTE_UPDATE": ("voterId",),
    "FEATURE_UPDATE": ("changes.title", "changes.description", "changes.status"),
    "ERROR": ("context",),
}

_NOT_STRINGS = {"voteCount": int, "changes": dict, "feature": dict, "createdBy": dict, "context": dict, "featureIds": list}

TYPES: Mapping[str, Mapping[str, type]] = {
    name: {path: _NOT_STRINGS.get(path.rpartition(".")[2], str) for path in (*paths, *OPTIONAL.get(name, ()))}
    for name, paths in REQUIRED.items()
}
"""The Python type of each property, by message type and dotted path."""

DROP: Any = object()


def side_of(message_type: str) -> Side:
    return "server" if message_type in MESSAGES.server else "client"


def problems(message: object, message_type: str, *, strict: bool) -> tuple[Problem, ...]:
    """The verdict of the validator that is in charge of this type."""
    validate = validate_server if side_of(message_type) == "server" else validate_client
    return validate(message, strict=strict)


def changed(message: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the property at the dotted path put, or taken out for DROP; a number in the path is an index."""
    copied = copy.deepcopy(message)
    *parents, last = (int(step) if step.isdecimal() else step for step in path.split("."))
    place: Any = copied
    for step in parents:
        place = place[step]
    if value is DROP:
        del place[last]
    else:
        place[last] = value
    return copied


ids = st.text(min_size=1)
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
stamps = st.one_of(
    st.datetimes(timezones=st.just(UTC)).map(lambda at: at.isoformat(timespec="milliseconds").replace("+00:00", "Z")),
    st.datetimes(timezones=zones).map(lambda at: at.isoformat()),
)
status = st.sampled_from(MESSAGES.feature_status)
counts = st.integers(0, 2**53)
feature = st.fixed_dictionaries(
    {
        "id": ids,
        "title": st.text(),
        "description": st.text(),
        "status": status,
        "voteCount": counts,
        "createdById": ids,
        "createdBy": st.fixed_dictionaries({"name": st.text()}),
        "createdAt": stamps,
        "updatedAt": stamps,
    }
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_changes = st.fixed_dictionaries({}, optional={"title": st.text(), "description": st.text(), "status": status})
_PROPERTIES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "PING": ({}, {}),
    "VOTE_UPDATE": (
        {"featureId": ids, "voteCount": counts, "action": st.sampled_from(MESSAGES.vote_actions), "timestamp": stamps},
        {"voterId": ids},
    ),
    "FEATURE_UPDATE": ({"featureId": ids, "changes": _changes.filter(bool), "timestamp": stamps}, {}),
    "FEATURE_CREATED": ({"feature": feature, "timestamp": stamps}, {}),
    "FEATURE_DELETED": ({"featureId": ids, "timestamp": stamps}, {}),
    "ERROR": (
        {"code": st.sampled_from(sorted(ERRORS.all)), "message": st.text(), "timestamp": stamps},
        {"context": st.dictionaries(st.text(), json_values, max_size=3)},
    ),
    "PONG": ({}, {}),
    "SUBSCRIBE": ({"featureIds": st.lists(ids, max_size=5)}, {}),
    "UNSUBSCRIBE": ({"featureIds": st.lists(ids, max_size=5)}, {}),
}


def valid_messages(message_type: str | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Any message that the contract permits, of one type or of all."""
    if message_type is None:
        return st.sampled_from(sorted(_PROPERTIES)).flatmap(valid_messages)
    required, optional = _PROPERTIES[message_type]
    return st.fixed_dictionaries({"type": st.just(message_type), **required}, optional=optional)
