"""Section FUPD: an administrator's edit, announced to everyone with what it altered (contract lines 152-200)."""

from __future__ import annotations

from typing import Any

from harness.conformance import Broken, Connection, Recorded, Stage, clause
from harness.conformance.checks.announcements import (
    changes_of,
    edit_fence,
    everyone,
    in_time,
    must_tell,
    onlooker,
    refused,
    told,
    unique,
    updated,
)
from harness.target import Session

_DECLARED = ("title", "description", "status")


def edited(stage: Stage, feature: str, author: Session, *viewers: Connection, **changes: str) -> None:
    """Make an edit; each viewer must be told of all that `changes` says."""
    marks = [viewer.mark() for viewer in viewers]
    stage.update(feature, author, **changes)
    for viewer, mark in zip(viewers, marks, strict=True):
        for key, value in changes.items():
            must_tell(stage, viewer, updated(feature, key, value), f"a FEATURE_UPDATE with the new {key}", mark)


@clause("FUPD-01")
def test_status_is_announced(stage: Stage) -> None:
    """Each change of status reaches everyone with the new status."""
    author, feature = stage.admin(), stage.feature()
    viewers = everyone(stage, author)
    first, *others = stage.contract.messages.feature_status
    for status in (*others, first):
        edited(stage, feature, author, *viewers, status=status)


@clause("FUPD-02")
def test_texts_are_announced(stage: Stage) -> None:
    """A new title or description reaches everyone as it was written."""
    author, feature = stage.admin(), stage.feature()
    viewers = everyone(stage, author)
    edited(stage, feature, author, *viewers, title=unique("Größer, 大きい"))
    edited(stage, feature, author, *viewers, description=unique("Two lines:\nthe second with “quotes”"))
    edited(stage, feature, author, *viewers, title=unique("Both"), description=unique("at once"))


@clause("FUPD-03")
def test_only_what_was_altered(stage: Stage) -> None:
    """`changes` names the fields that were altered, though the edit may have named others."""
    author, feature = stage.admin(), stage.feature()
    viewer = onlooker(stage, author)
    statuses = stage.contract.messages.feature_status
    title, again = unique("Once"), unique("Twice")
    for named, altered in (
        ({"status": statuses[1]}, {"status"}),
        ({"title": title}, {"title"}),
        ({"description": unique("altered")}, {"description"}),
        ({"title": again, "status": statuses[2]}, {"title", "status"}),
        # Three are named and one is new: the others are no change.
        ({"title": again, "status": statuses[2], "description": unique("the only news")}, {"description"}),
    ):
        mark = viewer.mark()
        stage.update(feature, author, **named)
        for key in sorted(altered):
            told(stage, viewer, updated(feature, key, named[key]), mark, "FUPD-01 and FUPD-02")
        for seen in stage.messages(viewer, updated(feature), mark):
            besides = [key for key in _DECLARED if key in changes_of(seen.message) and key not in altered]
            if besides:
                raise Broken(f"changes with {', '.join(sorted(altered))} only", f"it has {', '.join(besides)} as well", viewer)


@clause("FUPD-04")
def test_no_news_is_not_announced(stage: Stage) -> None:
    """An edit that alters nothing is not announced, and no announcement is empty."""
    author, feature = stage.admin(), stage.feature()
    viewer, fence = onlooker(stage, author), edit_fence(stage, author)
    known = {"title": unique("Stays"), "description": unique("as it is"), "status": stage.contract.messages.feature_status[1]}
    mark = viewer.mark()
    stage.update(feature, author, **known)
    for key, value in known.items():
        told(stage, viewer, updated(feature, key, value), mark, "FUPD-01 and FUPD-02")
    if any(not changes_of(seen.message) for seen in stage.messages(viewer, updated(feature), mark)):
        raise Broken("changes that are not empty", "an empty changes", viewer)
    for named in (*({key: value} for key, value in known.items()), known):
        mark = viewer.mark()
        stage.ground.pace.wait()
        values: dict[str, Any] = {"featureId": feature, **named}
        stage.call("update", author, **values)  # some APIs turn such an edit down, which is as good
        what = " and ".join(named)
        stage.absent(viewer, updated(feature), since=mark, fence=fence, expected=f"nothing when {what} is set to what it was")


@clause("FUPD-05")
def test_known_fields_and_states(stage: Stage) -> None:
    """`changes` has no field but the three, and a status is one of the defined ones."""
    author, feature = stage.admin(), stage.feature()
    viewer = onlooker(stage, author)
    statuses = stage.contract.messages.feature_status
    edits = [{"status": status} for status in (*statuses[1:], statuses[0])]
    for named in (*edits, {"title": unique("Other")}, {"description": unique("other")}):
        mark = viewer.mark()
        stage.update(feature, author, **named)
        told(stage, viewer, updated(feature), mark, "FUPD-01 and FUPD-02")
        for seen in stage.messages(viewer, updated(feature), mark):
            if not isinstance(seen.message.get("changes"), dict):
                raise Broken("changes that are an object", f"{seen.message.get('changes')!r:.60}", viewer)
            changes = changes_of(seen.message)
            unknown = [key for key in changes if key not in _DECLARED]
            if unknown:
                raise Broken(f"only {', '.join(_DECLARED)} in changes", f"it has {', '.join(unknown)}", viewer)
            if changes.get("status", statuses[0]) not in statuses:
                raise Broken(f"a status among {', '.join(statuses)}", f"{changes['status']!r:.40}", viewer)


@clause("FUPD-06")
def test_both_roles(stage: Stage) -> None:
    """Regular users and administrators are told alike."""
    author, feature = stage.admin(), stage.feature()
    viewers = [stage.connect(stage.user(), name="regular user"), onlooker(stage, author)]
    if stage.ground.people.has("regular", 2):
        viewers.append(stage.connect(stage.user(1), name="another regular user"))
    edited(stage, feature, author, *viewers, title=unique("For all"))


@clause("FUPD-07")
def test_author_is_told(stage: Stage) -> Recorded | None:
    """The author's own socket is told too, unless the reading leaves it out."""
    reading = stage.reading("admin_echo")
    author, feature = stage.admin(), stage.feature()
    own = stage.connect(author, name="the author")
    if reading == "excluded":
        return Recorded("the author of an edit is left out, as the reading says")
    edited(stage, feature, author, own, title=unique("My own"))
    return None


@clause("FUPD-08")
def test_in_time(stage: Stage) -> None:
    """An edit is announced within the contract's latency."""
    author, feature = stage.admin(), stage.feature()
    viewers = everyone(stage, author)
    for status in stage.contract.messages.feature_status[1:]:
        marks = [viewer.mark() for viewer in viewers]
        called = stage.update(feature, author, status=status)
        for viewer, mark in zip(viewers, marks, strict=True):
            in_time(stage, called, viewer, updated(feature, "status", status), mark, "FUPD-01")


@clause("FUPD-09")
def test_refused_edit(stage: Stage) -> None:
    """An edit that the API turns down is announced to nobody."""
    author, feature = stage.admin(), stage.feature()
    viewers, fence = everyone(stage, author), edit_fence(stage, author)
    marks = [viewer.mark() for viewer in viewers]
    refused(stage, "update", stage.user(), featureId=feature, title=unique("Not allowed"))
    refused(stage, "update", stage.user(), featureId=feature, status=stage.contract.messages.feature_status[-1])
    for viewer, mark in zip(viewers, marks, strict=True):
        stage.absent(viewer, updated(feature), since=mark, fence=fence, expected="no FEATURE_UPDATE of an edit that was turned down")
