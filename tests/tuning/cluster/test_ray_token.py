"""The Ray of a search takes only those who have the search's token."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tuning.cluster.session import local_ray

pytestmark = pytest.mark.cluster
# Ray tries for twenty seconds otherwise.
IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
CLIENT = """
import sys
import ray

try:
    ray.init(
        address=sys.argv[1],
        logging_level="ERROR",
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    print("joined")
except ConnectionError as error:
    print("refused")
"""


def join(address, **variables):
    """Return what a process of other surroundings sees of a Ray, and its messages."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, address],
        env={**environment, **IMPATIENT, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.split()[-1], done.stderr


@pytest.mark.parametrize("own", [None, "a token of the user's own"])
def test_only_the_token_opens_ray(monkeypatch, own):
    """No token and a wrong one are refused, the search's own is accepted.

    Twice in one process, whose own token is there again at the end.
    """
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    if own is not None:
        monkeypatch.setenv("RAY_AUTH_TOKEN", own)
    own_process = subprocess.Popen(["sleep", "600"])
    with local_ray() as ray:
        address = ray.get_runtime_context().gcs_address
        file = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        token = file.read_text()
        assert len(token) == 64
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "RAY_AUTH_TOKEN" not in os.environ
        outcome, message = join(address, RAY_AUTH_MODE="disabled")
        assert outcome == "refused"
        assert "token is missing or incorrect" in message
        wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        assert join(address, **wrong)[0] == "refused"
        right = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        assert join(address, **right)[0] == "joined"
        assert ray.get(ray.remote(lambda: os.getpid()).remote()) != os.getpid()
    assert not file.exists()
    assert own_process.poll() is None  # What is not Ray's runs on.
    own_process.kill()
    own_process.wait()
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
    assert os.environ.get("RAY_AUTH_TOKEN") == own
    assert "RAY_AUTH_MODE" not in os.environ
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
