"""Seeds, Hypothesis profiles, and which tests may be skipped."""

from __future__ import annotations

import gc
import os

import keras
import pytest
from hypothesis import HealthCheck, settings

# Building a network takes longer than Hypothesis allows an example by default.
_SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=10, derandomize=True, **_SLOW)
settings.register_profile("thorough", max_examples=500, **_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# PyTorch is there in the last step of .ci/run, the data only where somebody has it.
EXPECTED_SKIPS = (
    "PyTorch is not installed",
    "needs ALEXNET_TEST_DATA",
    "mounting needs root",
)
# The files that take longest; the processes of `pytest -n` take them first.
LONGEST = (
    "test_killed_worker.py",
    "test_search.py",
    "test_faults.py",
    "test_resume.py",
    "test_failures.py",
    "test_points.py",
    "test_hypermodel.py",
    "test_tuning_cli.py",
    "test_checkpoints.py",
    "test_recovery.py",
    "test_run.py",
    "test_documents.py",
    "test_model.py",
)


def pytest_collection_modifyitems(items):
    """Put the tests of the longest files first."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_collection_finish():
    """Leave what TensorFlow's import has made to no collection of garbage.

    Each trial collects it, which takes half a second otherwise.
    """
    import tuning.search  # noqa: F401 (with all that it imports)

    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeds():
    """Start every test from the same random state."""
    keras.utils.set_random_seed(2012)


@pytest.fixture
def no_fsync(monkeypatch):
    """Spare a test that writes hundreds of files the wait for the disk."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def pytest_sessionfinish(session):
    """Fail a run in CI that skipped a test for no expected reason."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or hasattr(session.config, "workerinput"):
        return
    unexpected = [
        f"{report.nodeid}: {report.longrepr[2]}"
        for report in reporter.stats.get("skipped", ())
        if not any(reason in str(report.longrepr) for reason in EXPECTED_SKIPS)
    ]
    if unexpected:
        reporter.write_line("skipped for no expected reason:", red=True)
        reporter.write_line("\n".join(unexpected))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
