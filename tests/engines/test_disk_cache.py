"""The disk cache: found by a later process, private, and never run if its contents have changed."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from cotan.cli import main
from cotan.engines.native.llvm import disk_cache
from cotan.engines.native.llvm.jit import machine

PROGRAM = """
import numpy as np, cotan, cotan.numpy as cnp
from cotan.engines.native.llvm.jit import Machine
optimize = Machine.optimize
made = []
Machine.optimize = lambda self, *a, **k: made.append(1) or optimize(self, *a, **k)
f = cotan.jit(cotan.grad(lambda x: cnp.sum(cnp.sin(x) * x)))
assert np.allclose(f(np.ones(100)), np.sin(1.0) + np.cos(1.0))
print(len(made))
"""


def compilations(**variables):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={**os.environ, **variables})
    return int(done.stdout)


def test_a_new_process_compiles_nothing_again(folder):
    assert compilations() > 0
    assert compilations() == 0
    assert compilations(COTAN_CACHE="0") > 0


def test_a_damaged_or_foreign_entry_is_compiled_again(folder):
    assert compilations() > 0
    files = sorted(folder.glob("*.o"))
    for file in files:  # one bit of the code is wrong
        data = bytearray(file.read_bytes())
        data[-100] ^= 1
        file.write_bytes(data)
    assert compilations() == len(files)
    assert compilations() == 0, "the entries were mended"
    contents = [file.read_bytes() for file in files]
    for file, other in zip(files, [*contents[1:], contents[0]], strict=True):  # whole, but the code of another text
        file.write_bytes(other)
    assert compilations() == len(files)
    files[0].write_bytes(b"")
    assert compilations() == 1


def test_entries_are_private(folder):
    disk_cache.store("a" * 64, b"code")
    (file,) = folder.glob("*.o")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600
    assert disk_cache.load("a" * 64) == b"code"
    file.chmod(0o666)
    assert disk_cache.load("a" * 64) is None, "others may have written to it"
    file.chmod(0o600)
    folder.chmod(0o777)
    assert disk_cache.load("a" * 64) is None
    disk_cache.store("b" * 64, b"more")
    assert len(list(folder.glob("*.o"))) == 1


def test_what_was_not_used_for_longest_goes(folder, monkeypatch):
    for k in range(20):
        disk_cache.store(f"{k:064}", bytes(1000))
        os.utime(folder / f"{k:064}.o", (k, k))
    monkeypatch.setenv("COTAN_CACHE_BYTES", "10000")
    assert disk_cache.load(f"{0:064}") is not None  # has been used just now
    disk_cache.shrink(folder)
    kept = {file.stem for file in folder.glob("*.o")}
    assert f"{0:064}" in kept
    assert f"{19:064}" in kept
    assert f"{1:064}" not in kept
    assert sum(file.stat().st_size for file in folder.glob("*.o")) <= 10_000


def test_one_in_many_writers_looks_at_the_size_of_the_folder(folder, monkeypatch):
    looks, shrink = [], disk_cache.shrink
    monkeypatch.setattr(disk_cache, "shrink", lambda path: looks.append(path) or shrink(path))
    monkeypatch.setattr(disk_cache, "_unchecked", disk_cache.STORES_BETWEEN)
    for k in range(3 * disk_cache.STORES_BETWEEN):
        disk_cache.store(f"{k:064}", b"code")
    assert looks == [folder] * 3


def test_looks_at_a_large_folder_are_rare(folder, monkeypatch):
    """The entries that are looked at are few times as many as those that are written."""
    looked, shrink = [], disk_cache.shrink
    monkeypatch.setattr(disk_cache, "shrink", lambda path: looked.append(shrink(path)) or looked[-1])
    monkeypatch.setattr(disk_cache, "_unchecked", 1)
    for k in range(1000):
        disk_cache.store(f"{k:064}", b"code")
    assert sum(looked) <= disk_cache.SHARE_BETWEEN * 1000
    assert len(looked) < 1000 // disk_cache.STORES_BETWEEN


def test_the_bound_holds_while_entries_are_written(folder, monkeypatch):
    monkeypatch.setenv("COTAN_CACHE_BYTES", "100000")
    monkeypatch.setattr(disk_cache, "_unchecked", 1)
    sizes = []
    for k in range(1000):  # some 350 of them fit
        disk_cache.store(f"{k:064}", bytes(200))
        if k % 10 == 0:
            sizes.append(disk_cache.contents().bytes)
    assert 90_000 < max(sizes) <= 115_000


def test_many_writers_leave_whole_entries(folder):
    def write(k):
        for _ in range(50):
            disk_cache.store("c" * 64, bytes([k]) * 5000)
            found = disk_cache.load("c" * 64)
            assert found is None or (len(found) == 5000 and len(set(found)) == 1)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [file.name for file in folder.iterdir()] == ["c" * 64 + ".o"]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COTAN_CACHE_DIR", str(tmp_path / "file" / "below"))
    disk_cache.store("d" * 64, b"code")
    assert disk_cache.load("d" * 64) is None
    assert disk_cache.contents().entries == 0


def test_the_key_depends_on_text_level_and_machine(monkeypatch):
    key = machine().key("text", 3)
    assert key != machine().key("text ", 3)
    assert key != machine().key("text", 1)
    monkeypatch.setattr(machine(), "flags", machine().flags + ",+more")
    assert key != machine().key("text", 3)


def test_the_command_line_shows_and_clears_it(folder, capsys):
    disk_cache.store("e" * 64, bytes(500))
    assert main(["cache", "info"]) == 0
    assert "1 entries" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert disk_cache.contents() == (folder, 0, 0)


def test_code_that_calls_what_is_not_there_is_refused():
    text = "declare void @no_such_function()\ndefine void @f() {\n  call void @no_such_function()\n  ret void\n}\n"
    with pytest.raises(LookupError, match="no_such_function"):
        machine().compile(text, ["f"])
    assert np.sum(np.ones(3)) == 3
