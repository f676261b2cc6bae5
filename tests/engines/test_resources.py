"""The resource plan: neither engine starves the other, on any machine that can run both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.engines import EnginesConfig
from pipeline.engines.resources import (
    GIB,
    MIB,
    Machine,
    parse_bytes,
    plan_resources,
    preflight,
    shortfall,
    spark_size,
    this_machine,
)
from pipeline.errors import EngineError

CORES = st.integers(1, 256)
MEMORY = st.integers(4 * GIB, 4096 * GIB)


def config(spark: dict[str, Any] | None = None, ray: dict[str, Any] | None = None) -> EnginesConfig:
    return EnginesConfig.model_validate({"spark": spark or {}, "ray": ray or {}})


@given(CORES, MEMORY, st.sampled_from(["ray", "local[*]", "spark://h:7077"]))
def test_defaults_fit_every_machine(cores: int, memory: int, master: str) -> None:
    plan = plan_resources(config({"master": master}), cores, memory, memory // 2)
    machine = Machine(cores, memory, memory // 2)
    assert shortfall(plan, machine) is None
    # A quarter and more is left for Python: Ray's workers, Spark's and the driver.
    assert plan.heap_bytes + plan.object_store_bytes <= 0.75 * memory
    assert plan.object_store_bytes <= machine.shm_bytes
    assert plan.ray_cpus == cores
    assert 1 <= plan.executor_cores <= cores
    assert plan.driver_memory_bytes >= 512 * MIB


@given(CORES, MEMORY, st.integers(1, 16))
def test_executors_share_the_cores_and_ray_can_book_their_heaps(
    cores: int, memory: int, executors: int
) -> None:
    plan = plan_resources(config({"executors": executors}), cores, memory, memory)
    assert plan.executors * plan.executor_cores <= max(cores, executors)
    assert plan.ray_memory_bytes >= plan.executors * plan.executor_memory_bytes


@given(CORES, MEMORY)
def test_local_spark_has_one_heap_and_no_executors(cores: int, memory: int) -> None:
    plan = plan_resources(config({"master": "local[2]"}), cores, memory, memory)
    assert (plan.executors, plan.executor_memory_bytes) == (0, 0)
    assert plan.heap_bytes == plan.driver_memory_bytes


def test_what_the_configuration_states_is_kept() -> None:
    stated = config(
        {
            "executors": 2,
            "executor_cores": 3,
            "executor_memory": "1g",
            "driver_memory": "700m",
            "shuffle_partitions": 5,
        },
        {"num_cpus": 7, "object_store_memory": "300m"},
    )
    plan = plan_resources(stated, 4, 16 * GIB, 8 * GIB)
    assert (plan.executors, plan.executor_cores, plan.shuffle_partitions) == (2, 3, 5)
    assert (plan.executor_memory_bytes, plan.driver_memory_bytes) == (GIB, 700 * MIB)
    assert (plan.ray_cpus, plan.object_store_bytes) == (7, 300 * MIB)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"spark": {"executor_memory": "9g"}}, "Spark's heaps .* need .* may be booked"),
        ({"ray": {"object_store_memory": "5g"}}, "object store needs 5.0 GiB .* has 4.0 GiB"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_in_one_line(asked: dict[str, Any], words: str) -> None:
    machine = Machine(2, 8 * GIB, 4 * GIB)
    plan = plan_resources(EnginesConfig.model_validate(asked), 2, 8 * GIB, 4 * GIB)
    with pytest.raises(EngineError, match=words) as refusal:
        preflight(plan, machine)
    assert "\n" not in refusal.value.message


@given(st.integers(1, 10**6))
def test_sizes_survive_the_way_to_spark_and_back(mebibytes: int) -> None:
    assert parse_bytes(spark_size(mebibytes * MIB)) == mebibytes * MIB


def test_this_machine_has_something_to_run_on() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_bytes > 0
