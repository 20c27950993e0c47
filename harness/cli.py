"""The command line: serve, check, faults, bench, report, init, doctor. Each ends with a documented exit code; an error is one sentence."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from harness.config import Configured
from harness.conformance import cli as gate
from harness.errors import ExitCode, HarnessError, UsageError
from harness.faults.cli import faults
from harness.locust_run import scenario_names
from harness.run_folder import RunFolder, find_run, is_run_name
from harness.target import Finding, load_target, write_profile
from harness.target import doctor as examine
from harness.terminal import painted, working
from harness.thresholds import contract_thresholds
from schemas import load_contract

__all__ = ["app", "main"]

app = typer.Typer(
    name="roadmap-harness",
    help="Does a server keep the Real-Time Roadmap Updates WebSocket contract, and does it hold its benchmarks?\n\n"
    "Exit codes: 0 pass, 1 contract broken or benchmark missed, 2 usage, 3 target unreachable or log-in refused, 4 run invalid.",
    epilog="Begin with `roadmap-harness bench`: it starts the bundled server, loads it for a minute and names the report to open. "
    "For a server of your own: `roadmap-harness init URL`.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    help="Start the bundled server; every option is the server's own (see `serve --help`).",
)
def serve(context: typer.Context) -> None:
    """Hand over to the server's own process."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "server_under_test", *context.args])  # noqa: S606


@app.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    help="Run a load scenario and judge it by the contract's benchmarks (see `bench --help` and `bench SCENARIO --help`).",
)
def bench(
    words: Annotated[list[str] | None, typer.Argument(autocompletion=scenario_names, metavar="[SCENARIO] [OPTION]...")] = None,
) -> None:
    """Each scenario has options of its own."""
    from harness.bench import bench as run

    raise typer.Exit(run(words or []))


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roadmap-harness {metadata.version('roadmap-harness')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="print the version")] = False,
) -> None:
    """The options of the tool itself."""


def _page(folder: Path) -> Path:
    from harness.report import render, shelve

    page = render(folder)
    shelve(folder)
    return page


gate.pages.append(_page)
app.command(cls=Configured)(gate.check)
app.command(cls=Configured)(faults)


def _runs() -> list[str]:
    """Names of runs, for the shell; the newest first."""
    reports = Path(os.environ.get("ROADMAP_REPORTS", "reports"))
    names = [folder.name for folder in reports.iterdir() if is_run_name(folder.name)] if reports.is_dir() else []
    return ["latest", *sorted(names, reverse=True)]


@app.command(cls=Configured)
def report(
    run: Annotated[str, typer.Argument(help='a run\'s folder or name, or "latest"', autocompletion=_runs)] = "latest",
    reports: Annotated[Path, typer.Option(envvar="ROADMAP_REPORTS", help="where run folders lie")] = Path("reports"),
    index: Annotated[bool, typer.Option("--index", help="only write the page over all runs, with their trends")] = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="draw the run's page; without it the verdicts are enough")] = True,
    json_: Annotated[str, typer.Option("--json", help="write the verdicts as JSON there too; - prints them in place of the text")] = "",
) -> None:
    """Judge a run folder again, of a load run or of the gate, write its page, and print the verdict.

    Example: roadmap-harness report latest

    All runs on one page: roadmap-harness report --index
    """
    from harness.report import rebuild, shelve, write_index  # pandas and matplotlib take a second to load: only where they are needed

    if index:
        typer.echo(f"index: {write_index(reports)}")
        return
    folder = find_run(run, reports)
    with working(f"judging {folder.name} from {RunFolder(folder).journal.stat().st_size / 1e6:.1f} MB of evidence"):
        made = rebuild(folder, page=page)
        if page:
            shelve(folder)
    if json_ == "-":
        typer.echo(made.plain(), nl=False)
    else:
        typer.echo(painted(made.text), nl=False)
        typer.echo(f"\nreport: {made.page or f'roadmap-harness report {folder} draws it'}")
    if json_ not in ("", "-"):
        Path(json_).write_text(made.plain(), "utf-8")
    raise typer.Exit(made.exit_code)


