"""Start Ray inside this run, or join a cluster that runs already."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.engines import RayConfig
from pipeline.engines.deadline import deadline, stdout_to_stderr
from pipeline.engines.resources import Machine, ResourcePlan
from pipeline.errors import EngineError
from pipeline.interrupts import kept_handlers, noticed

LOOPBACK = "127.0.0.1"

# scikit-learn and BLAS start one thread a core in every worker; n workers on n cores then run n*n
# threads. A task books one CPU unless it says otherwise, so one thread each is the right number;
# a task that books more raises its own limit (threadpoolctl).
_ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    )
}

_EMBEDDED_ENVIRONMENT = {
    **_ONE_THREAD,
    "RAY_USAGE_STATS_ENABLED": "0",
    # Despite its name, 0 means on every system: one node, all of its servers on loopback. Without
    # it Ray replaces 127.0.0.1 by the machine's address and listens on all interfaces.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Ray restarts a task that ran out of memory for ever; three tries tell as much.
    "RAY_task_oom_retries": "3",
}


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A Ray cluster that this process is connected to."""

    address: str
    embedded: bool
    client: bool
    dashboard_url: str | None
    logs: Path | None


def start_ray(
    config: RayConfig,
    plan: ResourcePlan,
    scratch: Path,
    timeout_seconds: float,
    spill_folder: Path | None = None,
) -> RayCluster:
    """Start an embedded Ray sized by ``plan``, or join ``config.address``.

    Args:
        config: the address, or what an embedded Ray shall be like.
        plan: sizes of an embedded Ray.
        scratch: folder for an embedded Ray's sockets, logs and, by default, spilled objects.
        timeout_seconds: limit on the whole start.
        spill_folder: where an embedded Ray spills objects instead.

    Raises:
        EngineError: Ray did not start or could not be reached within ``timeout_seconds``.
    """
    what = f"joining Ray at {config.address}" if config.address else "starting Ray"
    hint = (
        "check engines.ray.address, that the cluster runs (ray status) and its token"
        if config.address
        else f"see the logs under {scratch}, or raise engines.start_timeout_seconds"
    )
    options = (
        _join_options(config)
        if config.address
        else _embedded_options(config, plan, scratch, spill_folder)
    )
    environment = {} if config.address else _EMBEDDED_ENVIRONMENT
    if config.address:
        show_token()
    try:
        with (
            deadline(timeout_seconds, what, hint),
            stdout_to_stderr(),
            _environment(environment),
            _loopback_only(config.address is None),
            _no_dashboard(config.address is None and not config.dashboard),
            kept_handlers(),
            _kept_sigterm(),
        ):
            _knock(config.address, timeout_seconds)
            return _connect(config, options)
    except EngineError:
        stop_ray()
        raise
    except Exception as problem:  # Ray raises half a dozen kinds here, some of them bare
        stop_ray()
        raise EngineError(f"{what} failed: {problem}", hint=hint) from problem
    except BaseException:  # interrupted half way
        stop_ray()
        raise


def show_token() -> None:
    """Show the cluster its token, if this user has one and did not say otherwise.

    ``ray start`` of Ray 2.59 and later asks for the token in ``~/.ray/auth_token``, but a program
    that joins shows it only when told to; the JVMs of RayDP join too, hence the environment.
    """
    kept = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    if "RAY_AUTH_TOKEN" in os.environ or kept.is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def stop_ray() -> None:
    """Disconnect; an embedded Ray and everything in it ends with that."""
    import ray

    noticed()  # also where a start that was interrupted raised something else
    with kept_handlers(), stdout_to_stderr():
        ray.shutdown()


def node_memory() -> tuple[list[int], list[int]]:
    """Memory that each node has for tasks and actors, and what of it is free now, in bytes."""
    import ray
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return (
        [int(node["Resources"].get("memory", 0)) for node in nodes],
        [int(free.get(node["NodeID"], {}).get("memory", 0)) for node in nodes],
    )


