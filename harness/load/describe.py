"""What a locustfile says of its scenario, as JSON on standard output: `python -m harness.load.describe FILE`.

The command line asks in a process of its own, because a locustfile brings Locust and gevent's patched world with it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path

from harness.load.shape import announced

__all__ = ["main"]


def main(file: Path) -> int:
    """Import the locustfile and print its shape. Exit code 2 when it installs no scenario."""
    sys.path.insert(0, str(Path.cwd()))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        return 2
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    shape = announced()
    if shape is None:
        return 2
    options = [asdict(option) for option in shape.all_options()]
    facts = {name: getattr(shape, name) for name in ("name", "about", "casts", "merges", "own_server", "judged")}
    print(json.dumps({**facts, "options": options}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
