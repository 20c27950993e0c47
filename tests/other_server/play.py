"""What the tests of this folder do with a target: open sockets, call hooks, collect messages. By the harness's own means."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.conformance.messages import unpack
from harness.net.connection import Connection, Policy
from harness.target import HookCaller, Session, Target
from schemas import Contract, load_contract, validate_server

__all__ = ["CONTRACT", "WAIT", "Play", "code_of"]

WAIT = 20.0
CONTRACT: Contract = load_contract()


def code_of(connection: Connection) -> int:
    """The code with which the server closed it."""
    closed = connection.wait_closed(WAIT)
    assert closed is not None, "it is still open"
    return closed.code


class Play:
    """A context manager; at its good end every message that any socket received is held against its schema.

    user(k, 0) and user(k, 1) are the k-th user's sessions, in whatever order the profile gives them.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._caller = HookCaller(target, WAIT)
        self._open: list[Connection] = []
        self._people: dict[str, dict[str, list[Session]]] = {"regular": {}, "admin": {}}
        for role, people in self._people.items():
            for session in target.available_sessions(64, role):
                people.setdefault(session.user_id or session.cookie_header(), []).append(session)

    def __enter__(self) -> Play:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._every_message_is_valid()
        for connection in self._open:
            connection.close()
        for connection in self._open:
            connection.wait_closed(1.0)
            connection.abort()
        self._caller.close()

    def _every_message_is_valid(self) -> None:
        strict = self.target.readings.get("extra_properties") != "open"
        for connection in self._open:
            assert not connection.observer_errors
            for message in (message for frame in connection.frames() for message in unpack(frame)):
                assert not validate_server(message, strict=strict), message

    def user(self, k: int = 0, session: int = 0, role: str = "regular") -> Session:
        return list(self._people[role].values())[k][session]

    def admin(self, k: int = 0) -> Session:
        return self.user(k, 0, "admin")

    def connect(self, session: Session | None, policy: Policy | None = None) -> Connection:
        opened = self.knock(session, policy)
        assert isinstance(opened, Connection), opened
        return opened

    def knock(self, session: Session | None, policy: Policy | None = None, headers: list[str] | None = None) -> Any:
        """A Connection, or how it was refused."""
        target = self.target
        lines = target.handshake_headers(session) + (headers or [])
        opened = Connection.open(target.ws_url, headers=lines, origin=target.origin, timeout=WAIT, policy=policy)
        if isinstance(opened, Connection):
            self._open.append(opened)
        return opened

    def call(self, hook: str, session: Session | None, **values: Any) -> Any:
        """The answer of a hook that has to work."""
        answer = self._caller.call(hook, session, **values).answer
        assert answer.ok, answer.problem
        return answer

    def refused(self, hook: str, session: Session | None, **values: Any) -> int:
        """The status of a hook that must not work."""
        answer = self._caller.call(hook, session, **values).answer
        assert not answer.ok
        return answer.status

    def feature(self) -> str:
        made = self.call("create", self.admin(), title="for a test", description="", status=CONTRACT.messages.feature_status[0])
        return str(made.id)

    def burst(self, feature: str, voters: list[Session]) -> None:
        with ThreadPoolExecutor(len(voters)) as pool, HookCaller(self.target, WAIT) as caller:
            answers = list(pool.map(lambda voter: caller.call("vote", voter, featureId=feature).answer.ok, voters))
        assert all(answers)

    def about(self, connection: Connection, feature: str) -> list[dict[str, Any]]:
        """Every message so far about a feature."""
        found = [message for frame in connection.frames() for message in unpack(frame)]
        return [each for each in found if feature in (each.get("featureId"), each.get("feature", {}).get("id"))]

    def told(self, connection: Connection, feature: str, kind: str, since: int = 0) -> dict[str, Any]:
        """The first message of a kind about a feature, which has to come."""

        def wanted(message: dict[str, Any]) -> bool:
            return message.get("type") == kind and feature in (message.get("featureId"), message.get("feature", {}).get("id"))

        frame = connection.wait_for(lambda frame: any(map(wanted, unpack(frame))), WAIT, since)
        assert frame is not None, f"no {kind}; so far: {[each.payload for each in connection.frames()]}"
        return next(filter(wanted, unpack(frame)))

    def fence(self, connection: Connection, voter: Session) -> None:
        """Something later that this socket is told of: what has not come by then, does not come."""
        feature = self.feature()
        self.call("vote", voter, featureId=feature)
        self.told(connection, feature, "VOTE_UPDATE")

    def error(self, connection: Connection, code: str, since: int = 0) -> dict[str, Any]:
        """The first ERROR, which has to come and to have this code."""
        frame = connection.wait_type("ERROR", WAIT, since)
        assert frame is not None, [each.payload for each in connection.frames()]
        message: dict[str, Any] = frame.json()
        assert message["code"] == code
        return message
