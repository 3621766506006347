"""Fixtures shared by tests of the native engine."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of compiled code, turned on."""
    path = tmp_path / "cache"
    monkeypatch.setenv("COTAN_CACHE_DIR", str(path))
    monkeypatch.delenv("COTAN_CACHE", raising=False)
    return path
