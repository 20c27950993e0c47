"""The server under test: its profile, its sessions, the hooks by which things are made to happen on it, and a
pre-flight.

No HTTP client is imposed: `Hook.prepare` and `Hook.read` are pure, and `HookCaller` is there for those who want to
call.
"""

from harness.target.blank import write_profile
from harness.target.bundled import bundled_profile, load_target
from harness.target.call import Called, HookCaller
from harness.target.doctor import Finding, doctor
from harness.target.hook import HOOKS, Answer, Hook, Item, PreparedRequest
from harness.target.load import load_profile
from harness.target.model import Resources, Target, Tolerance
from harness.target.reach import Reached, reach
from harness.target.room import machine_toward
from harness.target.session import ROLES, Session

__all__ = [
    "HOOKS",
    "ROLES",
    "Answer",
    "Called",
    "Finding",
    "Hook",
    "HookCaller",
    "Item",
    "PreparedRequest",
    "Reached",
    "Resources",
    "Session",
    "Target",
    "Tolerance",
    "bundled_profile",
    "doctor",
    "load_profile",
    "load_target",
    "machine_toward",
    "reach",
    "write_profile",
]
