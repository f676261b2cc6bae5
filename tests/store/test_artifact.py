"""A reader sees a whole artifact or none; damage is found; a lock names its holder."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataRefused, LockedError, StoreError
from pipeline.store import Manifest, Store
from pipeline.store.artifact import clear_leftovers, open_artifact, publish, working_folder
from pipeline.store.fingerprint import HashCache, digest, fingerprint, sha256_file
from pipeline.store.inputs import find_files
from pipeline.store.lock import exclusive
from pipeline.store.runlog import RunLog, find_run, list_runs

PINNED = {
    "stage", "fingerprint", "config", "inputs", "code_version", "versions", "rows_in", "rows_out",
    "rows_quarantined", "files", "metrics", "started_at", "seconds",
}  # fmt: skip


def manifest(fingerprint: str = "f1") -> Manifest:
    return Manifest(
        stage="ingest", fingerprint=fingerprint, pipeline="p", config={}, inputs={},
        code_version="c", versions={}, rows_in=3, rows_out=3, rows_quarantined=0, files=(),
        metrics={}, started_at="2026-01-01T00:00:00+00:00", seconds=1.0,
    )  # fmt: skip


def make(store: Store, fingerprint: str = "f1", rows: int = 3) -> Path:
    with working_folder(store, "ingest") as folder:
        (folder / "t").mkdir()
        pq.write_table(pa.table({"x": list(range(rows))}), folder / "t" / "part-0.parquet")
        return publish(store, folder, manifest(fingerprint)).folder


def test_a_published_artifact_has_the_pinned_keys_and_its_files(tmp_path: Path) -> None:
    folder = make(Store(tmp_path))
    assert folder == tmp_path / "artifacts" / "ingest" / "f1"
    written = json.loads((folder / "manifest.json").read_text())
    assert set(written) >= PINNED
    (entry,) = written["files"]
    assert entry["path"] == "t/part-0.parquet"
    assert entry["rows"] == 3
    assert entry["sha256"] == sha256_file(folder / entry["path"])


def test_an_artifact_without_a_manifest_is_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with working_folder(store, "ingest") as folder:
        (folder / "half.parquet").write_bytes(b"PAR1")
        assert open_artifact(store, "ingest", "f1") is None
        assert not store.artifact("ingest", "f1").exists()
    assert list((tmp_path / "artifacts" / "ingest").iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_found_before_use(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    file = make(store) / "t" / "part-0.parquet"
    before = file.stat()
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[10] ^= 1
    file.unlink() if damage == "remove" else file.write_bytes(
        content[:-1] if damage == "cut" else content
    )
    if damage == "flip":
        import os

        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    artifact = open_artifact(store, "ingest", "f1")
    assert artifact is not None
    assert "t/part-0.parquet" in (artifact.damage() or "")


def test_publishing_again_replaces_the_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store, rows=3)
    make(store, rows=5)
    artifact = open_artifact(store, "ingest", "f1")
    assert artifact is not None
    assert artifact.damage() is None
    assert artifact.manifest.files[0].rows == 5
    assert clear_leftovers(store) == []


def test_leftovers_of_a_killed_run_are_cleared(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "artifacts" / "train" / ".work-abc").mkdir(parents=True)
    assert [p.name for p in clear_leftovers(store)] == [".work-abc"]
    assert clear_leftovers(store) == []


def test_a_moved_artifact_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store).rename(store.artifact("ingest", "f2"))
    with pytest.raises(StoreError, match="the manifest is of ingest f1"):
        open_artifact(store, "ingest", "f2")


HOLD = """
import sys, time
from pathlib import Path
from pipeline.store import Store
from pipeline.store.lock import exclusive
with exclusive(Store(Path(sys.argv[1])), "p", "run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_told_the_holder_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(LockedError, match=f"process {holder.pid}") as caught,
            exclusive(Store(tmp_path), "p", "run"),
        ):
            pass
        assert caught.value.exit_code == 5
        with exclusive(Store(tmp_path), "another", "run"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with exclusive(Store(tmp_path), "p", "run"):
        pass


PARTS = {
    "stage": st.sampled_from(["ingest", "train"]),
    "code_version": st.sampled_from(["a", "b"]),
    "config": st.dictionaries(st.sampled_from("xy"), st.integers(0, 1), max_size=2),
    "inputs": st.dictionaries(st.sampled_from("xy"), st.sampled_from("01"), max_size=2),
    "versions": st.dictionaries(st.sampled_from("xy"), st.sampled_from("01"), max_size=2),
}


@given(st.fixed_dictionaries(PARTS), st.fixed_dictionaries(PARTS))
def test_a_fingerprint_changes_if_and_only_if_something_in_it_does(a: dict, b: dict) -> None:
    assert (fingerprint(**a) == fingerprint(**b)) == (a == b)


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_hashes_are_remembered_until_the_file_changes(tmp_path: Path) -> None:
    store, file = Store(tmp_path / "store"), tmp_path / "a.csv"
    file.write_text("one")
    cache = HashCache(store)
    first = cache.hashes([file])[file]
    cache.save()
    assert HashCache(store).hashes([file])[file] == first == sha256_file(file)
    file.write_text("two!")
    assert HashCache(store).hashes([file])[file] == sha256_file(file) != first


def test_files_are_found_by_name_folder_and_glob_once_each(tmp_path: Path) -> None:
    for name in ("in/b.csv", "in/a.csv", "in/_hidden.csv", "in/deep/c.csv", "x.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = find_files(tmp_path, ("in", "in/*.csv", "x.csv"), "s")
    names = [p.relative_to(tmp_path).as_posix() for p in found if "_hidden" not in p.name]
    assert names == ["in/a.csv", "in/b.csv", "in/deep/c.csv", "x.csv"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"source 's'.*'nothing/\*\.csv'") as caught:
        find_files(tmp_path, ("nothing/*.csv",), "s")
    assert caught.value.exit_code == 3


def test_a_folder_named_like_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    (tmp_path / "x.csv" / "part.csv").write_text("a")
    with pytest.raises(DataRefused, match="named like a file"):
        find_files(tmp_path, ("x.csv",), "s")


def test_a_read_only_store_is_found_before_work_starts(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(blocked / "store").check_writable()


def test_a_run_is_recorded_and_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    log = RunLog(store, "p")
    log.event("stage_started", stage="ingest", reason="line\nbreak \x1b[31m")
    log.finish("done")
    events = (log.folder / "events.jsonl").read_text().splitlines()
    assert [json.loads(e)["event"] for e in events] == ["stage_started", "run_finished"]
    assert find_run(store, "latest")["status"] == "done"
    assert find_run(store, log.run_id[:10])["run_id"] == log.run_id


def test_a_run_whose_process_is_gone_reads_as_killed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    log = RunLog(store, "p")
    path = log.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": 2**22 + 1}))
    log.memory.stop()
    assert [run["status"] for run in list_runs(store)] == ["killed"]


def test_manifests_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest().stage = "train"
