"""The contract's load test: viewers connect, then votes are cast so that 100 broadcasts a second go out, unbatched, for 60 s.

    locust -f scenarios/broadcast.py --headless --target profile.toml
    roadmap-harness bench broadcast

Votes go to many features in turn, so that no batching window ever holds two of one feature; voters watch too, so that the exclusion
of the voter is checked under load. Every delivery is accounted for.
"""

from harness.load.scenario import Viewer, install
from harness.load.shape import Shape

SHAPE = Shape(
    name="broadcast",
    about="The contract's load test: its connections and its broadcasts a second, every delivery accounted for.",
)
install(SHAPE)


class BroadcastViewer(Viewer):
    """Holds one socket of the roadmap page; the votes come from the pacer, not from the viewers."""
