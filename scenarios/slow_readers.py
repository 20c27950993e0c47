"""One viewer in a hundred stops reading in the middle of the load: nobody else may notice, and the server may not fill its memory.

    locust -f scenarios/slow_readers.py --headless --target profile.toml
    roadmap-harness bench slow_readers

The time before is the yardstick for the time after, in one run. Half of the slow ones fall silent, and the missing PONG must end them;
the others go on sending PONG, and only a bound on what the server keeps for each can.
"""

from harness.load.conductor import Conductor
from harness.load.scenario import Viewer, install
from harness.load.shape import Option, Shape
from harness.load.slow import read_again, slow_start, stop_reading
from schemas import load_contract


def conduct(run: Conductor) -> None:
    """Everybody reads; some stop; at the end they read again and learn what became of them."""
    settings = run.settings

    def stop() -> None:
        run.event("readers_stopped")
        run.tell_all("stop_reading", {})

    run.ramp()
    run.cast([(settings.warmup + settings.number("calm"), stop)])
    run.tell_all("read_again", {})
    run.until(lambda: run.all("slow_done"), settings.drain, lambda: "the slow readers read again")


SHAPE = Shape(
    name="slow_readers",
    about="Some viewers stop reading: the others' latency and the server's memory must not move, and each of them must be cut off.",
    options=(
        Option("slow-share", 0.01, "share of the viewers that stop reading", 1e-9),
        Option("calm", 40.0, "seconds of the steady phase before they do", 1.0),
        Option("backlog", load_contract().limits.backlog_bytes, "bytes that a server may keep for one that does not read", 1),
    ),
    defaults={"duration": 300.0},  # the kernel of the server's host takes megabytes before the server's own bound is reached
    judged=("latency", "slow_latency", "slow_memory", "slow_silent", "slow_answering", "connections", "delivery", "misdirected",
            "duplicated", "reordered", "invalid_frames", "closes", "unmatched"),
    conduct=conduct,
    start=slow_start,
    acts={"stop_reading": stop_reading, "read_again": read_again},
)  # fmt: skip
install(SHAPE)


class SlowReadersViewer(Viewer):
    """Holds one socket; whether it will be a slow one is settled by its number."""
