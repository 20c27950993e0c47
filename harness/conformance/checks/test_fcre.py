"""Section FCRE: a new feature, announced to administrators only (contract lines 204-252 and 418-420)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from harness.conformance import Broken, Connection, Inconclusive, Message, NotTestable, Recorded, Stage, clause
from harness.conformance.checks.announcements import (
    another_admin,
    edit_fence,
    everyone,
    in_time,
    must_tell,
    outsiders,
    refused,
    told,
    unique,
)
from harness.target import Session
from schemas import is_timestamp, validate_server


def feature_of(message: Message) -> dict[str, Any]:
    """The `feature` of a FEATURE_CREATED; empty when it is no object."""
    feature = message.get("feature")
    return feature if isinstance(feature, dict) else {}


def announces(title: str, feature: str = "") -> Callable[[Message], bool]:
    """Recognises the FEATURE_CREATED of a feature, by its title or by its id."""

    def wanted(message: Message) -> bool:
        made = feature_of(message)
        return message.get("type") == "FEATURE_CREATED" and (made.get("title") == title or (bool(feature) and made.get("id") == feature))

    return wanted


def created(stage: Stage, author: Session, viewer: Connection, **values: str) -> Message:
    """Create a feature and return what the viewer was told of it."""
    title, mark = unique("New"), viewer.mark()
    feature, _ = stage.create(author, title=title, **values)
    return told(stage, viewer, announces(title, feature), mark, "FCRE-01").message


def moment(text: object) -> datetime | None:
    """A timestamp; None when it is none."""
    return datetime.fromisoformat(text) if isinstance(text, str) and is_timestamp(text) else None


def resolution(text: str) -> timedelta:
    """How fine a timestamp is written: two that were cut at different places cannot be told apart below the coarser one."""
    digits = re.search(r"\.(\d+)", text)
    return timedelta(seconds=10.0 ** -min(6, len(digits[1]) if digits else 0))


@clause("FCRE-01")
def test_admin_is_told(stage: Stage) -> None:
    """An administrator is told of the new feature by the id that the API gave it, in whatever status it starts."""
    author = stage.admin()
    viewer = another_admin(stage, author)
    for status in stage.contract.messages.feature_status:
        mark = viewer.mark()
        feature, _ = stage.create(author, title=unique("New"), status=status)

        def wanted(message: Message, feature: str = feature) -> bool:
            return message.get("type") == "FEATURE_CREATED" and feature_of(message).get("id") == feature

        must_tell(stage, viewer, wanted, f"a FEATURE_CREATED with the id that the API returned (status {status})", mark)


@clause("FCRE-02")
def test_regular_user_is_not_told(stage: Stage) -> None:
    """A regular user is told nothing of it, unless the reading announces it to everyone."""
    if stage.reading("admin_events") == "everyone":
        return
    author = stage.admin()
    viewers = outsiders(stage, author)
    marks = [viewer.mark() for viewer, _ in viewers]
    titles = [unique("Hidden"), unique("Hidden too")]
    made = [stage.create(author, title=title)[0] for title in titles]
    for (viewer, fence), mark in zip(viewers, marks, strict=True):

        def leaked(message: Message) -> bool:
            return any(announces(title, feature)(message) for title, feature in zip(titles, made, strict=True))

        stage.absent(viewer, leaked, since=mark, fence=fence, expected="no FEATURE_CREATED for a regular user")


@clause("FCRE-03")
def test_all_fields(stage: Stage) -> None:
    """Every declared field is there, of its declared type; an empty description too."""
    author = stage.admin()
    viewer = another_admin(stage, author)
    for description in ("with a text", ""):
        message = created(stage, author, viewer, description=description)
        wrong = [problem for problem in validate_server(message, strict=False) if problem.path.startswith("feature")]
        if wrong:
            raise Broken("the nine fields, each of its type", wrong[0].text, viewer)


@clause("FCRE-04")
def test_beginning(stage: Stage) -> None:
    """No votes yet, and stamps in the order of what happened."""
    author = stage.admin()
    viewer = another_admin(stage, author)
    message = created(stage, author, viewer)
    feature = feature_of(message)
    if isinstance(feature.get("voteCount"), bool) or not isinstance(feature.get("voteCount"), int | float):
        raise Inconclusive("voteCount is no number (see FCRE-03)")
    if feature["voteCount"] != 0:
        raise Broken("voteCount 0 at creation", f"{feature['voteCount']}", viewer)
    stamps = {"createdAt": feature.get("createdAt"), "updatedAt": feature.get("updatedAt"), "timestamp": message.get("timestamp")}
    moments = {name: moment(stamp) for name, stamp in stamps.items()}
    odd = [name for name, at in moments.items() if at is None]
    if odd:
        raise Inconclusive(f"{odd[0]} is no timestamp (see FCRE-03)")
    for earlier, later in (("createdAt", "updatedAt"), ("updatedAt", "timestamp")):
        first, then = moments[earlier], moments[later]
        finest = max(resolution(str(stamps[earlier])), resolution(str(stamps[later])))
        if first is not None and then is not None and first >= then + finest:
            raise Broken(f"{earlier} no later than {later}", f"{stamps[earlier]} and {stamps[later]}", viewer)


@clause("FCRE-05")
def test_creator_id(stage: Stage) -> None:
    """createdById is the id of the administrator who called, of whichever of two."""
    authors = [stage.admin(k) for k in range(2) if stage.ground.people.has("admin", k + 1)]
    if all(author.user_id is None for author in authors):
        raise NotTestable("the profile does not tell the administrator's user id: add userId to its session", "sessions")
    viewer = another_admin(stage, authors[0])
    second = stage.connect(authors[0], name="the first administrator") if len(authors) > 1 else viewer
    for author, watched in zip(authors, (viewer, second), strict=False):
        if author.user_id is None:
            continue
        found = feature_of(created(stage, author, watched)).get("createdById")
        if found != author.user_id:
            raise Broken(f"createdById {author.user_id}", f"{found!r:.60}", watched)


@clause("FCRE-06")
def test_creator_name_alone(stage: Stage) -> None:
    """createdBy has the creator's name and nothing else."""
    author = stage.admin()
    viewer = another_admin(stage, author)
    person = feature_of(created(stage, author, viewer)).get("createdBy")
    if not isinstance(person, dict):
        raise Broken("createdBy with a name", "no createdBy that is an object", viewer)
    besides = sorted(str(key) for key in person if key != "name")
    if besides:
        raise Broken("createdBy with a name and nothing else", f"it has {', '.join(besides)} as well", viewer)
    if "name" not in person or (author.user_name is not None and person["name"] != author.user_name):
        raise Broken("the creator's name in createdBy", "another name" if "name" in person else "no name", viewer)


