"""The engineer's view of a run while it goes on: a tab in Locust's web UI and a live page beside it.

What is shown here is "so far", from the same records that go into the journal; the verdict is the report's alone.
"""

from harness.load.web.face import Face
from harness.load.web.live import Live

__all__ = ["Face", "Live"]
