"""The figures that only one scenario has, by the scenario's name. A new one is a function from a run to a frozen
dataclass, and an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.analysis.capacity import capacity_study
from harness.analysis.mixed import mixed_study
from harness.analysis.overload import overload_study
from harness.analysis.ramp import ramp_study
from harness.analysis.run import Run
from harness.analysis.slow import slow_study
from harness.analysis.soak import soak_study

__all__ = ["STUDIES", "study_of"]

STUDIES: Mapping[str, Callable[[Run], Any]] = {
    "capacity": capacity_study,
    "mixed": mixed_study,
    "overload": overload_study,
    "ramp": ramp_study,
    "slow_readers": slow_study,
    "soak": soak_study,
}


def study_of(run: Run) -> Any:
    """The run's own figures; None where its scenario has none beside the usual."""
    study = STUDIES.get(str(run.header.get("scenario") or "").replace("-", "_"))
    return None if study is None else study(run)
