"""What a new database starts with: users, administrators, features, and sessions that are ready to use.

Ids, names and texts follow from their number alone, so that two servers seeded alike show the same roadmap; only
tokens, session ids and passwords are random. A database is seeded once: later starts keep what happened to it.
"""

from __future__ import annotations

import random
import secrets
import string
import time

from schemas import load_contract
from server_under_test.auth import CookieJar, new_id, new_token
from server_under_test.passwords import hash_password
from server_under_test.settings import Settings
from server_under_test.state import StateDir, password_is_weak
from server_under_test.store import Account, SessionRow, Store

__all__ = ["prepare"]

_SEEDED, _WEAK = "seeded", "weak_passwords"
_FIRST = ("Ada", "Bo", "Chidi", "Dana", "Emre", "Farah", "Goran", "Hana", "Ines", "Jun", "Kofi", "Lena", "Mei", "Nils")
_LAST = ("Abara", "Berg", "Costa", "Dietz", "Eze", "Frost", "Gupta", "Haddad", "Ivers", "Jonas", "Khan")
_WISHES = (
    ("Dark theme", "Follow the system's choice, with a switch in the settings."),
    ("Export to CSV", "Download the filtered table as it is shown."),
    ("Keyboard shortcuts", "Move, open and vote without the mouse; list all keys under the question mark."),
    ("Weekly digest", "One e-mail on Monday with what moved and what shipped."),
    ("Single sign-on", "OpenID Connect for teams, with groups mapped to roles."),
    ("Offline mode", "Read everything without a network and send edits when it is back."),
    ("Public API", "Read and write what the pages can, with keys that can be limited and revoked."),
    ("Audit log", "Who changed what and when, kept for a year."),
    ("Two-factor sign-in", "Passkeys first, one-time codes as a second way."),
    ("Saved filters", "Name a filter and find it in the side bar."),
    ("Comments", "Discuss a feature under its card."),
    ("Right-to-left layout", "Mirror every page for languages that read from the right."),
)


def _seeded_id(prefix: str, number: int) -> str:
    """25 characters of base 36, like the ids made at run time, but the same for the same number."""
    letters = random.Random(f"{prefix} {number}").choices(string.digits + string.ascii_lowercase, k=25 - len(prefix))
    return prefix + "".join(letters)


def _accounts(role: str, count: int, password: str) -> list[Account]:
    # One password for all accounts of a role, and so one hash: a thousand hashes would take a minute and hide nothing.
    stored = hash_password(password)
    admin = role == "admin"
    return [
        Account(
            id=_seeded_id("cladm" if admin else "clusr", number),
            name=f"{_FIRST[number % len(_FIRST)]} {_LAST[(number + 5 * admin) % len(_LAST)]}",
            email=f"{'admin' if admin else 'user'}{number + 1}@roadmap.test",
            admin=admin,
            password_hash=stored,
        )
        for number in range(count)
    ]


def _seed(store: Store, state: StateDir, settings: Settings) -> None:
    chosen = settings.password
    listed: list[dict[str, str]] = []
    accounts: list[Account] = []
    for role, count in (("regular", settings.users), ("admin", settings.admins)):
        password = chosen if chosen is not None else secrets.token_urlsafe(15)
        made = _accounts(role, count, password)
        accounts += made
        for each in made:
            entry = {"email": each.email, "role": role, "userId": each.id, "userName": each.name}
            # A password that its owner chose is not ours to write down.
            listed.append(entry if chosen is not None else {**entry, "password": password})
    store.add_users(accounts)
    statuses = load_contract().messages.feature_status
    features = []
    for number in range(settings.features):
        title, description = _WISHES[number % len(_WISHES)]
        again = number // len(_WISHES)
        title = f"{title} {again + 1}" if again else title
        features.append((_seeded_id("clxyz", number), title, description, statuses[number % len(statuses)]))
    creator = next((each for each in accounts if each.admin), accounts[0])
    store.add_features(features, creator_id=creator.id, now=time.time())
    state.write(state.accounts, listed)
    store.remember(_WEAK, "yes" if chosen is not None and password_is_weak(chosen) else "no")
    store.remember(_SEEDED, "yes")


def _top_up_sessions(store: Store, settings: Settings, accounts: list[Account]) -> list[SessionRow]:
    """The wanted number of seeded sessions, dealt out in turn; those that are still good are kept."""
    store.drop_expired_sessions(time.time())
    kept: dict[str, list[SessionRow]] = {}
    for row in reversed(store.seeded_sessions()):
        kept.setdefault(row.user_id, []).append(row)
    regular = [each.id for each in accounts if not each.admin]
    admins = [each.id for each in accounts if each.admin]
    # Two users and an administrator come first, so that even three sessions serve every kind of check.
    turn = [*regular[:2], *admins[:1], *regular[2:], *admins[1:]]
    rows, fresh = [], []
    wanted = 2 * len(turn) if settings.sessions is None else settings.sessions
    for number in range(wanted):
        user_id = turn[number % len(turn)]
        if kept.get(user_id):
            rows.append(kept[user_id].pop())
        else:
            fresh.append(SessionRow(new_token(), new_id(), user_id))
            rows.append(fresh[-1])
    store.add_sessions(fresh, expires_at=time.time() + settings.session_lifetime, seeded=True)
    return rows


def prepare(store: Store, state: StateDir, settings: Settings, cookies: CookieJar) -> bool:
    """Seed a new database and write sessions.json. Returns whether the seeded passwords are strong enough to expose.

    Raises StoreError, StartError.
    """
    if store.fact(_SEEDED) is None:
        with store.transaction():
            _seed(store, state, settings)
    accounts = store.accounts()
    people = {each.id: each for each in accounts}
    listed = [
        {
            "name": cookies.name,
            "value": cookies.sign(row.token),
            "role": "admin" if people[row.user_id].admin else "regular",
            "userId": row.user_id,
            "userName": people[row.user_id].name,
            "sessionId": row.id,
        }
        for row in _top_up_sessions(store, settings, accounts)
    ]
    state.write(state.sessions, listed)
    return store.fact(_WEAK) != "yes"
