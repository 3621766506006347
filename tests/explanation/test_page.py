"""The page of an explanation, in a real Chromium."""

import functools
import importlib.util
import os
import shutil
import threading
import time
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from cotan import ShapeDtypeStruct, explain, grad, jit, lax, pure_callback
from cotan.core.errors import MissingRuleError
from cotan.core.op import REGISTRY
from cotan.core.tracing import type_of
from cotan.explanation.formulas import rule_of
from cotan.explanation.graph import kernels_of, short
from cotan.explanation.mathml import mathml
from cotan.explanation.page import flattened, page_of
from cotan.explanation.serve import PageServer

AXE = Path(importlib.util.find_spec("axe_playwright_python").origin).with_name("axe.min.js").read_text(encoding="utf-8")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        reason = "there is no Chromium (Debian: apt-get install chromium)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


GONE = ("net::ERR_CONNECTION_", "ERR_SOCKET_NOT_CONNECTED")
"""A served page asks whether it has changed, also when the test has just stopped the server."""


@pytest.fixture
def page(browser):
    """A tab, which asks no network for anything and has nothing to complain of."""
    page = browser.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()
    assert [
        text
        for text in complaints
        if not text.startswith("Blocked script execution in 'about:srcdoc'") and not any(x in text for x in GONE)
    ] == []
    assert [url for url in requests if not url.startswith(("file:", "about:", "http://127.0.0.1:"))] == []


# ---- pages -------------------------------------------------------------------------------------------------------------------
def sigmoid(z):
    e = np.exp(-z)
    return 1 / (1 + e)


def loss(w, x, y):
    z = x @ w
    p = sigmoid(z)
    r = p - y
    return np.mean(r**2)


def recurrent(w, h, xs):
    def step(h, x):
        h = np.tanh(w @ h)
        return h * x, h.sum()

    h, ys = lax.scan(step, h, xs)
    return np.sum(h) + np.sum(ys**2)


@jit
def inner(x):
    return np.sin(x) * x


def nested(x):
    return inner(inner(x)) + np.exp(x)


def singular(a):
    u, s, _ = np.linalg.svd(a)
    return s[0] - s[-1] + u[0, 0]


def softmax(x, w):
    e = np.exp(x)
    s = e / np.sum(e, axis=1, keepdims=True)
    z = np.tanh(s @ w)
    return np.mean(z**2)


def helper(x, w):
    a = np.sin(x) * w
    return a + x


def unrolled(x, w, steps):
    for _ in range(steps):
        a = np.tanh(x)
        x = helper(a, w)
    return helper(x, a)


PAGES = {
    "gradient": lambda: explain(loss, np.ones(3), np.ones((5, 3)), np.ones(5)),
    "scan": lambda: explain(recurrent, np.ones((3, 3)), np.ones(3), np.ones((4, 3))),
    "nested": lambda: explain(nested, 1.0),
    "svd": lambda: explain(singular, np.ones((3, 3))),
    "vmap": lambda: explain(loss, np.ones((2, 3)), np.ones((2, 5, 3)), np.ones((2, 5)), transform="vmap"),
    "hessian": lambda: explain(loss, np.ones(3), np.ones((5, 3)), np.ones(5), transform="hessian"),
    "linearize": lambda: explain(loss, np.ones(3), np.ones((5, 3)), np.ones(5), transform="linearize"),
    "large": lambda: explain(lambda x, w: unrolled(x, w, 63), 1.0, 2.0),
}


def nested_loops(x):
    def inner(c, u):
        c = np.sin(c) * u
        return c, c

    def step(c, u):
        c, ys = lax.scan(inner, c, np.ones(3) * u)
        return c + np.sum(ys), ys

    c, ys = lax.scan(step, x, np.arange(3.0))
    return c * np.sum(ys)


WIDE = {"nested loops": lambda: explain(nested_loops, 1.0, transform="hessian")}
"""Lines with many types."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The address of a page, by its name."""
    folder = tmp_path_factory.mktemp("pages")

    @functools.cache
    def save(name):
        path = folder / f"{name}.html"
        (PAGES | WIDE)[name]().save(path)
        return path.as_uri()

    return save


