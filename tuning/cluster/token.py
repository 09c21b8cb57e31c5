"""Ray's token authentication, with a token for one search."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuning.cluster.environment import variables

_TOKEN_BYTES = 32


@contextmanager
def private_token(file: Path) -> Iterator[None]:
    """Have the Ray that is started meanwhile ask for a token of its own.

    The token appears on no command line and in no environment.

    Args:
        file: Where to write it, readable by its owner only; must not exist.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(_TOKEN_BYTES))
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}
    try:
        with variables({"RAY_AUTH_TOKEN": None, **own}):
            read_again()
            yield
    finally:
        read_again()


def read_again() -> None:
    """Have Ray's core read the variables again, which it does once per process."""
    from ray import _raylet as core  # Without type annotations.

    core.Config.initialize("")  # type: ignore[attr-defined]
    core.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]
