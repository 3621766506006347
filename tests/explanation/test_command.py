"""``cotan explain``: text, a page, and a page that follows its file."""

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


def test_a_page(model, capsys):
    page = model.with_name("page.html")
    assert main(["explain", f"{model}:loss", "--args", "np.ones(3), 2.0", "-o", str(page)]) == 0
    assert "wrote" in capsys.readouterr().out
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_what_is_wrong_is_said(model, capsys):
    assert main(["explain", "nothing.py:loss"]) == 2
    assert "there is no file 'nothing.py'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="has no 'lss'"):
        main(["explain", f"{model}:lss"])
    assert main(["explain", f"{model}:loss", "--args", "np.ones(3), np.ones(3)"]) == 1
    assert "scalar output" in capsys.readouterr().err


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
