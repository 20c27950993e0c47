"""How many connections can it hold, and how many broadcasts a second? Steps until something gives; the last that kept the limits counts.

    roadmap-harness bench capacity                              # up to 2000 connections at 100/s, then up to 400/s at 1000
    roadmap-harness bench capacity --viewers 4000 --processes 2
    roadmap-harness bench capacity --search rate --most-rate 800 --features 200
    locust -f scenarios/capacity.py --headless --target profile.toml

A step in which the generator itself was not fit says nothing about the target: the search ends there, at the instrument's own limit.
"""

from harness.load.capacity import PLANNING, SEARCHES, conduct
from harness.load.crowd import grow, growing_start, shrink
from harness.load.scenario import Viewer, install
from harness.load.shape import Option, Shape
from schemas import load_contract

_CONTRACT = load_contract().benchmark

SHAPE = Shape(
    name="capacity",
    about="Steps until something gives: the most connections, and the most broadcasts a second, that keep the limit and lose nothing.",
    options=(
        Option("search", SEARCHES[0], f"what to search: {', '.join(SEARCHES)}"),
        Option("steps", 8, "steps of each search; the duration is shared evenly among all", 2),
        Option("most-rate", 4.0 * _CONTRACT.broadcasts_per_second, "highest rate of the search for the rate", 1e-9),
        Option("at", _CONTRACT.connections, "connections during the search for the rate", 1),
    ),
    defaults={"viewers": 2 * _CONTRACT.connections, "spawn-rate": 200.0, "duration": 255.0},
    judged=("capacity", "capacity_rate", "misdirected", "invalid_frames"),
    fit_by_step=True,
    plan=PLANNING,
    conduct=conduct,
    start=growing_start,
    acts={"grow": grow, "shrink": shrink},
)
install(SHAPE)


class CapacityViewer(Viewer):
    """Only holds a place in Locust's count: the sockets are opened by the crowd."""

    connects = False
