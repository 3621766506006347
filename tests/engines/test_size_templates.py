"""Size templates: one compilation serves all IR that differs in sizes only, and agrees with code for the exact size."""

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines.native.cache.size_templates import Template, Templates, skeleton_hash, slot_value, split_ir
from cotan.engines.native.llvm.jit import Machine


@pytest.fixture
def compilations(monkeypatch):
    count = []
    unchanged = Machine.link
    monkeypatch.setattr(Machine, "link", lambda self, text, *a, **k: count.append(text) or unchanged(self, text, *a, **k))
    return count


def waves(x):
    return cnp.sum(cnp.sin(x) * cnp.exp(-(x**2)) + cnp.tanh(x)) / x.size


FUNCTIONS = {
    "waves": (cotan.value_and_grad(waves), lambda n: (n,)),
    "slices": (lambda x: cnp.concatenate([x[1:] - x[:-1], x[::-1], cnp.pad(x, 2)]), lambda n: (n,)),
    "rows": (cotan.grad(lambda x: cnp.sum(cnp.log(cnp.sum(cnp.exp(x), axis=1)))), lambda n: (7, n)),
    "products": (lambda x: cnp.tanh(x @ x.T) @ x, lambda n: (40, n)),
    "threads": (cotan.value_and_grad(waves), lambda n: (50_000 + n,)),
    "scan": (lambda x: cotan.lax.scan(lambda c, y: (c * 0.5 + y, c), 0.0, x)[1], lambda n: (n,)),
}


@pytest.mark.filterwarnings("ignore::cotan.RecompilationWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_hundred_lengths_cost_few_compilations(name, compilations):
    f, shape = FUNCTIONS[name]
    dynamic, exact = cotan.jit(f), cotan.jit(f, dynamic_sizes=False)
    rng = np.random.default_rng(0)
    lengths = range(401, 701, 3)
    for n in lengths:
        x = rng.normal(size=shape(n))
        found = dynamic(x)
        if n % 41 == 0:
            before = len(compilations)
            for a, b in zip(cotan.tree.leaves(found), cotan.tree.leaves(exact(x)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
            del compilations[before:]
    assert len(compilations) <= 8


def test_dynamic_sizes_true_needs_two_sizes(compilations):
    f = cotan.jit(lambda x: cnp.sinh(x) * 3.25, dynamic_sizes=True)
    for n in (1000, 1010, 1020, 1040, 1080):
        np.testing.assert_allclose(f(np.full(n, 0.5)), np.full(n, np.sinh(0.5) * 3.25), rtol=1e-14)
    assert len(compilations) == 2


def test_a_text_is_its_skeleton_and_numbers():
    text = """define void @f(i64 %v1) {
start:
  %v2 = add i64 %v1, 12
  %v3 = fmul double %v9, 0x4000000000000000
  %v4 = alloca [3 x double]
}"""
    cut = split_ir(text)
    assert cut.numbers == ("12", "0x4000000000000000")
    assert cut.types == ("i64", "double")
    assert "[3 x double]" in cut.skeleton
    filled = iter(cut.numbers)
    assert "".join(c if c != "\0" else next(filled) for c in cut.skeleton) == text


def text_of(n, m):
    return f"""define i32 @main(ptr %v1) {{
entry:
  br label %start
start:
  %v2 = add i64 {n}, {m}
  %v3 = mul i64 %v2, {n}
  ret i32 0
}}"""


def test_a_template_serves_only_texts_that_agree_in_all_else():
    template = Template([split_ir(text_of(5, 1)), split_ir(text_of(6, 1))], "%v1", 0)
    assert template.count == 1
    assert template.slots(split_ir(text_of(7, 1))) == [7]
    assert template.slots(split_ir(text_of(7, 2))) is None, "the other number is a constant of the template"
    unequal = text_of(7, 1).replace("%v2, 7", "%v2, 8")
    assert template.slots(split_ir(unequal)) is None, "the two numbers have always been equal"
    assert template.ir().count("load i64") == 1


@pytest.mark.parametrize("counts", [None, True])
def test_texts_of_one_skeleton_have_one_outline_and_none_is_taken_apart_alone(monkeypatch, counts):
    texts = [text_of(n, 1) for n in (5, -6, 712, 8)]
    other = text_of(5, 1).replace("mul", "sub")
    assert len({skeleton_hash(text) for text in texts}) == 1
    assert skeleton_hash(other) != skeleton_hash(texts[0])
    taken_apart, made = [], []
    monkeypatch.setattr("cotan.engines.native.cache.size_templates.split_ir", lambda text: taken_apart.append(text) or split_ir(text))
    templates = Templates()

    def place(text, dynamic=counts):
        return templates.code_for(text, "%v1", 0, lambda text: made.append(text) or len(made), dynamic)

    assert place(texts[0]) == (1, ())
    assert place(other) == (2, ())
    assert taken_apart == []
    later = [place(text) for text in texts[1:]]
    assert later == ([(3, ()), (4, (712,)), (4, (8,))] if counts is None else [(3, (-6,)), (3, (712,)), (3, (8,))])
    assert place(texts[0]) == (1, ())
    assert place(text_of(9, 1), False) == (len(made), ()), "exact sizes are asked for"


def test_words_are_read_as_the_numbers_they_stand_for():
    assert slot_value("-3", "i64") == -3
    assert np.int64(slot_value("0x3FF8000000000000", "double")).view(np.float64) == 1.5
    assert np.int64(slot_value("0x3FF8000000000000", "float")).astype(np.int32).view(np.float32) == 1.5


def test_the_same_text_is_compiled_once():
    made = []
    templates = Templates()
    for _ in range(3):
        place = templates.code_for(text_of(5, 1), "%v1", 0, lambda text: made.append(text) or len(made))
        assert place == (1, ())
    assert len(made) == 1


@pytest.mark.parametrize("choice", ["yes", 1, 0, 2.0, np.zeros(2)])
def test_dynamic_sizes_is_true_false_or_none(choice):
    with pytest.raises(cotan.errors.ArgumentError, match="dynamic_sizes"):
        cotan.jit(lambda x: x, dynamic_sizes=choice)
