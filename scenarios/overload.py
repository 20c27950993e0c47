"""More votes than may be broadcast: the cap on broadcasts is kept, votes are merged, every viewer ends with the true counts, nothing grows.

    roadmap-harness bench overload               # 300 votes/s
    roadmap-harness bench overload --rate 1000
    locust -f scenarios/overload.py --headless --target profile.toml

The bundled server keeps the contract's cap here. A vote that a later broadcast of its feature carries is delivered with it.
"""

from harness.load.conductor import Conductor
from harness.load.overload import compare, true_counts
from harness.load.scenario import Viewer, install
from harness.load.shape import Shape


def conduct(run: Conductor) -> None:
    """Cast, wait until the backlog is out, then ask the target for the truth."""
    run.ramp()
    run.cast()
    run.tell_all("compare", {"counts": true_counts(run)})
    run.until(lambda: run.all("compared"), run.settings.drain + 1.0, lambda: "comparing what viewers show with the true counts")


SHAPE = Shape(
    name="overload",
    about="More votes than may be broadcast: the cap is kept, votes are merged, every viewer ends with the true counts, nothing grows.",
    defaults={"viewers": 100, "rate": 300.0, "duration": 40.0},
    judged=("overload_cap", "overload_counts", "overload_backlog", "overload_memory", "latency", "delivery", "misdirected", "reordered",
            "invalid_frames", "closes", "unmatched"),
    merges=True,
    conduct=conduct,
    acts={"compare": compare},
)  # fmt: skip
install(SHAPE)


class OverloadViewer(Viewer):
    """Holds one socket of the roadmap page."""
