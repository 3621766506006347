"""The IR cache on disk: found by a later process before anything is scheduled, and only for an identical Program."""

import copy
import json
import os
import subprocess
import sys
import time
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.op import REGISTRY
from cotan.core.program import Program
from cotan.core.tracing import type_of
from cotan.core.types import ArrayType, array_type
from cotan.engines.native.cache import fingerprint, program_cache
from cotan.engines.native.cache.fingerprint import UnknowableError, described
from cotan.engines.native.cache.fingerprint import key_of as key_with
from cotan.engines.native.llvm import disk_cache
from cotan.engines.native.options import CodegenOptions
from cotan.engines.native.passes.simplify import simplify
from cotan.engines.native.pipeline import LoweredProgram

PROGRAM = """
import numpy as np, cotan, cotan.numpy as cnp, json
from cotan.engines.native import pipeline
strip_mined, written = pipeline.strip_mined, []
pipeline.strip_mined = lambda *a: written.append(1) or strip_mined(*a)
rng = np.random.default_rng(0)
x, a = rng.normal(size=(40, 40)), rng.normal(size=3)
marks = []
def mark(*results):
    marks.extend(np.asarray(y).tobytes().hex()[:4000] for y in results)
mark(cotan.jit(cotan.grad(lambda x: cnp.sum(cnp.sin(x) * x)))(a))
mark(cotan.jit(cotan.grad(lambda x: cnp.sum(cnp.tanh(x @ x)), argnums=0))(x))
mark(cotan.jit(cotan.grad(lambda x: cnp.sum(cnp.linalg.solve(x, x.T) ** 2)))(x))
mark(cotan.jit(lambda c: cotan.lax.scan(lambda c, _: (c * c + 0.3, c), c, None, length=50))(0.1)[1])
mark(cotan.jit(lambda x: x * 2.0 + 1.0, donate_argnums=0)(x.copy()))
mark(cotan.jit(lambda x: cnp.sort(x * a[0], axis=0))(x))
power = cotan.jit(lambda a, k: cnp.linalg.solve(a, a) * 2**k, engine="native")
try:
    power(np.eye(30), -1)
except ValueError as error:
    marks.append(str(error))
print(json.dumps([len(written), marks]))
"""


def key_of(program, donated, options=CodegenOptions()):  # noqa: B008 - it is frozen
    return key_with(program, donated, options)


def run(**variables):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={**os.environ, **variables})
    return json.loads(done.stdout)


@pytest.fixture
def settled(monkeypatch):
    """The files of cotan, with old modification times."""
    monkeypatch.setattr(fingerprint, "IMPORTED", 1e12)
    fingerprint.surroundings.cache_clear()
    yield
    fingerprint.surroundings.cache_clear()


def program_of(f, *arguments):
    return simplify(cotan.stage(f)(*arguments))[0]


def test_a_new_process_writes_nothing_again_and_gives_the_same_bits(folder):
    wait_for_old_files()
    written, marks = run()
    assert written == 7
    assert "negative integer powers" in marks[-1]
    assert run() == [0, marks]
    for file in folder.glob("*.ll"):
        data = bytearray(file.read_bytes())
        data[-100] ^= 1
        file.write_bytes(data)
    assert run() == [7, marks], "damaged entries are written again"
    assert run() == [0, marks], "and were mended"
    files = sorted(folder.glob("*.ll"))
    contents = [file.read_bytes() for file in files]
    for file, other in zip(files, [*contents[1:], contents[0]], strict=True):
        file.write_bytes(other)
    assert run() == [7, marks], "an entry under another name is none"
    files[0].chmod(0o666)
    assert run() == [1, marks], "others may have written to it"


def wait_for_old_files():
    """Files that were changed just before a process begins are not taken for what it runs."""
    newest = max(changed for _, _, _, changed, _ in fingerprint.files_below(os.path.dirname(cotan.__file__)))
    time.sleep(max(0.0, newest / 1e9 + fingerprint.JUST_NOW + 0.1 - time.time()))


