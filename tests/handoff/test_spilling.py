"""Blocks larger than the object store spill and arrive whole, or end the run at a stated limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# A Ray of its own, with a store of 100 MB; in a process of its own, as this one may have another.
SCRIPT = """
import sys
from pipeline.config.engines import EnginesConfig
from pipeline.engines.session import Engines
from pipeline.errors import EngineError
from pipeline.handoff.to_ray import to_ray
from pipeline.handoff.verify import block_checksums, table_checksums
import pyarrow.parquet as pq
from pathlib import Path

folder, spill = Path(sys.argv[1]), sys.argv[2]
ray = {"num_cpus": 1, "object_store_memory": "100m", "spill_dir": spill}
config = EnginesConfig.model_validate({"ray": ray})

def carry(engines, kind):
    files = sorted(map(str, folder.glob(f"{kind}-*.parquet")))
    handed = to_ray(files, columns=None, mode="parquet", engines=engines)
    found = block_checksums(handed.blocks, in_flight=2, watch=engines.spill.check)
    assert found == table_checksums(pq.read_table(file) for file in files)
    return sum(handed.rows)

def limited(engines, limit, kind):
    engines.spill.limit_bytes = limit
    try:
        carry(engines, kind)
    except EngineError as problem:
        print(problem.message, "|", problem.hint)

with Engines(config) as engines:
    limited(engines, 50 << 20, "plain")   # refused by what the footers say
    limited(engines, 50 << 20, "coded")   # they say little, so it is found out on the way
    engines.spill.limit_bytes = None
    print("rows", carry(engines, "plain"))
    print("spilled", engines.spill._spilled() > 50 << 20)
"""


def test_what_does_not_fit_the_store_spills_up_to_the_limit(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1)
    for i in range(6):
        plain = pa.table({"x": numbers.random(6_000_000)})  # 48 MB in the file and in the store
        pq.write_table(plain, tmp_path / f"plain-{i}.parquet", compression="none")
        words = pa.array(["a word of some length " * 4] * 500_000)  # 44 MB, in a file of 1 KB
        pq.write_table(pa.table({"x": words}), tmp_path / f"coded-{i}.parquet")
    spill = tmp_path / "spill"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(spill)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-3000:]
    refused, ended, *rest = run.stdout.splitlines()
    assert "about 284 MiB" in refused and "spill_limit is 50 MiB" in refused
    assert ended.startswith("Ray has spilled ") and "raise engines.ray" in ended
    assert rest == ["rows 36000000", "spilled True"]
    assert list(spill.iterdir()) == []  # nothing is left there