def texts(page, selector):
    return [text.strip() for text in page.locator(selector).all_text_contents()]


# ---- it stands alone ---------------------------------------------------------------------------------------------------------
def test_a_page_needs_nothing_but_its_file(page, saved):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(saved("gradient"))
    assert page.title().startswith("grad of loss")
    assert requests == [saved("gradient")]


@pytest.mark.parametrize("name", ["gradient", "large"])
@pytest.mark.parametrize("allowed", ["allow-scripts", ""])
def test_a_page_works_in_a_sandboxed_frame(page, allowed, name):
    """Without scripts, too, the lines of a small page can be read, and the folds of a large one."""
    e = PAGES[name]()
    page.set_content(f'<iframe sandbox="{allowed}" srcdoc="{escape(page_of(e))}" width="1000" height="800"></iframe>')
    frame = page.frame_locator("iframe")
    assert frame.locator("h1").inner_text().startswith("grad of")
    if name == "large":
        fold = frame.locator("#side .fold").first
        assert not fold.locator(".row").first.is_visible()
        assert "lines" in fold.locator("summary").first.inner_text()
        fold.locator("summary").first.click()
        if allowed:
            fold.locator(".row").first.wait_for()
        else:
            assert "shown by the script" in frame.locator("#side noscript").inner_text()
        return
    frame.locator(".row[data-row='2']").hover()
    assert frame.locator(".line.marked").count() == (10 if allowed else 0)
    frame.locator(".row[data-row='2'] a.op").click()
    if allowed:
        assert frame.locator(".rule.marked h3").inner_text() == "exp"


def test_a_notebook_shows_the_page_in_a_frame(page):
    e = PAGES["gradient"]()
    page.set_content(f"<body style='width:900px'>{e._repr_html_()}</body>")
    frame = page.frame_locator("iframe")
    frame.locator(".row[data-row='2']").hover()
    assert frame.locator("#stage-jvp .line.marked").count() == 2
    box = page.locator("iframe").bounding_box()
    assert box["width"] == pytest.approx(900, abs=20)
    table = frame.locator(".table").bounding_box()
    assert box["height"] >= table["y"] - box["y"] + table["height"]


# ---- text of the user ------------------------------------------------------------------------------------------------------
EVIL = """</style><script>document.title = 'owned'</script>"'&<img src=x onerror="document.title='owned'">"""


def test_text_of_the_user_stays_text(page, tmp_path):
    code = f"""
import numpy as np
def f(parameters, x):
    a = np.sin(parameters[{EVIL!r}])  # {EVIL} </noscript><script>document.title = 'owned'</script>
    b = np.sum(a) * x[{EVIL!r}]
    return b
f.__name__ = {EVIL!r}
f.__code__ = f.__code__.replace(co_name={EVIL!r}, co_filename=PATH)
def g(parameters, x):
    return f(parameters, x)
"""
    path = tmp_path / "<script>document.title = 'owned'<" / "script>&'.py"
    path.parent.mkdir(parents=True)
    path.write_text(code)
    namespace = {}
    exec(compile(code, str(path), "exec"), {"PATH": str(path)}, namespace)
    namespace["f"].__globals__.update(namespace)
    given = {EVIL: np.ones(3)}, {EVIL: 2.0}
    for f in (namespace["f"], namespace["g"]):
        e = explain(f, *given)
        e.save(tmp_path / "evil.html")
        page.goto((tmp_path / "evil.html").as_uri())
        assert page.title().startswith("grad of")
        assert page.locator("img, main script, header script").count() == 0
        assert "owned" in page.locator("#stage-primal .given").inner_text()
        assert any("# </style><script>" in text for text in texts(page, "#side .source"))
        page.locator(".row[tabindex]").first.hover()
        page.locator("#stage-transpose button.name").last.click()
        page.fill("#search", EVIL)
        assert page.title().startswith("grad of")
        page.keyboard.press("Escape")