# ---- keys --------------------------------------------------------------------------------------------------------------------------
def others(value):
    """Values of the same kind that are not ``value``."""
    if isinstance(value, bool):
        return [not value, int(value)]
    if isinstance(value, int):
        return [value + 1, float(value), -value - 1]
    if isinstance(value, float):
        return [-value] if np.isinf(value) else [value + 1.0, -value if value == 0 else value * (1 + 2**-52)]
    if isinstance(value, str):
        return [value + "_", None]
    if value is None:
        return [0, "", False]
    if isinstance(value, np.dtype):
        return [np.dtype(t) for t in (np.float32, np.int8) if value != t]
    if isinstance(value, ArrayType):
        return [array_type((*value.shape, 2), value.dtype), array_type(value.shape, value.dtype, not value.weak)]
    if type(value) in (tuple, list):
        changed = [type(value)([*value[:k], other, *value[k + 1 :]]) for k, x in enumerate(value) for other in others(x)[:1]]
        return [*changed, type(value)([*value, 0])]
    if isinstance(value, Program):
        return [Program(value.inputs, value.equations, value.outputs, value.constants, value.name + "_")]
    return []


def examples():
    return [(name, op, operands) for name, kind in REGISTRY.items() for op, operands in kind.examples()]


def test_every_parameter_of_every_op_is_part_of_its_description():
    changed, there = set(), set()
    for name, op, _ in examples():
        known = repr(described(op))
        for parameter in fields(op) if is_dataclass(op) else ():
            there.add((name, parameter.name))
            for other in others(getattr(op, parameter.name)):
                variant = copy.copy(op)
                variant.__dict__[parameter.name] = other
                assert repr(described(variant)) != known, (name, parameter.name, other)
                changed.add((name, parameter.name))
    assert changed == there


def test_numbers_are_described_by_class_and_bits():
    numbers = [0, False, 0.0, -0.0, 0j, -0j, "0", None, np.float64(0.0), np.float32(0.0), np.int64(0), np.nan, -np.nan, (0,), [0], b"0"]
    assert len({repr(described(x)) for x in numbers}) == len(numbers)


def test_examples_with_one_key_have_one_text(settled):
    found: dict[str, dict[str, Program]] = {}
    for _, op, operands in examples():
        program = program_of(lambda *xs, op=op: op(*xs), *operands)
        key = key_of(program, ())
        if key is not None:
            found.setdefault(key, {})[f"{op!r} of {[str(type_of(x)) for x in operands]}"] = program
    assert len(found) > 400
    for alike in found.values():
        assert len({LoweredProgram(program).code.ir for program in alike.values()} if len(alike) > 1 else {""}) == 1, list(alike)


def test_whatever_differs_between_programs_differs_in_their_keys(settled):
    x, y = np.arange(4.0), np.arange(4.0, dtype=np.float32)
    half = np.array(0.5)
    programs = [
        program_of(f, *arguments)
        for f, *arguments in [
            (lambda a: a * 2.0, x),
            (lambda a: a * -2.0, x),
            (lambda a: a * 2.0, y),
            (lambda a: a * 2.0, x[:3]),
            (lambda a: a * 2.0, x.reshape(2, 2)),
            (lambda a: a * half, x),
            (lambda a: a * (half + 2**-53), x),
            (lambda a: a * x, x),
            (lambda a: a * a, x),
            (lambda a: (a * 2.0, a * 3.0), x),
            (lambda a: (a * 3.0, a * 2.0), x),
            (lambda a, b: a - b, x, x),
            (lambda a, b: b - a, x, x),
            (lambda a, b: a - b, x, 1.0),
            (lambda a, b: a - b, x, np.float64(1.0)),
            (lambda a: cotan.lax.scan(lambda c, _: (c * 2.0, None), a, None, length=3)[0], x),
            (lambda a: cotan.lax.scan(lambda c, _: (c * 2.0, None), a, None, length=4)[0], x),
            (lambda a: cotan.lax.scan(lambda c, _: (c * 3.0, None), a, None, length=3)[0], x),
            (lambda a: cotan.lax.cond(a[0] > 0, lambda c: c * 2.0, lambda c: c, a), x),
            (lambda a: cotan.lax.cond(a[0] > 0, lambda c: c, lambda c: c * 2.0, a), x),
        ]
    ]
    keys = [key_of(p, ()) for p in programs] + [key_of(programs[0], (0,))]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key_of(program_of(lambda a: a * 2.0, x + 1.0), ()) == keys[0], "values of inputs are no part of a Program"


