"""The fixture `stage`: what one check may use. Actors, sockets, votes and edits, two-sided windows, proofs of absence.

A stage belongs to one check. Whatever it opened or borrowed is given back when the check ends, and everything that the
target did to the check's sockets is its evidence. Helpers raise the outcomes of `outcome`: a hook that does not answer as the
profile says, a handshake that should have opened and did not, make the check Inconclusive, never Broken.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.conformance.client_side import ClientUnderTest, Play
from harness.conformance.features import Feature
from harness.conformance.ground import Ground
from harness.conformance.messages import Seen, unpack
from harness.conformance.observer import Watch
from harness.conformance.outcome import Broken, Inconclusive, NotTestable
from harness.conformance.people import Person
from harness.conformance.window import Window, window
from harness.net.connection import Bounds, Connection, Policy
from harness.net.frames import Opcode
from harness.net.handshake import Opened, Refused, raw_handshake
from harness.net.transcript import Frame
from harness.target.call import Called
from harness.target.model import Target
from harness.target.session import Session
from schemas import Clause, Contract, Limits

__all__ = ["Fence", "Message", "Stage"]

Message = dict[str, Any]
Fence = Callable[[], Callable[[Message], bool]]
"""Makes something happen that a socket must be told of, and returns how that message is recognised."""

_CLOSING = 1.0  # seconds in which a socket may close in good order when its check has ended
_TRIES = 6  # rounds in which a SUBSCRIBE is given to take effect


class Stage:
    """See the module. `name` is the clause's id, and stands in the names of the check's sockets and features."""

    def __init__(self, ground: Ground, clause: Clause, check: str) -> None:
        self.ground = ground
        self.clause = clause
        self.name = clause.id
        self.check = check
        self.target: Target = ground.target
        self.limits: Limits = ground.target.limits
        """The target's own limits, durations scaled: the only source of numbers for a check."""
        self.contract: Contract = ground.contract
        self.readings: dict[str, str] = {}
        self.connections: list[Connection] = []
        self._watches: list[Watch] = []
        self._sockets: list[Opened] = []
        self._features: list[Feature] = []
        self._cast: dict[str, list[Person]] = {"regular": [], "admin": []}
        self._owned: list[Person] = []
        self._of: dict[str, Person] = {}
        self._fences: dict[str, tuple[Session, str, bool]] = {}
        self._voted: set[tuple[str, str]] = set()
        ground.holds_sockets(self._sockets_open)
        self.played: list[Play] = []
        """The scenes with a client under test that the check judges; their record is its evidence."""
        self.notes: list[str] = []
        self.feature_ids: set[str] = set()
        """Every feature that the check was given or made: how its own frames are told from those of others."""

    # ---- time

    def window(self, lo: float, hi: float | None = None) -> Window:
        """A two-sided window around the contract's moment `lo` (to `hi`), seconds: `if gap not in w: raise Broken(str(w), ...)`."""
        return window(lo, lo if hi is None else hi, self.target.tolerance)

    def within(self, seconds: float) -> float:
        """The longest that something due after `seconds` may take, tolerance included: a timeout for waiting."""
        return self.window(0.0, seconds).latest

    @property
    def patience(self) -> float:
        """Seconds in which a broadcast must arrive: the contract's latency (never scaled) and the tolerance."""
        return self.within(self.contract.benchmark.latency)

    @property
    def grace(self) -> float:
        """Seconds to go on looking after a fence: two batch windows and what a busy machine costs."""
        return 2 * self.limits.batch_window + 0.1

    # ---- readings

    def reading(self, key: str) -> str:
        """Which reading of an ambiguity holds, by its key in readings.toml: declared, else detected, else the default. Noted."""
        found, source = self.ground.reading(key)
        self.readings[key] = f"{found} ({source})"
        return found

    def note(self, text: str) -> None:
        """Something worth telling about a clause that is kept: what `Recorded` is where nothing is judged."""
        self.notes.append(text)

    # ---- a client under test

    @property
    def client(self) -> ClientUnderTest:
        """The client under test. Raises NotTestable when there is none."""
        if self.ground.client is None:
            raise NotTestable("no client was named", "CL")
        return self.ground.client

    def play(self, title: str, *, shared: bool = False) -> Play:
        """A scene with a client of its own, to be used in a with block; shown as this check's evidence unless several checks share it."""
        play = Play(self.client, self.contract.path, title, self.ground.say)
        if not shared:
            self.show(play)
        return play

    def show(self, play: Play) -> None:
        """Make a scene this check's evidence: for those that several checks share."""
        if play not in self.played:
            self.played.append(play)

    # ---- actors

    def user(self, k: int = 0) -> Session:
        """A session of the check's k-th regular user; different k are different users. Other checks may use them too."""
        return self._actor("regular", k)

    def admin(self, k: int = 0) -> Session:
        """The same for administrators. Raises NotTestable, as `user` does, when the profile has too few."""
        return self._actor("admin", k)

    def own_user(self, role: str = "regular", sessions: int = 1) -> list[Session]:
        """Sessions of a user whom no other check uses while this one runs."""
        return self._own(role, sessions, retire=False)

    def disposable(self, role: str = "regular", sessions: int = 1) -> list[Session]:
        """Sessions of a user whom no check will use again: for revoking them, or changing the role."""
        return self._own(role, sessions, retire=True)

    def another_session(self, session: Session, *besides: Session) -> Session:
        """A further session of the user of `session`, who is one of this check's. Raises NotTestable when there is none."""
        found = self.ground.people.another_session(self._of[session.cookie_header()], (session, *besides))
        self._of[found.cookie_header()] = self._of[session.cookie_header()]
        self.ground.secrets.add(found)
        return found

    def _actor(self, role: str, k: int) -> Session:
        cast = self._cast[role]
        while len(cast) <= k:
            cast.append(self.ground.people.share(role, cast))
        return self._known(cast[k], 1)[0]

    def _own(self, role: str, sessions: int, *, retire: bool) -> list[Session]:
        person = self.ground.people.own(role, sessions, retire=retire)
        self._owned.append(person)
        return self._known(person, sessions)

    def _known(self, person: Person, sessions: int) -> list[Session]:
        for session in person.sessions[:sessions]:
            self._of[session.cookie_header()] = person
            self.ground.secrets.add(session)
        return person.sessions[:sessions]

    # ---- sockets

    def try_connect(
        self,
        session: Session | None,
        *,
        policy: Policy | None = None,
        bounds: Bounds | None = None,
        headers: Sequence[str] = (),
        origin: str | None = None,
        url: str = "",
        name: str = "",
        timeout: float = 10.0,
        observed: bool = True,
    ) -> Connection | Refused:
        """Open a WebSocket as a client of `session` does; a refusal is a value.

        policy: what it answers by itself (PONG, control Pong, Close: all three by default). observed=False keeps the observer off, for
        sockets by the hundred. The socket is closed when the check ends.
        """
        self._still_there()
        label = f"{self.name} {name or f'socket {len(self.connections) + 1}'}"
        if session is not None:
            self.ground.secrets.add(session)
        watch = self.ground.observer.watch(label, session.role if session else "", time.monotonic()) if observed else None
        opened = Connection.open(
            url or self.target.ws_url,
            headers=[*self.target.handshake_headers(session), *headers],
            origin=origin or self.target.origin,
            timeout=timeout,
            tls=self.target.tls_context(),
            policy=policy,
            bounds=bounds,
            observers=() if watch is None else (watch,),
            name=label,
        )
        self._noted(opened)
        if isinstance(opened, Connection):
            self.connections.append(opened)
            if watch is not None:
                self._watches.append(watch)
        elif watch is not None:
            watch.end()
        return opened

    def connect(self, session: Session | None, **options: Any) -> Connection:
        """As `try_connect`, for a handshake that has to open for the check to make sense: a refusal makes it Inconclusive."""
        opened = self.try_connect(session, **options)
        if isinstance(opened, Refused):
            raise Inconclusive(f"a socket that this check needs did not open: {opened.problem}")
        return opened

    def handshake(self, *, timeout: float = 10.0, url: str = "", **request: Any) -> Opened | Refused:
        """A handshake written as it stands (see harness.net.handshake.raw_handshake): nothing but the profile's own headers is added."""
        self._still_there()
        lines = [*self.target.handshake_headers(None), *request.pop("headers", ())]
        tls = self.target.tls_context()
        opened = raw_handshake(url or self.target.ws_url, headers=lines, timeout=timeout, tls=tls, **request)
        self._noted(opened)
        if isinstance(opened, Opened):
            self._sockets.append(opened)
        return opened

    def no_answer(self, refused: Opened | Refused) -> Inconclusive:
        """To be raised when a handshake got no HTTP answer at all: that is no refusal, and no proof of anything."""
        problem = refused.problem if isinstance(refused, Refused) else f"HTTP {refused.status}"
        return Inconclusive(f"the handshake was not answered: {problem}")

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` returned the first time in this process: evidence that several checks share."""
        return self.ground.once(key, make)

    def over(self, opened: Opened, *, role: str = "", policy: Policy | None = None, name: str = "") -> Connection:
        """A Connection over a handshake that opened, observed like any other."""
        label = f"{self.name} {name or f'socket {len(self.connections) + 1}'}"
        watch = self.ground.observer.watch(label, role, time.monotonic())
        if opened in self._sockets:
            self._sockets.remove(opened)
        connection = Connection.over(opened, policy=policy, observers=(watch,), name=label)
        self.connections.append(connection)
        self._watches.append(watch)
        return connection

    def _still_there(self) -> None:
        if self.ground.lost is not None:
            raise Inconclusive(f"the target was lost during the run: {self.ground.lost}")

    def _noted(self, opened: object) -> None:
        if isinstance(opened, Refused) and opened.status is None and opened.phase != "garbage":
            self.ground.missed(opened.problem)
        else:
            self.ground.reached()

    def _sockets_open(self) -> int:
        raw = sum(opened.sock.fileno() >= 0 for opened in list(self._sockets))
        return raw + sum(connection.closed is None for connection in list(self.connections))

    # ---- what happens on the target

    def feature(self) -> str:
        """The id of a feature that this check alone votes on."""
        self._still_there()
        feature = self.ground.features.take(f"Check of {self.name}")
        self._features.append(feature)
        self.feature_ids.add(feature.id)
        return feature.id

    def call(self, hook: str, session: Session | None = None, *, subject: Session | None = None, **values: Any) -> Called:
        """Call any hook, whatever it answers; the answer's `ok` says whether it was as the profile expects."""
        self._still_there()
        return self.ground.call(hook, session, subject=subject, **values)

    def done(self, hook: str, session: Session | None = None, *, subject: Session | None = None, **values: Any) -> Called:
        """Call a hook that has to work for the check to make sense. Raises Inconclusive when it does not."""
        called = self.call(hook, session, subject=subject, **values)
        if not called.answer.ok:
            raise Inconclusive(called.answer.problem or f"the hook {hook} answered {called.answer.status}")
        return called

    def vote(self, session: Session, feature: str) -> Called:
        """Cast a vote, at the common pace; its times are in the answer. The voter must not have voted on it before."""
        self._unvoted(session, feature)
        self.ground.pace.wait()
        return self.done("vote", session, featureId=feature)

    def unvote(self, session: Session, feature: str) -> Called:
        """Withdraw it."""
        self.ground.pace.wait()
        return self.done("unvote", session, featureId=feature)

    def burst(self, ballots: Sequence[tuple[str, Session, str]]) -> list[Called]:
        """Several ("vote" or "unvote", session, feature) at the same moment, each from a thread of its own."""
        for hook, session, feature in ballots:
            if hook == "vote":
                self._unvoted(session, feature)
        with ThreadPoolExecutor(len(ballots)) as pool:
            self.ground.pace.wait(len(ballots))
            return list(pool.map(lambda ballot: self.done(ballot[0], ballot[1], featureId=ballot[2]), ballots))

    def count(self, feature: str) -> int:
        """The true vote count, by the hook `read`."""
        called = self.done("read", self._caller("read"), featureId=feature)
        if called.answer.count is None:
            raise Inconclusive("the hook read told no count")
        return called.answer.count

    def create(self, session: Session | None = None, **values: str) -> tuple[str, Called]:
        """Make a feature as an administrator; (its id, the call). It is deleted when the check ends. title and status may be given."""
        self.ground.pace.wait()
        filled: dict[str, Any] = {
            "title": f"Made for {self.name}",
            "description": "for a check",
            "status": self.contract.messages.feature_status[0],
        }
        called = self.done("create", session or self.admin(), **(filled | values))
        if called.answer.id is None:
            raise Inconclusive("the hook create told no id")
        self._features.append(Feature(called.answer.id, True))
        self.feature_ids.add(called.answer.id)
        return called.answer.id, called

    def update(self, feature: str, session: Session | None = None, **changes: Any) -> Called:
        """Change title, description or status of a feature as an administrator."""
        self.ground.pace.wait()
        return self.done("update", session or self.admin(), featureId=feature, **changes)

    def delete(self, feature: str, session: Session | None = None) -> Called:
        """Delete a feature as an administrator."""
        self.ground.pace.wait()
        called = self.done("delete", session or self.admin(), featureId=feature)
        self._features = [each for each in self._features if each.id != feature]
        return called

    def revoke(self, session: Session) -> Called:
        """End a session of a `disposable` user."""
        return self.done("revoke", self._caller("revoke", session), subject=session)

    def change_role(self, session: Session, role: str) -> Called:
        """Change the role of a `disposable` user."""
        return self.done("change_role", self._caller("change_role", session), subject=session, role=role)

    def _caller(self, name: str, owner: Session | None = None) -> Session | None:
        hook = self.target.hook(name)
        if hook is None:
            raise NotTestable(f"the profile has no hook {name}", name)
        match hook.session:
            case "none":
                return None
            case "admin":
                return self.admin()
            case "owner" if owner is not None:
                return owner
            case _:
                return self.user()

    def _unvoted(self, session: Session, feature: str) -> None:
        """On a feature that was there before, the voter may have voted already: withdraw that, and let its broadcast pass."""
        key = (session.user_id or session.cookie_header(), feature)
        if key in self._voted or not any(each.id == feature and not each.made for each in self._features):
            return
        self._voted.add(key)
        listed = self.call("list", session).answer if self.target.hook("list") is not None else None
        item = next((item for item in listed.items if item.id == feature), None) if listed is not None else None
        if item is None or item.voted is not False:
            self.ground.pace.wait()
            if self.call("unvote", session, featureId=feature).answer.ok:
                time.sleep(self.grace)

    # ---- what the sockets were told

    def wait_message(
        self, connection: Connection, wanted: Callable[[Message], bool], within: float | None = None, since: int = 0
    ) -> Seen | None:
        """The first message from frame index `since` on for which `wanted` holds, in a batch or by itself; None when none came in time."""
        frame = connection.wait_for(lambda frame: any(map(wanted, unpack(frame))), self.patience if within is None else within, since)
        return None if frame is None else Seen(next(filter(wanted, unpack(frame))), frame)

    def expect(self, connection: Connection, wanted: Callable[[Message], bool], what: str, since: int = 0) -> Seen:
        """As `wait_message`, and Broken with `what` when it does not come while the contract says that it must."""
        seen = self.wait_message(connection, wanted, None, since)
        if seen is None:
            ended = connection.closed
            how = f"the connection ended with {ended.code}" if ended else f"nothing of the kind within {self.patience:g} s"
            raise Broken(what, how, connection)
        return seen

    def messages(self, connection: Connection, wanted: Callable[[Message], bool], since: int = 0) -> list[Seen]:
        """Every message so far for which `wanted` holds. Raises Inconclusive when the transcript has lost frames."""
        if connection.dropped:
            raise Inconclusive(f"{connection.dropped} frames of {connection.name} are no longer kept")
        return [Seen(each, frame) for frame in connection.frames(since) for each in unpack(frame) if wanted(each)]

    # ---- proofs of absence

    def absent(
        self,
        connection: Connection,
        forbidden: Callable[[Message], bool],
        *,
        since: int,
        fence: Fence | None = None,
        expected: str = "nothing of the kind",
    ) -> None:
        """Prove that no `forbidden` message came after frame index `since` (taken with `mark()` before the stimulus).

        After the stimulus something else is made to happen that this socket must be told of (`fence`; a vote on a feature of its own
        by default), and what was forbidden must not have come by then, nor within a batch window after it. Raises Broken when it did,
        Inconclusive when the fence did not come either: then the silence proves nothing.
        """
        recognise = (fence or self.vote_fence(connection))()
        self._await_fence(connection, lambda frame: any(map(recognise, unpack(frame))), since)
        self._nothing(connection, forbidden, since, expected)

    def no_reply(self, connection: Connection, forbidden: Callable[[Message], bool], *, since: int, expected: str = "no reply") -> None:
        """The same for replies on the socket itself, where no vote can be cast: the fence is a Ping frame, whose Pong must come."""
        payload = os.urandom(8)
        connection.ping(payload)
        self._await_fence(connection, lambda frame: frame.opcode == Opcode.PONG and frame.payload == payload, since)
        self._nothing(connection, forbidden, since, expected)

    def _await_fence(self, connection: Connection, recognised: Callable[[Frame], bool], since: int) -> None:
        if connection.wait_for(recognised, self.patience, since) is None:
            raise Inconclusive("what should have come after the silence did not come either, so the silence proves nothing")
        time.sleep(self.grace)

    def _nothing(self, connection: Connection, forbidden: Callable[[Message], bool], since: int, expected: str) -> None:
        found = self.messages(connection, forbidden, since)
        if found:
            raise Broken(expected, f"{len(found)} such, first {found[0].message.get('type')}", connection)

    def vote_fence(self, connection: Connection, voter: Session | None = None, feature: str | None = None) -> Fence:
        """A fence: somebody else votes (and the next time withdraws) on a feature that no check judges.

        For a socket with a subscription give a `feature` of it. The voter must not be the socket's own user.
        """

        def fire() -> Callable[[Message], bool]:
            key = f"{connection.name} {feature}"
            if key not in self._fences:
                # The third user at the earliest: checks play with the first two.
                self._fences[key] = (voter or self._bystander(), feature or self.feature(), False)
            who, where, voted = self._fences[key]
            self._fences[key] = (who, where, not voted)
            (self.unvote if voted else self.vote)(who, where)
            action = self.contract.messages.vote_actions[1 if voted else 0]
            return lambda message: (
                message.get("type") == "VOTE_UPDATE" and message.get("featureId") == where and message.get("action") == action
            )

        return fire

    def _bystander(self) -> Session:
        people = self.ground.people
        for k in (5, 4, 3, 2):
            if people.has("regular", k + 1):
                return self.user(k)
        raise NotTestable("it takes a third user, whose votes mark the end of a silence", "sessions")

    def subscribed(self, connection: Connection, features: Iterable[str], voter: Session, outside: str, inside: str | None = None) -> bool:
        """SUBSCRIBE has no answer: send it, and vote until the filter is seen to act.

        True once a vote on `outside` (not among `features`) stayed away from the socket while one on `inside` (the first of them
        by default) came after it; False when the filter never acted in a bounded number of rounds. `voter` is another user, and both
        features are the check's own; all votes are withdrawn again.
        """
        ids = list(features)
        inside = inside or ids[0]
        connection.send_json({"type": "SUBSCRIBE", "featureIds": ids})
        for _ in range(_TRIES):
            mark = connection.mark()
            self.vote(voter, outside)
            self.vote(voter, inside)
            arrived = self.wait_message(connection, lambda message: message.get("featureId") == inside, None, mark)
            time.sleep(self.grace)
            leaked = self.messages(connection, lambda message: message.get("featureId") == outside, mark)
            # Withdrawn one by one and seen through: the next round, and the check, must not find their broadcasts in flight.
            mark = connection.mark()
            self.unvote(voter, outside)
            self.unvote(voter, inside)
            self.wait_message(connection, lambda message: message.get("featureId") == inside, None, mark)
            time.sleep(self.grace)
            if arrived is not None and not leaked:
                return True
        return False

    # ---- the end

    def close(self) -> None:
        """Give everything back. Never raises; called when the check has ended."""
        for watch in self._watches:
            watch.end()
        for connection in self.connections:
            with contextlib.suppress(Exception):
                connection.close(self.contract.close.normal)
        deadline = time.monotonic() + _CLOSING
        for connection in self.connections:
            with contextlib.suppress(Exception):
                connection.wait_closed(max(0.0, deadline - time.monotonic()))
                connection.abort()
        for opened in self._sockets:
            with contextlib.suppress(OSError):
                opened.close()
        for feature in self._features:
            with contextlib.suppress(Exception):
                self.ground.features.give_back(feature)
        for person in (*self._cast["regular"], *self._cast["admin"], *self._owned):
            self.ground.people.give_back(person)