@clause("FCRE-07")
def test_in_time(stage: Stage) -> None:
    """A creation is announced within the contract's latency."""
    author = stage.admin()
    viewer = another_admin(stage, author)
    for _ in range(3):
        title, mark = unique("Soon"), viewer.mark()
        feature, called = stage.create(author, title=title)
        in_time(stage, called, viewer, announces(title, feature), mark, "FCRE-01")


@clause("FCRE-08")
def test_author_is_told(stage: Stage) -> Recorded:
    """Whether the author's own socket is told."""
    stage.reading("admin_echo")
    author = stage.admin()
    own = stage.connect(author, name="the author")
    witness = another_admin(stage, author) if stage.ground.people.has("admin", 2) else own
    title, mark, seen_from = unique("My own"), own.mark(), witness.mark()
    feature, _ = stage.create(author, title=title)
    if stage.wait_message(witness, announces(title, feature), None, seen_from) is None and witness is not own:
        raise Inconclusive("another administrator was not told either (see FCRE-01)")
    reached = stage.wait_message(own, announces(title, feature), stage.grace, mark) is not None
    return Recorded("the author's own socket " + ("receives it" if reached else "does not receive it"))


@clause("FCRE-09")
def test_refused_creation(stage: Stage) -> None:
    """A creation that the API turns down is announced to nobody."""
    author, title = stage.admin(), unique("Not allowed")
    viewers = everyone(stage, author)
    if not stage.ground.people.has("admin", 2):
        viewers.append(another_admin(stage, author))
    marks, fence = [viewer.mark() for viewer in viewers], edit_fence(stage, author)
    values = {"title": title, "description": "by somebody who may not", "status": stage.contract.messages.feature_status[0]}
    refused(stage, "create", stage.user(), **values)
    for viewer, mark in zip(viewers, marks, strict=True):
        stage.absent(viewer, announces(title), since=mark, fence=fence, expected="no FEATURE_CREATED of a creation that was turned down")
