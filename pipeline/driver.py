"""Order, plan, skip, resume, run. The stages themselves are imported only when they run."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pipeline.config.pipeline import STAGES, PipelineConfig, StageName
from pipeline.engines.tables import note_found
from pipeline.errors import PipelineError, StageFailed
from pipeline.interrupts import asked
from pipeline.planning import SPECS, StagePlan, plan, with_found
from pipeline.stages.context import StageContext
from pipeline.store import Manifest, Store
from pipeline.store.artifact import Outcome, clear_leftovers, publish, working_folder
from pipeline.store.days import Days
from pipeline.store.lock import exclusive
from pipeline.store.runlog import RunLog, keep_report, utc_now
from pipeline.store.summary import dropped_by_filters

__all__ = ["Observer", "StagePlan", "plan", "run"]

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Whoever watches a run: the terminal, or a test."""

    def started(self, run_id: str, plans: Sequence[StagePlan]) -> None: ...
    def stage_started(self, plan: StagePlan) -> None: ...
    def progress(self, stage: StageName, done: int, total: int, what: str) -> None: ...
    def stage_ended(self, record: dict[str, Any]) -> None: ...


class Unobserved:
    """Watches nothing."""

    def started(self, run_id: str, plans: Sequence[StagePlan]) -> None: ...
    def stage_started(self, plan: StagePlan) -> None: ...
    def progress(self, stage: StageName, done: int, total: int, what: str) -> None: ...
    def stage_ended(self, record: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Selection:
    """The stages that a run is about; the ones before them must be published already."""

    first: StageName = "ingest"
    last: StageName = "report"

    @property
    def stages(self) -> tuple[StageName, ...]:
        return STAGES[STAGES.index(self.first) : STAGES.index(self.last) + 1]


def run(
    config: PipelineConfig,
    *,
    select: Selection | None = None,
    force: Sequence[StageName] = (),
    again: Days | None = None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Run what has to run and skip the rest; returns the run's record (``run.json``).

    Args:
        again: days whose partitions ingest reads again: a backfill.

    Raises:
        LockedError: another run of this pipeline is at work in this store.
        DataRefused, StageFailed, EngineError, StoreError: as the stages do; the record says so.
    """
    select = select or Selection()
    observer = observer or Unobserved()
    store = Store(config.store_path)
    store.check_writable()
    is_tracked = config.tracking.mlflow is not None and "report" in select.stages
    if is_tracked:
        importlib.import_module("pipeline.tracking.check").check_tracking(config)
    with exclusive(store, config.name, "run"):
        for leftover in clear_leftovers(store):
            _log.info("removed what a killed run left: %s", leftover)
        # Stages alone take tables as they were read last.
        reread = "ingest" in select.stages
        plans = {p.stage: p for p in plan(config, force=force, again=again, reread=reread)}
        _require_inputs(config, plans, select)
        if plans["train"].action == "run" and "train" in select.stages:
            importlib.import_module("pipeline.stages.train").check(config)
        log = RunLog(store, config.name)
        observer.started(log.run_id, [plans[stage] for stage in select.stages])
        with _recorded(log):
            _run_stages(config, store, log, plans, select, observer, frozenset(force), again)
        record = log.finish("done")
        if is_tracked:
            _track(config, log, record)
        return record


def _track(config: PipelineConfig, log: RunLog, record: dict[str, Any]) -> None:
    """Note a run that is done; a tracker that fails does not undo it."""
    from pipeline.tracking.track import track

    try:
        tracked = track(config, record)
    except PipelineError as error:
        log.event("tracking_failed", error=error.message)
        _log.warning("the run is done, but: %s", error)
    else:
        log.event("tracked", **asdict(tracked))


@contextmanager
def _recorded(log: RunLog) -> Iterator[None]:
    """Whatever ends the run early is in its record before it travels on."""
    try:
        yield
    except BaseException as error:
        _log.debug("the run failed", exc_info=True)
        if asked() or isinstance(error, KeyboardInterrupt):
            log.finish("interrupted")
        elif isinstance(error, PipelineError):
            log.finish("failed", error=error.message)
        else:
            log.finish("failed", error=f"{type(error).__name__}: {error}")
        raise


def _run_stages(
    config: PipelineConfig,
    store: Store,
    log: RunLog,
    plans: dict[StageName, StagePlan],
    select: Selection,
    observer: Observer,
    force: frozenset[StageName],
    again: Days | None,
) -> None:
    from pipeline.engines.session import Engines

    artifacts = {stage: p.artifact for stage, p in plans.items() if p.artifact is not None}

    def started(name: str, seconds: float) -> None:
        log.event("engine_started", name=name, seconds=round(seconds, 3))

    engines = Engines(
        config.engines,
        app_name=config.name,
        log_folder=log.folder / "engines",
        on_start=started,
        on_stop=lambda name: log.event("engine_stopped", name=name),
    )
    with engines:
        context = StageContext(config, store, engines, log, lambda *_: None, dict(artifacts))
        context.force, context.again = force, again
        for stage in select.stages:
            planned = plans[stage]
            context.progress = partial(observer.progress, stage)
            context.fingerprint = planned.fingerprint
            if planned.action == "skip" and planned.artifact is not None:
                record = _record(planned, planned.artifact.manifest, "skipped", 0.0)
                log.event("stage_skipped", stage=stage, reason=planned.reason)
            else:
                observer.stage_started(planned)
                record = _run_stage(context, planned)
                if record["fingerprint"] != planned.fingerprint:
                    plans = _plan_on(context)
            log.stage(record)
            observer.stage_ended(record)
            _after(context, stage)


def _plan_on(context: StageContext) -> dict[StageName, StagePlan]:
    """Plan again what follows ingest, which found other rows in a table than it had last."""
    found = context.artifacts["ingest"].manifest.inputs
    plans = plan(context.config, force=context.force - {"ingest"}, reread=False, found=found)
    context.artifacts = {p.stage: p.artifact for p in plans if p.artifact is not None}
    return {p.stage: p for p in plans}


def _run_stage(context: StageContext, planned: StagePlan) -> dict[str, Any]:
    stage, log = planned.stage, context.log
    log.event("stage_started", stage=stage, reason=planned.reason)
    _log.info("%s starts: %s", stage, planned.reason)
    started_at, start = utc_now(), time.monotonic()
    module = importlib.import_module(f"pipeline.stages.{stage}")
    log.memory.lap()
    try:
        with working_folder(context.store, stage) as folder:
            outcome: Outcome = module.run(context, folder)
            seconds = round(time.monotonic() - start, 3)
            if outcome.inputs:
                keep = stage not in context.force and context.again is None
                planned = with_found(context.config, planned, outcome.inputs, keep=keep)
            artifact = planned.artifact or publish(
                context.store,
                folder,
                _manifest(planned, context.config.name, outcome, started_at, seconds),
            )
        if outcome.inputs:
            note_found(context.config, context.store, outcome.inputs)
    except PipelineError as error:
        log.event("stage_failed", stage=stage, error=error.message)
        log.stage(_failed(planned, time.monotonic() - start))
        raise
    except Exception as error:
        log.event("stage_failed", stage=stage, error=f"{type(error).__name__}: {error}")
        log.stage(_failed(planned, time.monotonic() - start))
        # Now, for an error of the JVM cannot tell its story once the JVM is gone.
        _log.debug("stage %s failed", stage, exc_info=True)
        raise StageFailed(
            f"stage {stage} failed: {type(error).__name__}: {_gist(error)}",
            hint=f"The traceback is in {log.folder / 'log.txt'}; --debug shows it here.",
        ) from error
    context.artifacts[stage] = artifact
    seconds = round(time.monotonic() - start, 3)
    record = _record(planned, artifact.manifest, "run", seconds)
    record["peak_memory_bytes"] = log.memory.lap()
    log.event("stage_finished", stage=stage, seconds=seconds, rows_out=outcome.rows_out)
    return record


def _gist(error: Exception) -> str:
    """The line of an error that says most: of Java's, the last cause; else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes[-1] if causes else lines[0])[:300]


def _after(context: StageContext, stage: StageName) -> None:
    """What follows a published artifact and is no part of it. Safe to repeat after a crash."""
    if stage == "infer":
        from pipeline.stages.promotion import register_version

        register_version(context)
    if stage == "report":
        keep_report(context.log.folder, context.artifacts["report"].folder / "report.html")


def _manifest(
    planned: StagePlan, pipeline: str, outcome: Outcome, started_at: str, seconds: float
) -> Manifest:
    return Manifest(
        stage=planned.stage,
        fingerprint=planned.fingerprint,
        pipeline=pipeline,
        config=planned.config,
        inputs=planned.inputs,
        code_version=planned.code_version,
        versions=planned.versions,
        files=(),
        started_at=started_at,
        seconds=seconds,
        **{key: value for key, value in asdict(outcome).items() if key != "inputs"},
    )


def _record(planned: StagePlan, manifest: Manifest, action: str, seconds: float) -> dict[str, Any]:
    return {
        "stage": planned.stage,
        "action": action,
        "reason": planned.reason,
        "fingerprint": planned.fingerprint,
        "seconds": seconds,
        "made_in_seconds": manifest.seconds,
        "rows_in": manifest.rows_in,
        "rows_out": manifest.rows_out,
        "rows_quarantined": manifest.rows_quarantined,
        "rows_dropped": dropped_by_filters(manifest),
        "peak_memory_bytes": None,
    }


def _failed(planned: StagePlan, seconds: float) -> dict[str, Any]:
    return {
        "stage": planned.stage,
        "action": "failed",
        "reason": planned.reason,
        "fingerprint": planned.fingerprint,
        "seconds": round(seconds, 3),
        "rows_in": None,
        "rows_out": None,
        "rows_quarantined": None,
        "rows_dropped": None,
        "peak_memory_bytes": None,
    }


def _require_inputs(
    config: PipelineConfig, plans: dict[StageName, StagePlan], select: Selection
) -> None:
    """A stage alone uses what is published; it never runs another one behind one's back."""
    for stage in select.stages:
        for need in SPECS[stage].needs:
            if need not in select.stages and plans[need].action == "run":
                raise StageFailed(
                    f"{stage} needs the artifact of {need}, which is missing or stale: "
                    f"{plans[need].reason}",
                    hint=f"Make it with: pipeline {need} -c {shown_path(config)}",
                )


def shown_path(config: PipelineConfig) -> str:
    """The configuration's file, as short as it can be said here."""
    path = Path(config.file)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