def test_text_in_a_fold_stays_text(page, tmp_path):
    def f(parameters, x):
        for _ in range(150):
            x = np.sin(x) * parameters["</noscript><script>document.title = 'owned'</script>"]  # </noscript><img src=x>
        return x

    explain(f, {"</noscript><script>document.title = 'owned'</script>": 1.0}, 2.0, argnums=1).save(tmp_path / "fold.html")
    page.goto((tmp_path / "fold.html").as_uri())
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    page.locator("#side .row").first.wait_for()
    assert page.locator("img").count() == 0
    assert "</noscript><img src=x>" in page.locator("#side .source").first.text_content()
    assert page.title().startswith("grad of f")


def test_names_that_utf_8_cannot_encode_are_written_with_escapes(page, tmp_path):
    namespace = {}
    exec(compile("import numpy as np\ndef f(x):\n    return np.sin(x) * x\n", os.fsdecode(b"caf\xe9.py"), "exec"), namespace)
    for several in (1, 300):
        f = namespace["f"]
        e = explain(lambda x, several=several, f=f: [f(x) for _ in range(several)], 1.0, transform="jvp")
        e.save(tmp_path / "page.html")
        page.goto((tmp_path / "page.html").as_uri())
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        page.locator("#stage-primal .note", has_text="caf").nth(1).wait_for(state="attached")
        str(e).encode()
        escape(e._repr_html_()).encode()
    explain(namespace["f"], 1.0).save(tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("h1").inner_text() == "grad of f (caf\\udce9.py:2)"


def test_many_arguments_and_results_are_not_all_listed(page, tmp_path):
    e = explain(lambda xs: [x * 2.0 for x in xs], [1.0] * 300, transform="jvp")
    e.save(tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("#stage-primal .given").text_content().endswith("xs[249]: f64[]*, and 50 more")
    assert page.locator("#stage-jvp .given").text_content().endswith(", and 350 more")
    assert page.locator("#stage-primal .returned").text_content().endswith(", and 50 more")
    text = " ".join(str(e).split())
    assert "xs[199], and 100 more" in text
    assert text.count("xs[200]") == str(e["primal"].lines[200]).count("xs[200]") * text.count("= xs[200]")


def test_the_text_of_an_error_stays_text(page, tmp_path):
    def make():
        raise ValueError(EVIL)

    with serving(tmp_path / "model.py", make) as server:
        page.goto(server.url)
        assert "owned" in page.frame_locator("iframe").locator("pre").inner_text()
        assert page.title() == "cotan explain"
        assert page.frame_locator("iframe").locator("script, img").count() == 1  # its own, which is empty


# ---- what it does ------------------------------------------------------------------------------------------------------------
STAGES = ("primal", "jvp", "values", "linear", "transpose", "whole", "simplified")


def test_hover_and_focus_mark_a_row_in_all_stages(page, saved):
    page.goto(saved("gradient"))
    row = page.locator(".row[data-row='2']")
    for mark in (row.hover, row.focus):
        mark()
        for stage in STAGES:
            marked = texts(page, f"#stage-{stage} .line.marked")
            assert marked, stage
            assert all("exp" in text or "e_bar" in text for text in marked)
        assert page.locator("#detail").inner_text().split() == ["e", "f64[5]", "de", "f64[5]", "t1_bar", "f64[5]"]
        page.keyboard.press("Escape")
        assert page.locator(".marked").count() == 0
        assert page.locator("#detail").is_hidden()
        page.locator("h1").hover()
    page.locator("#stage-jvp .line").first.hover()
    assert texts(page, ".row.marked .primal .line") == ["z = x @ w"]


def test_arrow_keys_go_from_row_to_row(page, saved):
    page.goto(saved("gradient"))
    page.locator(".row[tabindex]").first.focus()
    for expected in ("1", "2", "3"):
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.dataset.row") == expected
    page.keyboard.press("ArrowUp")
    assert page.locator(".row.marked").get_attribute("data-row") == "2"


def test_a_row_shows_its_lines_its_calls_and_its_rule(page, saved):
    page.goto(saved("gradient"))
    assert [text for text in texts(page, "#side .source") if text][1:3] != []
    assert texts(page, ".row.title [role=cell]")[:2] == [f"{sigmoid_call()}p = sigmoid(z)", "calls sigmoid"]
    assert page.locator(".row[data-row='1']").evaluate("row => row.classList.contains('in-1')")
    assert page.locator(".row[data-row='0']").evaluate("row => !row.classList.contains('in-1')")
    page.locator(".row[data-row='4'] a.op").click()
    assert texts(page, ".rule.marked h3") == ["divide"]
    assert page.locator(".rule.marked").evaluate("card => card === document.activeElement")


def sigmoid_call():
    return loss.__code__.co_firstlineno + 2


def test_the_rows_of_a_loop_stand_below_it(page, saved):
    page.goto(saved("scan"))
    assert "step, which scan holds" in texts(page, ".row.title [role=cell]")
    assert page.locator(".row.in-1[data-row='0.1'] .linear").inner_text().startswith("dh2 =")


def test_search_shows_what_contains_the_text(page, saved):
    page.goto(saved("gradient"))
    everything = page.locator(".row[data-row], .line[data-defines], .rule").count()
    page.fill("#search", "exp(")
    shown = page.locator(".row[data-row]:visible, .line[data-defines]:visible, .rule:visible")
    assert 0 < shown.count() < everything
    assert all("exp(" in text.replace("\u2061", "") for text in shown.all_text_contents())
    assert page.locator("#found").inner_text() == f"{shown.count()} found"
    page.fill("#search", "nothing of this kind")
    assert page.locator("#found").inner_text() == "0 found"
    for clear in (lambda: page.click("#clear"), lambda: page.fill("#search", ""), lambda: page.keyboard.press("Escape")):
        page.fill("#search", "exp(")
        clear()
        assert page.locator(".hidden").count() == 0
        assert page.locator("#found").inner_text() == ""
        assert page.locator("#clear").is_hidden()


def test_a_name_shows_what_its_value_depends_on(page, saved):
    page.goto(saved("gradient"))
    e = PAGES["gradient"]()
    page.locator("#stage-transpose button.name", has_text="t1_bar").click()
    for stage in ("transpose", "whole"):
        expected = [str(line) for line in e.depends("t1_bar")[stage]]
        assert texts(page, f"#stage-{stage} .line:not(.dimmed) > span:first-child") == expected
    assert page.locator("#stage-primal .line:not(.dimmed)").count() == 0
    count = sum(len(lines) for lines in e.depends("t1_bar").values())
    assert page.locator("#found").inner_text() == f"t1_bar depends on {count} lines"
    page.click("#clear")
    assert page.locator(".dimmed").count() == 0


# ---- how it looks ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [*PAGES, *WIDE])
def test_nothing_is_clipped_or_scrolls_sideways(page, saved, name):
    page.goto(saved(name))
    for width in (390, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        clipped = page.evaluate(
            """[...document.querySelectorAll(".row > *, .line > *, .given, .returned, summary, h1, .rule p")].filter(element =>
            element.checkVisibility() && element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline"
            ).map(element => element.outerHTML.slice(0, 200))"""
        )
        assert clipped == []


@pytest.mark.sampled(2)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(page, saved, name, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390 if name == "svd" else 1280, "height": 900})
    page.goto(saved(name))
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 22, 26)"
    )
    page.evaluate("for (const part of document.querySelectorAll('details:not(.fold)')) part.open = true")
    page.evaluate("for (const fold of [...document.querySelectorAll('#side .fold')].slice(-1)) fold.open = true")
    page.locator(".row[tabindex]").first.focus()
    page.evaluate(AXE)
    only = {} if scheme == "light" else {"runOnly": ["color-contrast"]}  # in which alone they differ
    found = page.evaluate("only => axe.run(only).then(result => result.violations)", only)
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_reads_the_lines_that_a_slice_leaves_out(page, saved, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(saved("gradient"))
    page.locator("#stage-transpose button.name", has_text="t1_bar").click()
    assert page.locator(".dimmed").count() > 10
    page.evaluate(AXE)
    found = page.evaluate("axe.run({runOnly: ['color-contrast']}).then(result => result.violations)")
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []


class Checked(HTMLParser):
    """Checks that elements end in the order in which they began."""

    EMPTY = frozenset({"meta", "input", "br", "img", "link"})

    def __init__(self):
        super().__init__()
        self.stack, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self.stack.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        assert not [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_startendtag(self, tag, attrs):
        assert tag in ("path", "rect", "mspace")

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def with_a_callback(x, a):
    y = pure_callback(lambda v: np.asarray(v) * 2, ShapeDtypeStruct((3,), float), a)
    return np.sum(np.sin(x) * y) + lax.while_loop(lambda c: c < 3.0, lambda c: c * 2.0, np.sum(x) + 0.5)


FURTHER = {
    "nothing": lambda: explain(lambda x: x, 1.0),
    "callback": lambda: explain(with_a_callback, np.ones(3), np.ones(3)),
}


@pytest.mark.parametrize("name", [*PAGES, *FURTHER])
def test_a_page_is_well_formed(name):
    parser = Checked()
    parser.feed(page_of((PAGES | FURTHER)[name](), loops=True))
    parser.close()
    assert parser.stack == []
    assert len(set(parser.ids)) == len(parser.ids)


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        pytest.param(op, operands, id=f"{name}-{k}")
        for name, cls in REGISTRY.items()
        for k, (op, operands) in enumerate(cls.examples())
        if all(np.size(x) for x in operands)
    ],
)
def test_the_formulas_of_every_rule_are_well_formed(op, operands):
    try:
        rule = rule_of(op, [type_of(x) for x in operands])
    except MissingRuleError:
        pytest.skip("a rule is missing, and said to be")
    for statement in (rule.value, *rule.forward, *rule.backward, *rule.where):
        root = ElementTree.fromstring(mathml(statement))
        assert root.get("alttext") == str(statement)
        assert "".join(root.itertext())
        for element in root.iter():
            assert len(element) == {"mfrac": 2, "msup": 2, "msub": 2, "mover": 2}.get(element.tag, len(element))


