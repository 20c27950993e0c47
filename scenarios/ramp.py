"""From no connections to all of them in steps, held, and released again, several times: memory a connection, leaks, handshakes a second.

    locust -f scenarios/ramp.py --headless --target profile.toml
    roadmap-harness bench ramp

Nobody votes: what memory does is owed to the connections alone. What one costs is the slope of the first cycle; what one leaves behind
is what later cycles add at the same number of connections.
"""

import time

from harness.load.conductor import Conductor
from harness.load.crowd import crowd_start, grow, release
from harness.load.scenario import Viewer, install
from harness.load.shape import Option, Shape

_LEAD = 0.3
_GRACE = 60.0


def conduct(run: Conductor) -> None:
    """Each step has a number of its own, by which the members say that it is done."""
    settings = run.settings
    steps, hold = round(settings.number("steps")), settings.number("hold")
    number = 0

    def done() -> bool:
        return run.sum("step_done") == number * run.workers

    def plateau(cycle: int, asked: int) -> None:
        begin = time.time()
        run.wait(hold, lambda: f"cycle {cycle + 1}: {run.sum('open')} connections held", held=asked > 0)
        run.event("plateau", {"cycle": cycle, "asked": asked, "open": run.sum("open"), "begin": begin, "until": time.time()})

    with run.measure():
        plateau(0, 0)
        for cycle in range(round(settings.number("cycles"))):
            before = 0
            for step in range(1, steps + 1):
                asked = settings.viewers * step // steps
                number += 1
                act = {"step": number, "count": asked - before, "rate": settings.spawn_rate, "begin": time.time() + _LEAD}
                run.event("step", {"cycle": cycle, "number": number, "count": asked - before})
                run.tell_all("grow", act)
                run.until(done, (asked - before) / settings.spawn_rate + _GRACE, lambda: f"{run.sum('open')} connections open")
                if not run.sum("open"):
                    run.give_up("no connection could be opened")
                plateau(cycle, asked)
                before = asked
            number += 1
            run.tell_all("release", {"step": number})
            run.until(done, _GRACE, lambda: f"{run.sum('open')} connections to be released")
            plateau(cycle, 0)


SHAPE = Shape(
    name="ramp",
    about="Connections come in steps, are held and released, several times over: memory a connection, leaks, handshakes a second.",
    options=(
        Option("steps", 4, "steps in which the connections of one cycle come", 2),
        Option("cycles", 5, "times that all of them come and go; a leak is told from noise by them", 3),
        Option("hold", 4.0, "seconds that each step is held", 1.0),
    ),
    defaults={"spawn-rate": 500.0},
    judged=("ramp_connections", "ramp_memory", "ramp_leak", "ramp_descriptors", "ramp_handshakes"),
    casts=False,
    conduct=conduct,
    start=crowd_start,
    acts={"grow": grow, "release": release},
)
install(SHAPE)


class RampViewer(Viewer):
    """Only holds a place in Locust's count: the sockets are opened and released by the crowd."""

    connects = False
