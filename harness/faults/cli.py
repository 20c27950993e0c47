"""`roadmap-harness faults`: the kill matrix on the command line."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.errors import RunInvalid
from harness.faults.document import document, markdown
from harness.faults.known import Faults, known_faults
from harness.faults.matrix import Matrix
from harness.faults.plan import Plan

__all__ = ["app", "faults"]

app = typer.Typer(no_args_is_help=False)


@app.command()
def faults(
    fault: Annotated[list[str] | None, typer.Option(help="try the faults of this name or pattern; may be repeated")] = None,
    clause: Annotated[list[str] | None, typer.Option(help="try the faults of this clause, such as 'HB-*'; may be repeated")] = None,
    own: Annotated[bool, typer.Option("--own", help="each fault against its own clause alone: minutes in place of half an hour")] = False,
    time_scale: Annotated[float, typer.Option(help="all durations of the contract times this, on every server")] = 0.1,
    jobs: Annotated[int, typer.Option(min=1, help="servers at once; their waits are idle")] = 16,
    side_by_side: Annotated[int, typer.Option(min=1, help="active checks at once on one server")] = 4,
    patience: Annotated[float, typer.Option(min=1, help="seconds after which the checks of one server count as hung")] = 300.0,
    second_look: Annotated[int, typer.Option(min=0, help="how often a row that is not right is tried again, a few at once")] = 1,
    out: Annotated[Path, typer.Option(help="where faults.json, faults.md, faults.html and the evidence of wrong rows go")] = Path(
        "reports/faults"
    ),
    list_: Annotated[bool, typer.Option("--list", help="list the faults and leave")] = False,
) -> None:
    """Prove the checks: run the gate against every seeded fault of the bundled server, and print which clause catches which.

    Exit code 0 only when every fault is caught by its own clause and whatever else breaks with it is explained.

    Example: roadmap-harness faults --own --clause 'HB-*'
    """
    known = known_faults()
    chosen = known.chosen(fault or (), clause or ())
    if list_:
        for each in chosen:
            typer.echo(f"{each.name:<36} {each.clause:<8} {each.summary}")
        return
    started = time.time()
    plan = Plan(chosen, own, time_scale, jobs, side_by_side, patience, second_look)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="roadmap-faults-") as place:
        matrix = _run(plan, Path(place))
        evidence = out / "runs"
        shutil.rmtree(evidence, ignore_errors=True)
        for wrong in matrix.wrong:
            left = Path(place) / "runs" / wrong.fault.name
            if left.is_dir():
                shutil.copytree(left, evidence / wrong.fault.name)
    from harness.faults.page import html  # jinja2 and the report's own style: only where they are needed

    text = json.dumps(document(matrix, started), ensure_ascii=False, indent=1)
    (out / "faults.json").write_text(text + "\n", "utf-8", errors="backslashreplace")
    (out / "faults.md").write_text(markdown(matrix, started), "utf-8", errors="backslashreplace")
    (out / "faults.html").write_text(html(matrix, started), "utf-8", errors="backslashreplace")
    _show(matrix, known)
    typer.echo(f"\nmatrix: {out / 'faults.html'}")
    raise typer.Exit(int(matrix.exit_code))


def _run(plan: Plan, folder: Path) -> Matrix:
    from harness.faults.run import run_matrix

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("servers on trial", total=None)

        def progress(done: int, total: int, said: str) -> None:
            bar.update(task, completed=done, total=total)
            console.print(Text(f"  {done:>3}/{total}  {said}"), soft_wrap=True)

        try:
            return run_matrix(plan, folder, progress)
        except KeyboardInterrupt:
            raise RunInvalid("interrupted: no matrix was made", "", "run it again, on fewer faults with --fault or --clause") from None


def _show(matrix: Matrix, known: Faults) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for name in ("fault", "clause", "verdict", "what breaks with it"):
        table.add_column(name, overflow="fold")
    for each in matrix.rows:
        lines = [Text(f"{' '.join(clauses)}: {why or 'unexplained'}", style="" if why else "bold red") for why, clauses in each.reasons]
        verdict = Text(str(each.own.verdict or "none"), style="green" if each.caught else "bold red")
        table.add_row(Text(each.fault.name), each.fault.clause, verdict, Text("\n").join(lines))
    console.print(table)
    for row, text in matrix.unclean:
        console.print(Text(f"not clean: the server without a fault ({', '.join(row.rigs)}): {text}", style="red"))
    for each in matrix.wrong:
        console.print(Text(f"not right: {each.fault.name}: {each.told}", style="red"))
    for id_, why in known.unfaultable.items():
        console.print(Text(f"no fault can break {id_}: {why}"))
    console.print(Text(f"\n{matrix.exit_code.name}: {matrix.reason}", style="bold"))


if __name__ == "__main__":
    app()
