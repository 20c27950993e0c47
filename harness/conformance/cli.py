"""`roadmap-harness check`: the gate on the command line. What makes the page of a run is handed in: this room knows no reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from harness.conformance.catalogue import Selection
from harness.conformance.gate import RESULT, GateOptions, run_gate
from harness.conformance.ground import SIDE_BY_SIDE
from harness.conformance.outputs.junit import junit_xml
from harness.conformance.outputs.markdown import markdown_summary
from harness.conformance.outputs.terminal import terminal_text
from harness.conformance.progress import Progress
from harness.destination import check_destination
from harness.run_folder import new_run_folder
from harness.terminal import painted

__all__ = ["app", "check", "pages"]

app = typer.Typer(no_args_is_help=True)
pages: list[Callable[[Path], Path]] = []
"""What turns a finished run's folder into a page; the command line adds the report's `render`."""


@app.command()
def check(
    target: Annotated[
        str, typer.Argument(envvar="ROADMAP_TARGET", help="profile (TOML), or the ready.json of a bundled server; not needed with --client")
    ] = "",
    clause: Annotated[list[str] | None, typer.Option(help="judge this clause: an id or a pattern such as 'HB-*'; may be repeated")] = None,
    section: Annotated[list[str] | None, typer.Option(help="judge this section, such as HB; may be repeated")] = None,
    tier: Annotated[list[str] | None, typer.Option(help="judge this tier: T0 to T3, TS, TC; may be repeated")] = None,
    level: Annotated[list[str] | None, typer.Option(help="judge this level: MUST, SHOULD, INFO; may be repeated")] = None,
    profile: Annotated[str, typer.Option(help="fast: no check that waits more than 5 s; full")] = "full",
    requirements: Annotated[str, typer.Option(help="pin the set of requirements; clauses that came later are left out")] = "",
    baseline: Annotated[Path | None, typer.Option(help="known failures (TOML: clause, reason, expires)")] = None,
    update_baseline: Annotated[bool, typer.Option("--update-baseline", help="write what fails now into the baseline")] = False,
    min_coverage: Annotated[float, typer.Option(min=0, max=100, help="percent of the selected clauses that must be tested")] = 0.0,
    allow_inconclusive: Annotated[
        bool, typer.Option("--allow-inconclusive", help="a MUST without enough evidence does not stop the gate")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="write JUnit XML there")] = None,
    json_: Annotated[
        Path | None, typer.Option("--json", help="write the result as JSON there too; - prints it in place of the text")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="append a Markdown summary there, such as $GITHUB_STEP_SUMMARY")] = None,
    checks: Annotated[list[Path] | None, typer.Option(help="file or folder with checks of your own; may be repeated")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes; one runs all checks side by side in threads")] = 1,
    side_by_side: Annotated[int, typer.Option(min=1, help="active checks at once in a process")] = SIDE_BY_SIDE,
    seed: Annotated[int, typer.Option(help="of what is left to chance")] = 1,
    capacity: Annotated[str, typer.Option(help="yes, no or auto (on this host): open as many sockets as the limit allows?")] = "auto",
    second_url: Annotated[str, typer.Option(help="WebSocket URL of a second instance")] = "",
    client: Annotated[
        str, typer.Option(help='command that starts a client under test, {url} being where it shall connect; "open" to open it by hand')
    ] = "",
    client_scale: Annotated[float, typer.Option(help="pace of the client's clock: 0.1 makes ten seconds of the contract one")] = 1.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress lines")] = False,
    reports: Annotated[Path, typer.Option(envvar="ROADMAP_REPORTS", help="where run folders are made")] = Path("reports"),
) -> None:
    """Judge a target by every clause of the contract that it lets us see.

    Example: roadmap-harness check staging.toml --profile fast --junit conformance.xml

    A client instead of a server: roadmap-harness check --section CLI --client 'node client.js {url}'
    """
    selection = Selection(
        clauses=tuple(clause or ()),
        sections=tuple(section or ()),
        tiers=tuple(tier or ()),
        levels=tuple(level or ()),
        profile=cast(Literal["fast", "full"], profile),
        requirements=requirements,
    )
    options = GateOptions(
        workers=workers,
        side_by_side=side_by_side,
        seed=seed,
        capacity=capacity,
        second_url=second_url,
        client=client,
        client_scale=client_scale,
        checks=tuple(path.absolute() for path in checks or ()),
        baseline=baseline,
        update_baseline=update_baseline,
        min_coverage=min_coverage / 100,
        allow_inconclusive=allow_inconclusive,
    )
    for option, path in (("--junit", junit), ("--json", json_), ("--markdown", markdown)):
        check_destination(path, option)
    folder = new_run_folder(reports, "conformance", time.time())
    progress = Progress(quiet)
    try:
        result = run_gate(target, selection, folder, options, progress)
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()  # nothing was begun: an empty folder would pass for a run
        raise
    finally:
        progress.end()
    if junit is not None:
        junit.write_text(junit_xml(result), "utf-8", errors="backslashreplace")
    if json_ is not None and str(json_) != "-":
        json_.write_bytes((folder / RESULT).read_bytes())
    if markdown is not None:
        with markdown.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(markdown_summary(result))
    made = [page(folder) for page in pages]
    if str(json_) == "-":
        typer.echo((folder / RESULT).read_text("utf-8"), nl=False)
    else:
        typer.echo(painted(terminal_text(result)))
        typer.echo(f"\nevidence: {folder / RESULT}")
        for each in made:
            typer.echo(f"report: {each}")
    raise typer.Exit(int(result.exit_code))


if __name__ == "__main__":
    app()