def test_lines_that_share_a_loop_are_in_one_box(page, tmp_path):
    e = explain(softmax, np.ones((64, 32)), np.ones((32, 16)))
    assert "what shares a loop" not in page_of(e)
    e.save(tmp_path / "loops.html", loops=True)
    page.goto((tmp_path / "loops.html").as_uri())
    page.locator("summary", has_text="what shares a loop").click()
    boxes = [texts(box, "text") for box in page.locator("svg[aria-label^=Loops] g").all()]
    (elementwise,) = [box for box in boxes if "z = tanh(t4)" in box]
    assert elementwise == ["z = tanh(t4)", "z_bar = 2 * z t5_bar", "t4_bar = (1 - z * z) z_bar"]
    assert ["t4 = s @ w"] in boxes
    page.locator(".row", has_text="z = tanh(t4)").hover()
    assert texts(page, "svg[aria-label^=Loops] text.marked") == ["z = tanh(t4)", "t4_bar = (1 - z * z) z_bar"]


def test_a_line_with_equations_of_several_loops_goes_to_the_last():
    stage = explain(softmax, np.ones((64, 32)), np.ones((32, 16)))["simplified"]
    drawn = kernels_of(stage)
    for line in stage.lines:
        assert drawn.count(f">{escape(short(str(line)))}<") == 1


