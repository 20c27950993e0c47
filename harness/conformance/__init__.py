"""The conformance gate: pytest checks, one short function a clause, for anyone's server.

Writing a check. A file `checks/test_<section>.py` (or any of your own), a function `test_...(stage)`, the clause's id:

    from harness.conformance import Broken, Recorded, Stage, clause

    @clause("VOTE-01")                                              # presence
    def test_add_is_broadcast(stage: Stage) -> None:
        viewer, feature = stage.connect(stage.user(0)), stage.feature()
        stage.vote(stage.user(1), feature)
        stage.expect(viewer, lambda m: m.get("featureId") == feature and m.get("action") == "add", "a VOTE_UPDATE, action add")

    @clause("VOTE-06")                                              # absence, by a fence
    def test_voter_is_left_out(stage: Stage) -> None:
        voter, feature = stage.user(0), stage.feature()
        own = stage.connect(voter)
        mark = own.mark()
        stage.vote(voter, feature)
        stage.absent(own, lambda m: m.get("featureId") == feature, since=mark, expected="no VOTE_UPDATE for the own vote")

    @clause("HB-05", waits=lambda limits: limits.heartbeat_interval + limits.heartbeat_timeout)   # two-sided time
    def test_silence_is_closed(stage: Stage) -> None:
        mute = stage.connect(stage.user(), policy=Policy(answer_ping=False))
        ping = mute.wait_type("PING", stage.within(stage.limits.heartbeat_interval))
        if ping is None:
            raise Inconclusive("no PING came (see HB-01)")
        due = stage.window(stage.limits.heartbeat_timeout)
        closed = mute.wait_closed(due.latest + 1)
        if closed is None or closed.at - ping.at not in due:
            raise Broken(f"a close {due} after the PING", "none" if closed is None else f"{closed.at - ping.at:.2f} s", mute)

    @clause("HS-11")                                                # recorded, never judged
    def test_foreign_origin(stage: Stage) -> Recorded:
        opened = stage.handshake(origin="https://elsewhere.example", cookies=[stage.user().cookie_header()])
        return Recorded(f"a foreign Origin: HTTP {opened.status}")

The rules. Returning nothing keeps the clause. `Broken(expected, observed, frames)` is FAIL, WARN or INFO by the clause's own
level (`soft=True`: WARN at most); `Recorded`, `NotTestable`, `Inconclusive` say what they say, returned or raised. Whatever else
leaves a check is INCONCLUSIVE: our failure, never the target's. An `assert` in the check's own file counts as Broken. Hooks that
the clause `needs` in clauses.toml are tried before the check starts; more go into `@clause(..., hooks=("start",))`.

While this machine is short of processors, what is Broken or Inconclusive is tried once more, on a fresh stage: a check must bear repeating.

All checks of a process run at once, so a check judges only what concerns its own features (`stage.feature()`) and sockets, and
any other legal frame may come between. It never sleeps to wait for the target: `stage.expect`, `connection.wait_for(..., since)`.
Take `mark = connection.mark()` before a stimulus. Numbers come from `stage.limits` and `stage.contract`, durations scaled: say
`waits=` whenever the check waits on a timer of the target (more than 5 s there: not in the fast profile, and started first).
`alone="load"` (the server's capacity, or 100 broadcasts/s) runs by itself after all others, `alone="stop"` last of all; `idle=True`
says that a long check merely holds its sockets. `stage.once(key, make)` shares something costly between checks. Users are shared
(0 to 4 are the check's, the fence's voter is the last one): `own_user` is exclusive, `disposable` is for revoking and for roles.
A reading is asked with `stage.reading("exclusion")`: declared, else detected by a probe of `readings.py`, else the default.
Sockets by the hundred: `stage.connect(..., observed=False)`. What `observer.OBSERVED` lists is judged on all frames of the run;
its clauses still want a small check that provokes what is to be seen, so that `--clause GEN-05` alone has something to look at.
Run: `roadmap-harness check TARGET --clause 'HS-*'`, or plain `pytest -p harness.conformance.plugin --target TARGET FILES`.
"""

from harness.conformance.catalogue import Selection, clause
from harness.conformance.messages import Seen, unpack
from harness.conformance.outcome import Broken, Inconclusive, NotTestable, Recorded
from harness.conformance.stage import Fence, Message, Stage
from harness.conformance.window import Window
from harness.net.connection import Bounds, Connection, Policy, SendError
from harness.net.handshake import Opened, Refused
from harness.net.transcript import Frame

__all__ = [
    "Bounds",
    "Broken",
    "Connection",
    "Fence",
    "Frame",
    "Inconclusive",
    "Message",
    "NotTestable",
    "Opened",
    "Policy",
    "Recorded",
    "Refused",
    "Seen",
    "Selection",
    "SendError",
    "Stage",
    "Window",
    "clause",
    "unpack",
]
