"""Ctrl-C that Python drops ends a search all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The signal comes while a weak reference's callback runs, where Python only prints
# what is raised.
NETS = """
import gc
import os
import signal
import weakref
import keras
from alexnet import AlexNet


class Doomed:
    pass


@keras.saving.register_keras_serializable(package="nets")
class Swallowing(AlexNet):
    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        doomed = Doomed()
        kept = weakref.ref(doomed, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del doomed
"""


@pytest.mark.long
def test_an_interruption_that_is_dropped_comes_again(tmp_path):
    """A search ends soon after a KeyboardInterrupt that a callback swallowed."""
    (tmp_path / "nets.py").write_text(NETS)
    options = ["--model", "nets:Swallowing", "--workers", "0", "--trials", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "tuning", "search", "--directory", "s", *options],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert "Exception ignored in" in done.stderr
    assert done.returncode == 130, done.stderr
    assert "Stopped." in done.stdout
    assert "completed" not in done.stdout