@app.command(cls=Configured)
def compare(
    base: Annotated[str, typer.Argument(help="a run, or repeats of it separated by commas: folders or names")],
    new: Annotated[str, typer.Argument(help="what is compared with it, likewise")],
    reports: Annotated[Path, typer.Option(envvar="ROADMAP_REPORTS", help="where run folders lie")] = Path("reports"),
) -> None:
    """Faster, slower, or cannot tell: two runs, or repeats of two builds, figure by figure with confidence intervals.

    Exit codes: 0 nothing got worse, 1 something did, 4 nothing can be told.

    Example: roadmap-harness compare RUN1,RUN2,RUN3 RUN4,RUN5,RUN6
    """
    from harness.analysis.compare import compare as weigh
    from harness.report.compare_text import compare_text

    sides = [[find_run(name.strip(), reports) for name in side.split(",") if name.strip()] for side in (base, new)]
    with working(f"comparing {len(sides[0])} runs with {len(sides[1])}"):
        found = weigh(*sides)
    typer.echo(painted(compare_text(found)))
    raise typer.Exit(found.exit_code)


@app.command(cls=Configured)
def export(
    run: Annotated[str, typer.Argument(help='a run\'s folder or name, or "latest"', autocompletion=_runs)] = "latest",
    reports: Annotated[Path, typer.Option(envvar="ROADMAP_REPORTS", help="where run folders lie")] = Path("reports"),
) -> None:
    """Write a load run's evidence as Parquet and HdrHistogram logs into the folder `data` of its run folder.

    Example: roadmap-harness export latest
    """
    from harness.analysis.export import export as write

    folder = find_run(run, reports)
    with working(f"writing the evidence of {folder.name} as Parquet"):
        paths = write(folder)
    for path in paths:
        typer.echo(path)


@app.command(cls=Configured)
def thresholds() -> None:
    """Print the contract's limits as a file of thresholds, to begin one's own with (see `bench --thresholds`).

    Example: roadmap-harness thresholds > gate.toml
    """
    typer.echo(contract_thresholds(load_contract().benchmark), nl=False)


@app.command(cls=Configured)
def init(
    url: Annotated[str, typer.Argument(help="where the target answers, such as https://staging.example")],
    file: Annotated[Path, typer.Option("--file", "-o", help="the profile to write; never one that exists")] = Path("target.toml"),
) -> None:
    """Write a commented profile for a server of your own.

    Example: roadmap-harness init https://staging.example -o staging.toml
    """
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(write_profile(url))
    except FileExistsError:
        raise UsageError("it exists already", str(file), "name another file with --file, or remove this one first") from None
    typer.echo(f"{file}: fill in the marked lines, then: roadmap-harness doctor {file}")


@app.command(cls=Configured)
def doctor(
    target: Annotated[str, typer.Argument(envvar="ROADMAP_TARGET", help="profile (TOML), or the ready.json of a bundled server")],
    destructive: Annotated[bool, typer.Option("--destructive", help="try what cannot be undone too: it revokes one session")] = False,
) -> None:
    """Try each hook of a profile for real, and say which clauses each missing one costs.

    Example: roadmap-harness doctor staging.toml
    """

    def tell(finding: Finding) -> None:
        typer.echo(painted(f"{finding.state:<9} {finding.part:<14} {finding.detail}"))
        if finding.costs and finding.state != "works":
            typer.echo(f"{'':<24} costs {len(finding.costs)} clauses: {', '.join(finding.costs)}")

    findings = examine(load_target(target), destructive=destructive, tell=tell)
    broken = any(finding.state == "fails" for finding in findings)
    raise typer.Exit(int(ExitCode.USAGE if broken else ExitCode.PASS))


def main() -> None:
    """Entry point: a HarnessError becomes one sentence and its exit code; Ctrl-C is a run cut short, not a crash."""
    try:
        app()
    except HarnessError as error:
        print(f"roadmap-harness: {error}", file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from None
    except KeyboardInterrupt:
        print("roadmap-harness: interrupted; what was measured until now is in the run folder.", file=sys.stderr)
        raise SystemExit(int(ExitCode.INVALID)) from None
    except OSError as error:
        where = str(error.filename or "")
        wrong = UsageError(error.strerror or type(error).__name__, where, "make room or give another place, then run again")
        print(f"roadmap-harness: {wrong}", file=sys.stderr)
        raise SystemExit(int(ExitCode.USAGE)) from None
    except Exception:  # our own failure: it must never look like the target's (Python's own status for a crash is 1, which is FAIL)
        traceback.print_exc()
        print("roadmap-harness: the harness itself failed; nothing was judged. Please report the lines above.", file=sys.stderr)
        raise SystemExit(int(ExitCode.INVALID)) from None


if __name__ == "__main__":
    main()
