"""Seeds and Hypothesis profiles of all tests."""

from __future__ import annotations

import os

import keras
import pytest
from hypothesis import HealthCheck, settings

# Building a network takes longer than Hypothesis allows an example by default.
_SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=10, derandomize=True, **_SLOW)
settings.register_profile("thorough", max_examples=500, **_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def seeds():
    """Start every test from the same random state."""
    keras.utils.set_random_seed(2012)


@pytest.fixture
def no_fsync(monkeypatch):
    """Spare a test that writes hundreds of files the wait for the disk."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
