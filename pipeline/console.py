"""What a person sees of a run in the terminal: progress while it goes on, a table at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.config.pipeline import StageName
from pipeline.planning import StagePlan
from pipeline.report.visible import visible

QUIET_SECONDS = 10.0
"""Without a terminal, progress is one line at most this often."""

_MARKS = {"run": "[green]●[/]", "skipped": "[dim]○[/]", "skip": "[dim]○[/]", "failed": "[red]✗[/]"}


class TerminalObserver:
    """Progress on stderr: a live line in a terminal, now and then a line in a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._spinner = Spinner("dots")
        self._start = self._said = time.monotonic()

    def started(self, run_id: str, plans: Sequence[StagePlan]) -> None:
        work = sum(p.action == "run" for p in plans)
        self._console.print(f"run {run_id}: {work} of {len(plans)} stages have to run")

    def stage_started(self, plan: StagePlan) -> None:
        self._start = self._said = time.monotonic()
        self._console.print(
            f"[bold]▶ {plan.stage}[/] [dim]{escape(plan.reason)}[/]", highlight=False
        )
        if self._console.is_terminal:
            self._spinner.update(text=plan.stage)
            self._live = Live(
                self._spinner, console=self._console, transient=True, refresh_per_second=8
            )
            self._live.start()

    def progress(self, stage: StageName, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        share = f"{done:,}/{total:,} " if total else ""
        text = f"{stage}: {share}{what} · {now - self._start:.0f} s"
        if self._live is not None:
            self._spinner.update(text=Text(text))
        elif now - self._said >= QUIET_SECONDS:
            self._said = now
            self._console.print(f"  {escape(text)}", highlight=False)

    def stage_ended(self, record: dict[str, Any]) -> None:
        self.stop()
        self._console.print(stage_line(record), highlight=False)

    def stop(self) -> None:
        """Take the live line off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def stage_line(record: dict[str, Any]) -> str:
    mark = _MARKS[record["action"]]
    if record["action"] == "skipped":
        return f"{mark} [dim]{record['stage']}: skipped, {escape(record['reason'])}[/]"
    quarantined = record["rows_quarantined"]
    aside = f", {quarantined:,} quarantined" if quarantined else ""
    dropped = record.get("rows_dropped")
    aside += f", {dropped:,} dropped by filters" if dropped else ""
    return (
        f"{mark} {record['stage']}: {record['rows_in']:,} rows in, {record['rows_out']:,} out"
        f"{aside} in {record['seconds']:.1f} s"
    )


def plan_table(plans: Sequence[StagePlan]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "would", "why", "fingerprint"):
        table.add_column(name)
    for plan in plans:
        colour = "green" if plan.action == "run" else "dim"
        table.add_row(
            plan.stage, f"[{colour}]{plan.action}[/]", escape(plan.reason), plan.fingerprint[:12]
        )
    return table


def steps_line(steps: Sequence[dict[str, str]]) -> str:
    """The steps of preprocess, in order."""
    shown = (f"{step['name']} ({step['kind']})" for step in steps)
    return f"{len(steps)} steps: {escape(', '.join(shown))}"


def candidates_line(names: Sequence[str], shown: int = 12) -> str:
    """The candidates that train would fit, the first of them by name."""
    more = f", and {len(names) - shown} more (--json lists all)" if len(names) > shown else ""
    return f"{len(names)} candidates: {escape(', '.join(names[:shown]))}{more}"


def run_table(run: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("")
    for name in ("rows in", "rows out", "quarantined", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("why")
    for record in run["stages"]:
        table.add_row(
            record["stage"],
            record["action"],
            *(_number(record[key]) for key in ("rows_in", "rows_out", "rows_quarantined")),
            f"{record['seconds']:.1f}",
            escape(record["reason"]),
        )
    return table


def runs_table(runs: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "pipeline", "status", "started (UTC)"):
        table.add_column(name)
    table.add_column("seconds", justify="right")
    table.add_column("ran")
    for run in runs:
        ran = ", ".join(r["stage"] for r in run["stages"] if r["action"] != "skipped")
        table.add_row(
            run["run_id"],
            run["pipeline"],
            run["status"],
            run["started_at"][:19].replace("T", " "),
            f"{run['seconds']:.1f}",
            ran or "nothing",
        )
    return table


def rows_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Any list of alike records: one column a key, numbers to the right."""
    table = Table(box=None, pad_edge=False)
    for key, value in (rows[0] if rows else {}).items():
        table.add_column(key, justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    return table


def quarantine_tables(found: dict[str, Any]) -> list[Table | str]:
    """Rows by rule, and the first rows, of ``pipeline quarantine show``."""
    if not found["rows"]:
        return [f"no quarantined rows in {found['of']}"]
    said = f"{found['rows']:,} quarantined rows in {found['of']}"
    rows = [{name: _plain(value) for name, value in row.items()} for row in found["broken"]]
    return [said, rows_table(found["rules"]), *([rows_table(rows)] if rows else [])]


def _plain(value: Any) -> Any:
    """Text from data, without what a terminal would take for a command."""
    return visible(value, 100) if isinstance(value, str) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else escape(str(value))


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