# ---- large programs ------------------------------------------------------------------------------------------------------------
def test_a_large_program_is_folded_by_source_line_and_by_call(page, saved):
    page.goto(saved("large"))
    assert page.locator("#side .row[data-row]").count() == 0
    assert page.locator("#stage-jvp").get_attribute("open") is None
    page.locator("#side .fold > summary").first.click()
    rows = page.locator("#side .row[data-row]")
    assert 0 < rows.count() <= 200
    assert texts(page, "#side .row.title .primal")[:2] == ["calls helper", "calls helper"]
    rows.nth(1).hover()
    row = rows.nth(1).get_attribute("data-row")
    assert page.locator(".fold > summary.marked").count() >= 6, row


def long_loop(x, w):
    def step(c, u):
        for _ in range(130):
            a = np.where(c > 0, c, 0.5) * u
            c = np.sin(a) + x["<b>&amp;"]
        return c, (c, a)

    c, _ = lax.scan(step, w, np.ones(3))
    return c * lax.while_loop(lambda c: c < 3.0, lambda c: c * 2.0, c)


def calls_and_loops(x, w):
    for k in range(100):
        x = helper(x, w) * lax.scan(lambda c, u: (c * u, None), w, np.ones(k % 3))[0]
    y = pure_callback(lambda v: v, ShapeDtypeStruct((), float), 3.0)
    return x @ np.ones((2, 2)) @ x * y


