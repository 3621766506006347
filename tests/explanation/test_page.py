"""The page of an explanation, in a real Chromium."""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cotan import explain

AXE = Path(importlib.util.find_spec("axe_playwright_python").origin).with_name("axe.min.js")
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


class Tab:
    """A page of the browser, with all that it requested and complained of."""

    def __init__(self, browser, **options):
        self.page = browser.new_page(**options)
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path):
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture
def tab(browser):
    tab = Tab(browser)
    yield tab
    tab.page.close()
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith("file:")] == []


def sigmoid(z):
    e = np.exp(-z)
    return 1 / (1 + e)


def loss(w, x, y):
    z = x @ w
    p = sigmoid(z)
    r = p - y
    return np.mean(r**2)


@pytest.fixture(scope="module")
def gradient(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "gradient.html"
    explain(loss, np.ones(3), np.ones((5, 3)), np.ones(5)).save(path)
    return path


def test_a_page_needs_nothing_but_its_file(tab, gradient):
    page = tab.open(gradient)
    assert page.title().startswith("grad of loss")
    assert tab.requests == [gradient.as_uri()]
