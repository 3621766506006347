"""``cotan explain``: text, a page, and a page that follows its file."""

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from cotan.cli import main
from cotan.explanation.serve import PageServer

MODEL = """import numpy as np
def loss(w, s):
    h = np.tanh(w)
    return np.sum(h) * s
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def test_text(model, capsys):
    assert main(["explain", f"{model}:loss", "--args", "np.ones(3), 2.0"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("grad of loss (model.py:2)")
    assert "h_bar = broadcast_to" in out


def test_other_transforms_and_arguments(model, capsys):
    assert main(["explain", f"{model}:loss", "--args", "np.ones(3), 2.0", "--transform", "jvp", "--argnums", "0", "1"]) == 0
    assert "dloss = s dt1 + t1 ds" in capsys.readouterr().out


def test_arguments_may_name_what_results_print(model, capsys):
    given = "np.array([nan, inf]), cotan.numpy.float32(2.0)"
    assert main(["explain", f"{model}:loss", "--args", given]) == 0
    assert "grad of loss" in capsys.readouterr().out
    model.write_text(f"nan = 3.0\n{MODEL}")
    assert main(["explain", f"{model}:loss", "--args", "np.ones(3), nan.real"]) == 0, "a name of the file comes first"


def test_a_page(model, capsys):
    page = model.with_name("page.html")
    assert main(["explain", f"{model}:loss", "--args", "np.ones(3), 2.0", "-o", str(page)]) == 0
    assert "wrote" in capsys.readouterr().out
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_what_is_wrong_is_said(model, capsys):
    assert main(["explain", "nothing.py:loss"]) == 2
    assert "there is no file 'nothing.py'" in capsys.readouterr().err
    assert main(["explain", f"{model}:lss"]) == 2
    assert "has no 'lss'" in capsys.readouterr().err
    for function in (str(model), f"{model}:"):
        assert main(["explain", function]) == 2
        assert f"which function of {model}?" in capsys.readouterr().err
    assert main(["explain", f"{model}:loss", "--args", "np.ones(3), np.ones(3)"]) == 1
    assert "scalar output" in capsys.readouterr().err


CALLS = {
    "too few": (["--args", "np.ones(3)"], "loss(w, s): missing a required argument: 's'. Give its arguments by --args"),
    "too many": (["--args", "1.0, 2.0, 3.0"], "loss(w, s): too many positional arguments"),
    "none": ([], "missing a required argument: 'w'. Give its arguments by --args"),
    "a typo": (["--args", "npp.ones(3), 2.0"], "--args 'npp.ones(3), 2.0': NameError: name 'npp' is not defined."),
    "syntax": (["--args", "np.ones(3"], "--args 'np.ones(3': SyntaxError: "),
    "no folder": (["--args", "1.0, 2.0", "-o", "/no/folder/p.html"], "/no/folder/p.html cannot be written: No such file or directory."),
}


@pytest.mark.parametrize(("arguments", "message"), CALLS.values(), ids=CALLS)
def test_wrong_calls(model, capsys, arguments, message):
    assert main(["explain", f"{model}:loss", *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert len(err.splitlines()) == 1
    assert not out


def test_a_function_of_defaults_needs_an_argument(model, capsys):
    model.write_text("def loss(w=1.0):\n    return w * w\n")
    assert main(["explain", f"{model}:loss"]) == 2
    assert "has no argument by which it is differentiated" in capsys.readouterr().err


def test_modules_beside_the_file_dotted_names_and_keywords(model, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    model.with_name("beside_the_model.py").write_text("FACTOR = 3.0\n")
    model.write_text(
        "from beside_the_model import FACTOR\n"
        "class Net:\n"
        "    def loss(self, w, scale=1.0):\n"
        "        return FACTOR * w * scale\n"
        "class Nets:\n"
        "    first = Net()\n"
    )
    assert main(["explain", f"{model}:Nets.first.loss", "--args", "1.0, scale=2.0"]) == 0
    assert capsys.readouterr().out.startswith("grad of loss (model.py:3)")
    assert main(["explain", f"{model}:Nets.second.loss", "--args", "1.0"]) == 2
    assert "has no 'Nets.second.loss'" in capsys.readouterr().err


BROKEN = {
    "import": ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def loss(w:\n", "SyntaxError: "),
    "exit": ("raise SystemExit('no')\n", "SystemExit: no"),
    "call": ("def loss(w):\n    return [][1]\n", "IndexError: list index out of range"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_errors_of_the_file_have_its_traceback_alone(model, capsys, text, message):
    model.write_text(text)
    assert main(["explain", f"{model}:loss", "--args", "1.0"]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert f'File "{model}", line' in err
    assert err.count("File ") == 1


def test_a_closed_pipe_is_no_error(model):
    command = [sys.executable, "-c", "import sys; from cotan.cli import main; sys.exit(main())", "explain", f"{model}:loss"]
    run = subprocess.Popen([*command, "--args", "np.ones(3), 2.0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.close()
    assert run.stderr.read() == b""
    run.stderr.close()
    assert run.wait(timeout=60) == 1


def test_a_renamed_function_is_shown_as_an_error(model, monkeypatch):
    served = []
    monkeypatch.setattr(PageServer, "serve_forever", lambda server: served.append(server))
    assert main(["explain", f"{model}:loss", "--args", "np.ones(3), 2.0", "--serve"]) == 0
    (server,) = served
    version, page = server.current()
    assert "h_bar" in page or "<math" in page
    for k, text in enumerate((MODEL.replace("loss", "cost"), "raise SystemExit('no')\n")):
        model.write_text(text)
        os.utime(model, (k, k))
        later, error = server.current()
        assert later == version + 1 + k
        assert ("has no &#x27;loss&#x27;", "SystemExit: no")[k] in error


def test_the_server_makes_the_page_anew_when_the_file_changes(model):
    made = []

    def make():
        made.append(model.read_text())
        if "broken" in made[-1]:
            raise ValueError("<script>broken</script>")
        return f"page {len(made)}"

    server = PageServer(model, make)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def get(path, host=None):
        request = urllib.request.Request(server.url + path, headers={"Host": host} if host else {})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    try:
        assert server.url.startswith("http://127.0.0.1:")
        assert "iframe" in get("")
        assert get("page") == "page 1"
        assert get("version") == get("version")
        before = get("version")
        time.sleep(0.02)
        model.write_text(MODEL + "# broken\n")
        assert get("version") != before
        error = get("page")
        assert "ValueError" in error
        assert "<script>broken" not in error
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get("page", host="example.org")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get("other")
    finally:
        server.shutdown()
        server.server_close()
