"""The package as others meet it: its public names, and its data in an installed wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import schemas

ROOT = Path(schemas.__file__).parent.parent
SHOW = """
import schemas
assert schemas.__file__.startswith({where!r}), schemas.__file__
assert len(schemas.load_clauses()) == 171
assert len(schemas.load_readings()) == 29
assert schemas.load_contract().path
assert schemas.validate_server({{"type": "PING"}}, strict=True) == ()
assert schemas.validate_client({{"type": "PONG"}}, strict=True) == ()
"""


def test_public_names_exist_and_are_sorted() -> None:
    assert sorted(schemas.__all__) == list(schemas.__all__)
    assert all(hasattr(schemas, name) for name in schemas.__all__)


def test_an_installed_wheel_holds_the_data(tmp_path: Path) -> None:
    """Builds a wheel, unpacks it elsewhere, and loads everything from there."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert {file.name for file in (site / "schemas").glob("*.toml")} == {"contract.toml", "clauses.toml", "readings.toml"}
    assert (site / "schemas" / "asyncapi.yaml").is_file()
    assert len([*(site / "schemas").glob("*/*.json")]) == 9
    show = f"import sys; sys.path.insert(0, {str(site)!r})\n" + SHOW.format(where=str(site))
    subprocess.run([sys.executable, "-c", show], cwd=tmp_path, check=True, timeout=120)
