"""The journal's header: what was run, on what, with which versions. Only facts that were read, never assumed."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from harness.journal import FORMAT
from harness.load.prepare import Prepared
from harness.load.settings import Settings
from harness.load.shape import Shape
from harness.revision import git_revision

__all__ = ["git_revision", "header"]

_PACKAGES = ("roadmap-harness", "locust", "gevent", "websocket-client", "geventhttpclient", "numpy", "pandas")


def header(shape: Shape, settings: Settings, prepared: Prepared, workers: int) -> dict[str, Any]:
    """The first record of the journal."""
    target = prepared.target
    return {
        "kind": "header",
        "format": FORMAT,
        "run": prepared.folder.name,
        "scenario": shape.name,
        "about": shape.about,
        "judged": list(shape.judged),
        "merges": shape.merges,
        "fit_by_step": shape.fit_by_step,
        "started": time.time(),
        "target": {"name": target.name, "base_url": target.base_url, "ws_url": target.ws_url},
        "seed": settings.seed,
        "parameters": settings.parameters(),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "machine": {
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "kernel": f"{platform.system()} {platform.release()}",
            "hostname": platform.node(),
        },
        "git": git_revision(Path.cwd()),
        "workers": workers,
        "readings": dict(target.readings),
        "limits": asdict(target.limits),
        "exclusive_clock": True,
    }
