"""A moderate load for hours: does latency, memory, or the number of descriptors drift, and where would it be after a day?

roadmap-harness bench soak                     # an hour
roadmap-harness bench soak --duration 28800
locust -f scenarios/soak.py --headless --target profile.toml
"""

from harness.load.scenario import Viewer, install
from harness.load.shape import USUAL, Shape

SHAPE = Shape(
    name="soak",
    about="A moderate load for hours: what drifts is given as a slope, and judged by where it would be after a day.",
    defaults={"viewers": 500, "rate": 50.0, "duration": 3600.0, "warmup": 30.0},
    judged=("soak_latency", "soak_memory", "soak_descriptors", *(name for name in USUAL if name not in ("broadcast_rate", "memory"))),
)
install(SHAPE)


class SoakViewer(Viewer):
    """Holds one socket of the roadmap page for as long as it lasts."""