def object_store_bytes() -> int:
    """What the object stores of all nodes hold in memory, in bytes."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return int(sum(node.get("object_store_memory", 0) for node in nodes))


def weakest_node() -> Machine:
    """What every node of the joined cluster has at least: cores, memory and object store."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    working = [node for node in nodes if node.get("CPU", 0) >= 1]
    if not working:
        raise EngineError(
            "the Ray cluster has no node with a CPU", hint="start a worker node, or wait for one"
        )
    return Machine(
        cores=int(min(node["CPU"] for node in working)),
        memory_bytes=int(min(node.get("memory", 0) for node in working)),
        shm_bytes=int(min(node.get("object_store_memory", 0) for node in working)),
    )


def shipped_environment(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The ``runtime_env`` for a cluster whose workers may lack this package.

    Inside ``ray job submit`` Ray refuses a key that the job has set already, so those are left out.
    """
    import pipeline

    package = str(Path(pipeline.__file__).parent)
    wanted: dict[str, Any] = {"py_modules": [package], "env_vars": dict(_ONE_THREAD)}
    submitted = json.loads(environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}") or "{}")
    taken = submitted.get("runtime_env") or {}
    if taken.get("working_dir"):
        taken = {**taken, "py_modules": []}  # the job's own folder brings the package
    return {key: value for key, value in wanted.items() if key not in taken}


def _knock(address: str | None, timeout_seconds: float) -> None:
    """Open a connection to ``host:port`` and close it.

    Where nobody answers, ``ray.init`` retries for minutes inside a call that no signal ends.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout_seconds).close()


def _connect(config: RayConfig, options: dict[str, Any]) -> RayCluster:
    import ray

    context = ray.init(**options)
    client = bool(config.address and config.address.startswith("ray://"))
    info = {} if client else dict(context.address_info)
    session = info.get("session_dir")
    return RayCluster(
        address=str(info.get("gcs_address") or config.address),
        embedded=config.address is None,
        client=client,
        dashboard_url=context.dashboard_url or None,
        logs=Path(session) / "logs" if session and config.address is None else None,
    )


def _embedded_options(
    config: RayConfig, plan: ResourcePlan, scratch: Path, spill_folder: Path | None
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "address": "local",
        "num_cpus": plan.ray_cpus,
        "object_store_memory": plan.object_store_bytes,
        "include_dashboard": config.dashboard,
        "dashboard_host": LOOPBACK,
        "_node_ip_address": LOOPBACK,
        "_memory": plan.ray_memory_bytes,
        "_temp_dir": str(scratch),
        **_quiet_options(),
    }
    if spill_folder is not None:
        options["object_spilling_directory"] = str(spill_folder)
    return options


def _join_options(config: RayConfig) -> dict[str, Any]:
    return {
        "address": config.address,
        "runtime_env": shipped_environment(),
        **_quiet_options(),
    }


def _quiet_options() -> dict[str, Any]:
    # Workers' prints stay in their log files; failures carry their own text to the driver.
    return {"log_to_driver": False, "logging_level": logging.ERROR}


@contextlib.contextmanager
def _loopback_only(wanted: bool) -> Iterator[None]:
    """Ray reads RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER at import; say it to one imported before."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not wanted
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _no_dashboard(wanted: bool) -> Iterator[None]:
    """Without ``include_dashboard`` Ray starts its process all the same, only without the pages.

    Nothing in this process asks it for anything: it costs seconds of the start and 150 MB.
    """
    from ray._private import services

    starts = services.start_api_server
    if wanted:
        services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        services.start_api_server = starts


@contextlib.contextmanager
def _kept_sigterm() -> Iterator[None]:
    """Keep Ray from taking SIGTERM for itself, not even while it starts: the program would end
    with code 15 and without a word."""
    from ray._private import utils

    takes_sigterm = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = takes_sigterm


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that Ray's processes inherit; this process gets its own back afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
