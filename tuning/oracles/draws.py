"""Draws: which point an oracle draws at random, and what comes before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras_tuner

from tuning.space.limits import MAX_DRAWS, default_point, draw


class Draws(keras_tuner.Oracle):
    """An oracle whose random points are within the limits.

    The points that people named come first, then the default point of the space.

    Attributes:
        given: Points to try before all others, complete.
        fits: Tells whether a point, as values by name, is within the limits.
    """

    given: list[dict[str, Any]]
    fits: Callable[[dict[str, Any]], bool]

    def next_given(self) -> dict[str, Any] | None:
        """Return the first of the points that people named that was not tried."""
        untried = (values for values in self.given if not self._duplicate(values))
        return next((dict(values) for values in untried), None)

    def _random_values(self) -> dict[str, Any] | None:
        if (values := self.next_given()) is not None:
            return values
        values = default_point(self.hyperparameters).values
        if not self._duplicate(values) and self.fits(values):
            return values
        for _ in range(MAX_DRAWS):
            values = self._untried_values()
            if values is None or self.fits(values):
                return values
        return None

    def _untried_values(self) -> dict[str, Any] | None:
        """Draw as KerasTuner does, which makes each hyperparameter anew for it."""
        for _ in range(self._max_collisions + 1):
            values = draw(self.hyperparameters, self._sample)
            if not self._duplicate(values):
                return values
        return None

    def _sample(self, hp: Any) -> Any:
        self._seed_state += 1
        return hp.random_sample(self._seed_state - 1)