def test_the_key_depends_on_settings_processor_and_files(settled, monkeypatch):
    program = program_of(lambda a: a * 2.0, 1.0)
    keys = [key_of(program, ()), key_of(program, (), CodegenOptions(small_array=8))]

    def another():
        fingerprint.surroundings.cache_clear()
        keys.append(key_of(program, ()))

    monkeypatch.setenv("COTAN_SOMETHING", "1")
    another()
    monkeypatch.setattr(fingerprint.machine(), "flags", fingerprint.machine().flags + ",+more")
    another()
    files = fingerprint.source()
    running = {module.__file__ for name, module in list(sys.modules.items()) if name == "cotan" or name.startswith("cotan.")}
    assert running <= {file for file, *_ in files}
    monkeypatch.setattr(fingerprint, "source", lambda: [*files[:-1], (*files[-1][:3], files[-1][3] + 1, files[-1][4])])
    another()
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_there_is_no_key_where_it_is_not_known_what_runs(settled, monkeypatch):
    program = program_of(lambda a: a * 2.0, 1.0)
    assert key_of(program, ()) is not None
    monkeypatch.setenv("COTAN_CHECK", "1")
    assert key_of(program, ()) is None, "a checked build names lines of the user"
    monkeypatch.delenv("COTAN_CHECK")
    newest = max(changed for _, _, _, changed, _ in fingerprint.source()) / 1e9
    monkeypatch.setattr(fingerprint, "IMPORTED", newest - 1.0)
    fingerprint.surroundings.cache_clear()
    assert key_of(program, ()) is None, "a file was changed after it was read"


def test_ops_and_functions_of_users_have_no_key(settled):
    cube = cotan.extend.primitive("cube_of_texts", lambda x: x**3, jvp=lambda p, t: (cube(*p), 3 * p[0] ** 2 * t[0]))
    try:
        assert type(cube).__module__.startswith("cotan."), "by which it is not to be known"
        assert key_of(program_of(cube, 2.0), ()) is None
        with pytest.raises(UnknowableError):
            described((1, lambda x: x))
    finally:
        del REGISTRY["cube_of_texts"]


# ---- entries -----------------------------------------------------------------------------------------------------------------------
def test_an_entry_holds_what_a_call_needs(folder):
    code = LoweredProgram(program_of(lambda a: cnp.linalg.solve(a, a), np.eye(30))).code
    program_cache.store("a" * 64, code)
    known = program_cache.load("a" * 64)
    for name in ("ir", "workspace", "callback_table", "donated_input_of", "unused"):
        assert getattr(known, name) == getattr(code, name), name
    assert known.failures.known == code.failures.known
    assert list(known.failures.routines) == list(code.failures.routines) != []


@pytest.mark.parametrize("change", ["integer", "routine", "error", "symbol", "function", "json"])
def test_an_entry_that_is_not_of_this_process_is_none(folder, change):
    code = LoweredProgram(program_of(lambda a, k: cnp.linalg.solve(a, a) * 2**k, np.eye(30), 1)).code
    program_cache.store("a" * 64, code)
    head, _, text = disk_cache.load("a" * 64, program_cache.KIND).decode().partition("\n")
    content = json.loads(head)
    if change == "integer":
        content["routines"][0][1][2] = "i128"
    elif change == "routine":
        content["routines"][0][0] = "lapack nothing"
    elif change == "error":
        content["failures"][0][0] = "SystemExit"
    elif change == "symbol":
        text = "declare void @cotan_nothing()\n" + text
    elif change == "function":
        text = "declare void @no_such_function()\n" + text
    head = json.dumps(content) if change != "json" else head[:-2]
    disk_cache.store("a" * 64, f"{head}\n{text}".encode(), program_cache.KIND)
    assert program_cache.load("a" * 64) is None


def test_what_calls_back_into_python_is_not_kept(folder):
    double = cotan.extend.primitive("double_of_texts", lambda x: 2.0 * x, linear_in=(0,))
    try:
        code = LoweredProgram(program_of(double, 2.0)).code
    finally:
        del REGISTRY["double_of_texts"]
    assert code.callbacks
    program_cache.store("a" * 64, code)
    assert program_cache.load("a" * 64) is None
