"""A day in the life: people come and go, look at single features, vote in bursts; an administrator edits; idle tabs only answer PING.

    roadmap-harness bench mixed
    roadmap-harness bench mixed --viewers 1000 --duration 600 --seed 7
    locust -f scenarios/mixed.py --headless --target profile.toml

The same seed is the same day. Every delivery is accounted for: a viewer is owed what it watches while it is there. Around joining, leaving
and each SUBSCRIBE it may get a message or not, and neither is held against the target.
"""

from harness.load.mixed.acts import PLANNING, conduct, day_start, open_day
from harness.load.scenario import Viewer, install
from harness.load.shape import Option, Shape

SHAPE = Shape(
    name="mixed",
    about="A day in the life: arrivals and departures, detail views, votes in bursts, edits, idle tabs; every delivery accounted for.",
    options=(
        Option("stay", 60.0, "mean seconds that a visitor stays", 1.0),
        Option("idle", 0.3, "share of those there in the beginning who stay and do nothing", 0),
        Option("view", 20.0, "mean seconds in a detail view, and between two", 1.0),
        Option("burst", 20, "votes in a burst; half of all votes come in bursts", 1),
        Option("edits", 30.0, "edits by an administrator, a minute; 0 for none", 0),
    ),
    defaults={"viewers": 500, "rate": 20.0, "duration": 120.0},
    judged=("latency", "mixed_latency", "latency_stamped", "delivery", "mixed_visits", "mixed_own", "mixed_role", "mixed_filter",
            "mixed_back", "mixed_errors", "duplicated", "reordered", "invalid_frames", "closes", "unmatched"),
    plan=PLANNING,
    conduct=conduct,
    start=day_start,
    acts={"open_day": open_day},
)  # fmt: skip
install(SHAPE)


class MixedViewer(Viewer):
    """Only holds a place in Locust's count: the sockets are opened by the visitors of the day."""

    connects = False
