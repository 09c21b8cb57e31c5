"""The search directory: what is where.

search.json                 settings
trial_03/trial.json         the record of a trial; the oracle alone writes it
trial_03/weights.npz        weights of its best epoch
trial_03/checkpoint.npz     weights, optimizer and random state, while it runs
trial_03/error.txt          traceback, if it failed; for people
results.csv                 one row per trial
best/model.keras            the best trial's model
best/hyperparameters.json   its hyperparameters
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tuning.store.files import StoreError, read_json
from tuning.store.records import FORMAT, is_trial_id


class Store:
    """Names and files of one search directory.

    Args:
        root: The directory; made by `create`.

    Attributes:
        is_new: Whether this process began the search in it.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self.is_new = False
        self.lock_file = self.root / ".lock"
        self.members_file = self.root / ".members"
        self.run_file = self.root / ".run"
        self.ray_file = self.root / ".ray"
        self.settings_file = self.root / "search.json"
        self.results_file = self.root / "results.csv"
        self.native_log_file = self.root / "native.log"
        self.best_model_file = self.root / "best" / "model.keras"
        self.best_hyperparameters_file = self.root / "best" / "hyperparameters.json"

    def trial_folder(self, trial_id: str) -> Path:
        """Return a trial's folder."""
        return self.root / f"trial_{trial_id}"

    def trial_file(self, trial_id: str) -> Path:
        """Return the file of a trial's record."""
        return self.trial_folder(trial_id) / "trial.json"

    def weights_file(self, trial_id: str) -> Path:
        """Return the file of the weights of a trial's best epoch."""
        return self.trial_folder(trial_id) / "weights.npz"

    def checkpoint_file(self, trial_id: str) -> Path:
        """Return the file that a trial resumes from, while it has not ended."""
        return self.trial_folder(trial_id) / "checkpoint.npz"

    def error_file(self, trial_id: str) -> Path:
        """Return the file of a failed trial's traceback."""
        return self.trial_folder(trial_id) / "error.txt"

    def trial_ids(self) -> list[str]:
        """Return the ids of all trials on record, in order."""
        files = self.root.glob("trial_*/trial.json")
        ids = (file.parent.name.removeprefix("trial_") for file in files)
        return sorted(filter(is_trial_id, ids), key=int)

    def create(self) -> None:
        """Make the directory.

        Raises:
            StoreError: It cannot be made or written to, or holds a search that an
                earlier version wrote.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StoreError(
                f"The search directory must be writable; received {self.root}: "
                f"{error}. Choose another with --directory."
            ) from error
        self.check_version()

    def check_version(self) -> None:
        """Refuse the directory of a search that another version wrote.

        A whole file of another format is not damaged: the other version can read it.
        Of the trials, only the first and the last are read: all of a thousand take
        a tenth of a second.

        Raises:
            StoreError: It holds one.
        """
        points = self.root.glob("trial_*/point.json")
        if (self.root / "oracle.json").exists() or any(points):
            raise StoreError(
                "The search directory must be of this version's making; received "
                f"{self.root}, whose search version 0.1 wrote. Finish it with that "
                "version, or choose another with --directory."
            )
        ids = self.trial_ids()
        ends = dict.fromkeys([*ids[:1], *ids[-1:]])
        for file in (self.settings_file, *map(self.trial_file, ends)):
            try:
                content = read_json(file)
            except (FileNotFoundError, ValueError):  # Recovery reports it.
                continue
            found = content.get("format", FORMAT) if isinstance(content, dict) else None
            if found not in (None, FORMAT):
                raise StoreError(
                    "The search directory must be of this version's making; received "
                    f"{file}, which has format {found!r}, not {FORMAT}. Use the "
                    "version that wrote it, or choose another with --directory."
                )

    def discard_if_unused(self) -> None:
        """Remove the directory again if no trial has begun in it."""
        began = [self.settings_file, self.results_file]
        if self.trial_ids() or (self.settings_file.exists() and not self.is_new):
            return
        for file in (
            self.lock_file,
            self.members_file,
            self.run_file,
            self.ray_file,
            self.native_log_file,
            *(began if self.is_new else ()),
        ):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # It holds other files, or was never made.
            self.root.rmdir()