@pytest.mark.parametrize(
    "make",
    [
        PAGES["large"],
        lambda: explain(long_loop, {"<b>&amp;": 0.3}, 1.0, argnums=(0, 1), transform="jvp"),
        lambda: explain(calls_and_loops, np.ones(2), 2.0),
        lambda: explain(lambda x: unrolled(x, 0.5, 30), 1.0, transform="hessian"),
    ],
)
def test_what_is_shown_of_a_fold_is_what_a_small_page_has(page, tmp_path, monkeypatch, make):
    e = make()
    shown = []
    for name, several in {"folded": 250, "whole": 10**9}.items():
        monkeypatch.setattr("cotan.explanation.page.SEVERAL", several)
        e.save(tmp_path / f"{name}.html")
        page.goto((tmp_path / f"{name}.html").as_uri())
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        assert (page.locator("details.fold").count() > 0) == (name == "folded")
        page.wait_for_function("[...document.querySelectorAll('.fold')].every(fold => fold.childElementCount > 1)")
        lines = page.evaluate("[...document.querySelectorAll('.listing .line')].map(line => line.outerHTML)")
        rows = page.evaluate(
            """[...document.querySelectorAll('#side .row[role=row]:not(.head)')].map(row => [row.className.replace(" begins", ""),
            row.dataset.row ?? "", ...[...row.children].slice(1).map(cell => cell.outerHTML)])"""
        )
        held = page.locator(".held > .given").all_text_contents()
        shown.append((lines, rows, held))
    assert len(shown[0][0]) == sum(1 for stage in e.stages for _ in flattened(stage.lines))
    assert shown[0] == shown[1]


def loops_and_branches(x, w):
    def step(c, u):
        a = np.tanh(c * w)
        c = a * u + c
        return c, a

    def branch(c):
        a = np.cos(c)
        return a + c

    c, a = lax.scan(step, x, np.ones(5))
    c2, _ = lax.scan(step, c * a[0], np.ones(3))
    return lax.cond(c2 > 0, branch, lambda c: np.sin(c) * c, c2) * c


def keys_with_spaces(p):
    y = p["x y"] * p["y"]
    x = y * p["<i>&"]
    return np.sin(x) * p["x y"]


