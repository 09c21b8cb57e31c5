"""Store: files are whole or as they were, and a directory holds one search."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from file_limits import limited_files

from tuning import search
from tuning.settings import SearchSettings
from tuning.store import layout
from tuning.store.files import (
    MAX_JSON_BYTES,
    StoreError,
    WriteError,
    read_json,
    write_bytes,
    write_csv,
    write_json,
)
from tuning.store.layout import Store
from tuning.store.lock import locked, wait_until_left
from tuning.store.records import FORMAT

USE = """
import sys, time
from tuning.store import lock
from tuning.store.layout import Store
with getattr(lock, sys.argv[2])(Store(sys.argv[1])):
    print(sys.argv[2], flush=True)
    time.sleep(60)
"""


def names_in(folder):
    """Return the names of a folder's files, hidden ones too."""
    return sorted(file.name for file in folder.iterdir())


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A file is flushed to the disk whole, and only then takes the old one's place."""
    file, steps = tmp_path / "file", []
    file.write_text("old")
    fsync, replace = os.fsync, Path.replace

    def flushed(descriptor):
        steps.append(("fsync", os.fstat(descriptor).st_size, file.read_text()))
        fsync(descriptor)

    def renamed(part, target):
        steps.append(("replace", part.stat().st_size, target.read_text()))
        return replace(part, target)

    monkeypatch.setattr("os.fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    write_bytes(file, b"newer")
    assert steps == [("fsync", 5, "old"), ("replace", 5, "old")]
    assert file.read_text() == "newer"


def test_writes_json_that_it_reads(tmp_path):
    """What is written as JSON is read back equal, and nothing else is left."""
    value = {"a": [1, 2.5, None, True], "ü": "text"}
    write_json(tmp_path / "deep" / "file.json", value)
    assert read_json(tmp_path / "deep" / "file.json") == value
    assert names_in(tmp_path / "deep") == ["file.json"]


def test_a_failing_write_leaves_the_old_file(tmp_path):
    """If the disk takes no more, the old file stays whole and no part is left."""
    file = tmp_path / "file.json"
    write_json(file, {"old": 1})
    with (
        limited_files(1000),
        pytest.raises(
            WriteError, match=r"\[Errno 27\] File too large: '.*/file\.json'"
        ),
    ):
        write_bytes(file, b"x" * 100_000)
    assert read_json(file) == {"old": 1}
    assert names_in(tmp_path) == ["file.json"]


def test_what_cannot_be_json_leaves_the_old_file(tmp_path):
    """A value that is no plain data is refused before the file is touched."""
    write_json(tmp_path / "file.json", 1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "file.json", {"a": object()})
    assert read_json(tmp_path / "file.json") == 1


def test_a_file_that_cannot_be_replaced_leaves_no_part(tmp_path):
    """If the last step fails, the temporary file is removed."""
    (tmp_path / "name").mkdir()
    with pytest.raises(WriteError, match="directory"):
        write_bytes(tmp_path / "name", b"content")
    assert names_in(tmp_path) == ["name"]


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe\x00", b"[" * 100_000])
def test_damaged_json_is_refused(content, tmp_path):
    """A file that is cut off or no text raises ValueError; a missing one its own."""
    file = tmp_path / "search.json"
    with pytest.raises(FileNotFoundError, match=r"search\.json"):
        read_json(file)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"Expecting|decode|recursion"):
        read_json(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(ValueError, match=r"Is a directory.*search\.json"):
        read_json(file)


def test_a_huge_file_is_not_read(tmp_path):
    """A file that is larger than any of a search is refused by its size."""
    with (tmp_path / "file.json").open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(ValueError, match="it is larger than"):
        read_json(tmp_path / "file.json")


def test_csv_holds_every_column(tmp_path):
    """Rows with different keys give one table; what a row lacks stays empty."""
    write_csv(tmp_path / "t.csv", [{"a": 1}, {"b": "x,y", "a": None}])
    assert (tmp_path / "t.csv").read_text() == 'a,b\n1,\n,"x,y"\n'


def test_lock_refuses_another_process_until_it_is_killed(tmp_path):
    """A directory in use is refused; a killed holder leaves it free."""
    store = Store(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", USE, str(tmp_path), "locked"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "locked\n"
        with (
            pytest.raises(StoreError, match=rf"received {tmp_path}, where another is"),
            locked(store),
        ):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    with locked(store):
        pass


def test_waits_until_the_processes_of_an_earlier_run_are_gone(tmp_path):
    """A worker that outlives its search keeps the next one waiting, not for ever."""
    store = Store(tmp_path)
    (tmp_path / "trial_0").mkdir()
    parts = [tmp_path / ".trial.json.part-abc", tmp_path / "trial_0" / ".t.part-xy"]
    for part in parts:
        part.write_text("{")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", USE, str(tmp_path), "joined"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "joined\n"
        with pytest.raises(StoreError, match=rf"received {tmp_path}, which some of an"):
            wait_until_left(store, timeout_s=0.3)
        assert all(part.exists() for part in parts)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stdout.close()
    wait_until_left(store, timeout_s=0.3)
    assert not any(part.exists() for part in parts)


def test_lock_is_free_after_use(tmp_path):
    """A lock can be taken again, also after an error inside."""
    store = Store(tmp_path)
    with pytest.raises(KeyError, match="inside"), locked(store):
        raise KeyError("inside")
    with locked(store):
        pass


@pytest.mark.parametrize("name", ["oracle.json", "trial_0/point.json"])
def test_refuses_what_version_0_1_wrote(tmp_path, name):
    """A search of the version before is refused with one sentence and the remedy."""
    write_json(tmp_path / name, {})
    match = (
        r"^The search directory must be of this version's making; received "
        rf"{tmp_path}, whose search version 0\.1 wrote\. Finish it with that version, "
        r"or choose another with --directory\.$"
    )
    for refuse in (Store(tmp_path).create, Store(tmp_path).check_version):
        with pytest.raises(StoreError, match=match):
            refuse()
    (tmp_path / name).unlink()
    Store(tmp_path).create()


@pytest.mark.parametrize("name", ["search.json", "trial_0/trial.json"])
def test_refuses_what_another_version_wrote(tmp_path, name):
    """A whole file of another format is refused, not set aside as damaged."""
    write_json(tmp_path / name, {"format": 3})
    match = rf"received {tmp_path / name}, which has format 3, not 2\. Use the version"
    for refuse in (Store(tmp_path).create, Store(tmp_path).check_version):
        with pytest.raises(StoreError, match=match):
            refuse()
    assert read_json(tmp_path / name) == {"format": 3}
    for content in ("{", "[1]", '{"format": 2}', "{}"):
        (tmp_path / name).write_text(content)
        Store(tmp_path).check_version()


def test_a_search_states_the_format_of_the_records(tmp_path, monkeypatch):
    """search.json has the format that the check compares with."""
    monkeypatch.setattr(search, "FORMAT", FORMAT + 1)
    search.write_settings(SearchSettings(), Store(tmp_path))
    with pytest.raises(StoreError, match=r"search\.json, which has format 3, not 2"):
        Store(tmp_path).check_version()


def test_the_check_of_the_version_reads_three_files_at_most(tmp_path, monkeypatch):
    """Of many trials, the first and the last are checked: `status` stays fast."""
    read, store = [], Store(tmp_path)
    for name in map(str, range(12)):
        write_json(store.trial_file(name), {"format": FORMAT})
    monkeypatch.setattr(layout, "read_json", read.append)
    store.check_version()
    assert read == [store.settings_file, store.trial_file("0"), store.trial_file("11")]
    write_json(store.trial_file("11"), {"format": FORMAT + 1})
    monkeypatch.undo()
    with pytest.raises(StoreError, match=r"trial_11/trial\.json, which has format 3"):
        store.check_version()


@pytest.mark.parametrize("path", ["file/search", "file"])
def test_refuses_a_directory_that_cannot_be_made(path, tmp_path):
    """A path that cannot be a directory is refused, with the remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=rf"received {tmp_path / path}: .*--directory"):
        Store(tmp_path / path).create()


def test_refuses_a_directory_that_cannot_be_written():
    """A directory where no file can be made is refused, root or not."""
    with pytest.raises(StoreError, match=r"must be writable; received /proc/self"):
        Store("/proc/self").create()


def test_discards_only_what_is_unused(tmp_path):
    """A directory is removed if no search began in it, and kept with other files."""
    unused, used, foreign = (Store(tmp_path / n) for n in ("unused", "used", "foreign"))
    for store in (unused, used, foreign):
        store.create()
        store.native_log_file.write_text("messages")
    write_json(used.settings_file, {})
    (foreign.root / "notes.txt").write_text("mine")
    for store in (unused, used, foreign):
        store.discard_if_unused()
    assert not unused.root.exists()
    assert used.native_log_file.exists()
    assert names_in(foreign.root) == ["notes.txt"]


def test_lists_trials_in_order(tmp_path):
    """Trials are those with a record, in the order of their ids."""
    store = Store(tmp_path)
    for trial in ("02", "00", "01"):
        write_json(store.trial_file(trial), {})
    (tmp_path / "trial_03").mkdir()
    for name in ("trial_x", "trial_-1", "trial_", "trial_1\n", "trial_1234567890"):
        write_json(tmp_path / name / "trial.json", {})
    assert store.trial_ids() == ["00", "01", "02"]


def test_layout_is_documented():
    """Every name in the module's table of the layout is one that Store uses."""
    store = Store("/search")
    files = {
        store.settings_file,
        store.results_file,
        store.best_model_file,
        store.best_hyperparameters_file,
        store.trial_file("03"),
        store.weights_file("03"),
        store.checkpoint_file("03"),
        store.error_file("03"),
    }
    listed = {
        line.split()[0]
        for line in (layout.__doc__ or "").splitlines()[2:]
        if line.strip()
    }
    assert {str(file.relative_to("/search")) for file in files} == listed


def test_files_of_a_ray_that_was_killed_are_removed(tmp_path):
    """The next run removes the folder that the last one noted, and no other."""
    store = Store(tmp_path / "s")
    store.create()
    ours = Path(tempfile.mkdtemp(prefix="alexnet-", dir="/tmp"))
    others = tmp_path / "alexnet-other"
    others.mkdir()
    for folder in (f"{ours}/../..{others}", others, ours):
        assert ours.exists()
        store.ray_file.write_text(str(folder))
        wait_until_left(store)
        assert not store.ray_file.exists()
    assert (ours.exists(), others.exists()) == (False, True)


def test_files_have_the_permissions_that_people_chose(tmp_path):
    """What is written is as open as the umask of the process lets it be."""
    script = (
        "import pathlib\n"
        "from tuning.store.files import write_bytes\n"
        "write_bytes(pathlib.Path('f'), b'')"
    )
    for umask, mode in ((0o077, 0o600), (0o022, 0o644)):
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
            umask=umask,
            check=True,
        )
        assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode
