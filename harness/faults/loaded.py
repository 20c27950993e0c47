"""All that a run of the checks loads, loaded: named to multiprocessing's fork server, which imports it before any fork.

Nothing else may import it: the checks mark themselves, which only a pytest with our plugin understands.
"""

from __future__ import annotations

import importlib
import pkgutil

from harness.conformance import checks

__all__: list[str] = []

for _name in ("_pytest", "pytest", "xdist.plugin", "harness.conformance.plugin", "harness.conformance.readings"):
    importlib.import_module(_name)
for _each in pkgutil.iter_modules(checks.__path__):
    importlib.import_module(f"{checks.__name__}.{_each.name}")