SEARCH = """terms => terms.map(term => {
  const search = document.getElementById("search");
  search.value = term;
  search.dispatchEvent(new Event("input"));
  const shown = [...document.querySelectorAll(".row[data-row], .line[data-defines], .rule")].filter(element => !element.closest(".hidden"));
  const closed = [...document.querySelectorAll("details.fold:not([open])")].filter(fold => !fold.querySelector(":scope > .fold"));
  const here = closed.map(fold => Number(fold.firstElementChild.dataset.found ?? 0)).reduce((a, b) => a + b, 0);
  return [Number(document.getElementById("found").textContent.split(" ")[0]), shown.length + here];
})"""
SLICES = """names => names.map(([name, held]) => {
  const button = document.createElement("button");
  button.className = "name";
  button.textContent = name;
  const place = document.createElement("div");
  place.className = held ? "held" : "";
  place.append(button);
  document.querySelector("main").append(place);
  button.click();
  place.remove();
  const lines = [...document.querySelectorAll(".listing .line:not(.dimmed)")];
  return [
    document.getElementById("found").textContent,
    lines.map(line => `${line.closest(".stage").id} ${line.firstElementChild.textContent}`),
    [...document.querySelectorAll("#side .row[data-row]:not(.dimmed)")].map(row => row.dataset.row),
  ];
})"""
UNFOLD = """() => {
  for (const part of document.querySelectorAll("details")) part.open = true;
}"""
UNFOLDED = "[...document.querySelectorAll('.fold')].every(fold => fold.childElementCount > 1)"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: explain(loops_and_branches, 1.0, 2.0, argnums=(0, 1)), id="loops"),
        pytest.param(lambda: explain(loops_and_branches, 1.0, 2.0, transform="hessian"), id="second order"),
        pytest.param(lambda: explain(keys_with_spaces, {"x y": 1.0, "y": 2.0, "<i>&": 3.0}), id="keys"),
        pytest.param(lambda: explain(lambda x: unrolled(x, 0.5, 8), 1.0), id="calls"),
    ],
)
def test_searches_and_slices_are_those_of_a_small_page_and_of_the_story(page, tmp_path, monkeypatch, make):
    e = make()
    defined = [(s.name, line in stage.lines) for stage in e.stages for line in flattened(stage.lines) for s in line.definition.symbols]
    names = list(dict.fromkeys((name, not outer) for name, outer in defined))
    lines = [str(line) for stage in e.stages for line in flattened(stage.lines)]
    terms = list(dict.fromkeys([*lines[::5], *(name for name, _ in names), ".", ".*", "[", "\\", "f64[", "<i>&", "&amp;"]))
    seen = {}
    for form, several, most in (("small", 10**9, 200), ("folded", 2, 3)):
        monkeypatch.setattr("cotan.explanation.page.SEVERAL", several)
        monkeypatch.setattr("cotan.explanation.page.MOST", most)
        monkeypatch.setattr("cotan.explanation.fold.MOST", most)
        e.save(tmp_path / f"{form}.html")
        for unfolded in (True, False) if form == "folded" else (True,):
            page.goto((tmp_path / f"{form}.html").as_uri())
            if unfolded:
                page.evaluate(UNFOLD)
                page.wait_for_function(UNFOLDED)
            slices = page.evaluate(SLICES, names)
            if not unfolded:  # after the last slice
                page.evaluate(UNFOLD)
                page.wait_for_function(UNFOLDED)
                last = page.evaluate(
                    "[...document.querySelectorAll('.listing .line:not(.dimmed)')].map(line => line.firstElementChild.textContent)"
                )
                assert last == [text.partition(" ")[2] for text in seen["small", True][0][-1][1]]
                page.goto((tmp_path / f"{form}.html").as_uri())
            searches = page.evaluate(SEARCH, terms)
            assert [found for found, shown in searches] == [shown for found, shown in searches]
            seen[form, unfolded] = slices, [found for found, _ in searches]
    slices, counts = seen["small", True]
    for (name, held), (text, *_) in zip(names, slices, strict=True):
        if not held:
            count = sum(len(found) for found in e.depends(name).values())
            assert text == f"{name} depends on {count} line{'s' * (count != 1)}"
    assert seen["folded", True][0] == slices
    assert [text for text, *_ in seen["folded", False][0]] == [text for text, *_ in slices]
    assert seen["folded", True][1] == seen["folded", False][1]
    assert all(more >= count for more, count in zip(seen["folded", True][1], counts, strict=True))  # a fold begins with its line of source


def test_a_slice_has_what_the_ops_in_it_hold(page, tmp_path):
    e = explain(loops_and_branches, 1.0, 2.0)
    e.save(tmp_path / "loops.html")
    page.goto((tmp_path / "loops.html").as_uri())
    undimmed = "#stage-primal .line:not(.dimmed) > span:first-child"
    page.locator("#stage-primal > .listing > .line button.name", has_text="c").first.click()
    (loop,) = e.depends("c")["primal"]
    assert texts(page, undimmed) == [str(line) for line in flattened([loop])]
    body = loop.inner[0].lines
    page.locator("#stage-primal .held button.name").first.click()
    assert page.locator("#stage-primal > .listing > .line:not(.dimmed)").count() == 0
    assert str(body[0]) in texts(page, undimmed)
    assert str(body[-1]) not in texts(page, undimmed)


