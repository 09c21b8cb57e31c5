"""`python -m tuning search`: run a search, or resume one."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from typing import Any

import click

from alexnet.commands.terminal import INTERRUPTED, example, silence_libraries
from tuning.commands.options import SearchCommand, setting
from tuning.settings import SearchSettings
from tuning.store.layout import Store
from tuning.trial import interrupts


@click.command(
    cls=SearchCommand,
    epilog=example("tuning search --data photos/ --image-size 64 --trials 60"),
)
def search(**given: Any) -> None:
    """Run a search, or resume the one in --directory.

    Without options: 12 random trials on scikit-learn's handwritten digits.
    """
    settings = SearchSettings(**given)
    store = Store(settings.directory or "")
    store.create()
    silence_libraries(store.native_log_file)
    interrupts.install()
    from tuning.search import run_search

    try:
        result = run_search(settings)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(
            f"\nStopped. What has ended is in {settings.directory}; the same command "
            f"resumes:\n  {_command(*sys.argv[1:])}",
            flush=True,
        )
        # TensorFlow's threads may be in the middle of a step; do not wait for them.
        os._exit(INTERRUPTED)
    print(f"\n{result.leaderboard}\n")
    print(
        f"Best: trial {result.trial} with {settings.objective} {result.score:.4f} "
        f"({result.reloaded_score:.4f} after saving and loading).\n"
        f"  model            {result.directory}/best/model.keras\n"
        f"  hyperparameters  {result.directory}/best/hyperparameters.json\n"
        f"  every trial      {result.directory}/results.csv\n"
        "Next:\n"
        f"  see the trials   {_command('status', result.directory)}\n"
        f"  use the best     {_command('best', result.directory)}\n"
        f"  try more         {_command(*sys.argv[1:], '--trials', 2 * settings.trials)}"
    )
    if abs(result.score - result.reloaded_score) > 1e-6:
        print(
            "Warning: the saved model's score is not the one that its trial "
            "reported; the data or the device may have changed.",
            file=sys.stderr,
        )


def _command(*words: object) -> str:
    return shlex.join(["python", "-m", "tuning", *map(str, words)])


for name in SearchSettings.model_fields:
    setting(name)(search)
