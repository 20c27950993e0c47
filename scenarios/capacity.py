"""How many connections can it hold at this rate? Viewers join in steps while votes go on; the knee is the last step that kept the SLO.

    roadmap-harness bench capacity                              # up to 2000 connections at the contract's 100 broadcasts/s
    roadmap-harness bench capacity --viewers 4000 --processes 2
    locust -f scenarios/capacity.py --headless --target profile.toml

A step in which the generator itself was not fit says nothing about the target; the search ends there.
"""

import time

from harness.load.conductor import Conductor
from harness.load.crowd import grow, growing_start
from harness.load.scenario import Viewer, install
from harness.load.shape import Option, Shape

_LEAD = 0.3
_GRACE = 30.0


def conduct(run: Conductor) -> None:
    """The first step comes before the votes, the others while they go on."""
    settings = run.settings
    steps = round(settings.number("steps"))
    hold = settings.duration / steps
    share = [settings.viewers * step // steps for step in range(steps + 1)]

    def join(step: int) -> None:
        count = share[step] - share[step - 1]
        run.event("step", {"number": step, "count": count, "viewers": share[step]})
        run.tell_all("grow", {"step": step, "count": count, "rate": settings.spawn_rate, "begin": time.time() + _LEAD})

    run.event("ramp_started")
    join(1)
    run.until(
        lambda: run.sum("step_done") == run.workers, share[1] / settings.spawn_rate + _GRACE, lambda: f"{run.sum('open')} connections"
    )
    run.event("ramp_done", {"open": run.sum("open"), "refused": run.sum("refused")})
    if not run.sum("open"):
        run.give_up("no connection could be opened")
    run.cast([(settings.warmup + hold * (step - 1), lambda step=step: join(step)) for step in range(2, steps + 1)])  # type: ignore[misc]


SHAPE = Shape(
    name="capacity",
    about="Viewers join in steps while votes go on: the most connections at which the latency's limit is kept and nothing is lost.",
    options=(Option("steps", 8, "steps in which the viewers come; the duration is shared evenly among them", 2),),
    defaults={"viewers": 2000, "spawn-rate": 200.0, "duration": 120.0},
    judged=("capacity", "misdirected", "invalid_frames"),
    fit_by_step=True,
    conduct=conduct,
    start=growing_start,
    acts={"grow": grow},
)
install(SHAPE)


class CapacityViewer(Viewer):
    """Only holds a place in Locust's count: the sockets are opened by the crowd."""

    connects = False
