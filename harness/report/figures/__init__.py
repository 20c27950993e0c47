"""The drawings of the report, each with its numbers as a table for those who do not see it.

Each function is pure: figures of the analysis in, a Drawing out, or None where there is nothing to draw.
"""

from harness.report.figures.drawing import Drawing
from harness.report.figures.fleet import connections, memory
from harness.report.figures.health import health
from harness.report.figures.latency import fan_out, heat, percentiles
from harness.report.figures.ramp import ramp_memory
from harness.report.figures.slow import slow_readers
from harness.report.figures.times import Times, times_of
from harness.report.figures.traffic import deliveries, deliveries_by_second

__all__ = [
    "Drawing",
    "Times",
    "connections",
    "deliveries",
    "deliveries_by_second",
    "fan_out",
    "health",
    "heat",
    "memory",
    "percentiles",
    "ramp_memory",
    "slow_readers",
    "times_of",
]