def test_a_closed_stage_says_how_much_is_in_it(page, saved):
    page.goto(saved("large"))
    page.fill("#search", "tanh(")
    e = PAGES["large"]()
    for stage in e.stages[:2]:
        summary = page.locator(f"#stage-{stage.key} > summary")
        assert summary.get_attribute("data-found") == str(sum("tanh(" in str(line) for line in stage.lines))
    assert page.locator("#side .row[data-row]:not(.hidden)").count() > 0  # what comes first is unfolded first
    page.keyboard.press("Escape")
    assert page.locator("[data-found]").count() == 0


def test_a_page_of_which_only_stages_are_folded_says_what_needs_the_script():
    e = explain(lambda x: unrolled(x, 0.5, 30), 1.0, transform="hessian")
    assert len(e["primal"].lines) < 250 < len(e["whole"].lines)
    assert page_of(e).count("<noscript>") == 1
    assert "<noscript>" not in page_of(PAGES["gradient"]())


def test_each_row_of_a_function_that_differentiates_has_its_own_lines(page, tmp_path):
    def f(x):
        g = grad(lambda v: np.sum(np.sin(v) * v))(x)
        return np.sum(g * g)

    e = explain(f, np.ones(3))
    e.save(tmp_path / "inner.html")
    page.goto((tmp_path / "inner.html").as_uri())
    assert texts(page, "#side .row[data-row] .primal .line") == [str(line) for line in e["primal"].lines]


def test_a_search_counts_what_is_folded(page, saved):
    e = PAGES["large"]()
    page.goto(saved("large"))
    page.fill("#search", "tanh(")
    expected = sum("tanh(" in str(line) for stage in e.stages for line in stage.lines)
    rows = sum("tanh(" in str(line) for line in e["primal"].lines)
    assert page.locator("#found").inner_text() == f"{expected + rows + 1} found"  # and the card
    page.fill("#search", "a51_bar")
    assert page.locator(".line[data-defines='a51_bar']").count() > 0
    page.keyboard.press("Escape")
    assert page.locator(".hidden").count() == 0


def test_a_slice_reaches_into_folds(page, saved):
    e = PAGES["large"]()
    page.goto(saved("large"))
    page.fill("#search", "x50 =")
    page.evaluate("document.getElementById('stage-primal').open = true")
    page.locator("#stage-primal button.name", has_text="x50").click()
    count = sum(len(lines) for lines in e.depends("x50").values())
    assert page.locator("#found").inner_text() == f"x50 depends on {count} lines"


@pytest.mark.parametrize(("steps", "seconds"), [(500, 1), pytest.param(2500, 2, marks=pytest.mark.exhaustive)])
def test_a_large_page_opens_at_once(page, tmp_path, steps, seconds):
    """10,000 operations in two seconds."""
    path = tmp_path / "large.html"
    e = explain(lambda x, w: unrolled(x, w, steps), 1.0, 2.0)
    assert len(e["primal"].lines) >= 4 * steps
    e.save(path)
    assert path.stat().st_size < 70 * sum(len(stage.lines) for stage in e.stages)
    taken = []
    for _ in range(3):
        page.goto(path.as_uri())
        taken.append(page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive / 1000"))
    assert min(taken) < seconds
    started = time.perf_counter()
    page.fill("#search", f"x{steps - 100}")
    assert page.locator("#found").inner_text() != "0 found"
    assert time.perf_counter() - started < 2 * seconds


# ---- served --------------------------------------------------------------------------------------------------------------------
class serving:  # noqa: N801 - used as a function
    """A server that runs in a thread."""

    def __init__(self, path, make):
        self.server = PageServer(path, make)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self.server

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def test_a_served_page_follows_its_file(page, tmp_path):
    path = tmp_path / "model.py"
    path.write_text("12 operations")
    with serving(path, lambda: page_of(PAGES["gradient"]()).replace("8 operations", path.read_text(), 1)) as server:
        page.goto(server.url)
        frame = page.frame_locator("iframe")
        frame.get_by_text("12 operations").wait_for()
        frame.locator(".row[data-row='2']").hover()
        assert frame.locator(".line.marked").count() == 10
        time.sleep(0.02)
        path.write_text("34 operations")
        frame.get_by_text("34 operations").wait_for()
