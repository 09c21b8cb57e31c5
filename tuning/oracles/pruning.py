"""Pruning: which trials to stop early, by what the others had reached by then.

Pure functions of the objective's values after each epoch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

# The median of fewer says little; as in Optuna's MedianPruner.
MEDIAN_LEAST = 5
# Of the trials that reach a rung one in so many continues, as in Hyperband here.
REDUCTION = 3


def median_stops(
    own: Sequence[float], completed: Sequence[Sequence[float]], maximize: bool
) -> bool:
    """Return whether the median stopping rule stops a trial.

    It does if the best value of the trial so far is worse than the median of the
    running averages, up to the same epoch, of the trials that completed; there must
    be five of these.

    Args:
        own: The trial's values so far; one per epoch, at least one.
        completed: The values of each trial that completed.
        maximize: Whether more is better.

    Reference: Golovin et al., Google Vizier, KDD 2017, section 3.2.2.
    """
    if len(completed) < MEDIAN_LEAST:
        return False
    averages = [statistics.fmean(values[: len(own)]) for values in completed]
    middle = statistics.median(averages)
    return max(own) < middle if maximize else min(own) > middle


def halving_stops(
    own: Sequence[float], others: Sequence[Sequence[float]], maximize: bool
) -> bool:
    """Return whether asynchronous successive halving stops a trial.

    Rungs are after 1, 3, 9, 27, ... epochs. At a rung a trial continues if its value
    there is among the best third, rounded down but one at least, of those that have
    reached the rung so far, itself included; of equals all are.

    Args:
        own: The trial's values so far; one per epoch, at least one.
        others: The values of all other trials, ended or not.
        maximize: Whether more is better.

    Reference: Li et al., A System for Massively Parallel Hyperparameter Tuning,
    MLSys 2020 (arXiv 1810.05934), algorithm 2. There a trial waits at a rung until
    it is promoted; here it is stopped, as in Ray's and Optuna's implementations.
    """
    epochs = len(own)
    if not is_rung(epochs):
        return False
    rivals = [values[epochs - 1] for values in others if len(values) >= epochs]
    better = sum((v > own[-1]) if maximize else (v < own[-1]) for v in rivals)
    return better >= max(1, (len(rivals) + 1) // REDUCTION)


def is_rung(epochs: int) -> bool:
    """Return whether a number of epochs is a power of `REDUCTION`."""
    while epochs > 1 and epochs % REDUCTION == 0:
        epochs //= REDUCTION
    return epochs == 1


def stops(
    rule: str,
    own: Sequence[float],
    others: Sequence[tuple[bool, Sequence[float]]],
    maximize: bool,
) -> bool:
    """Return whether a rule stops a trial.

    Args:
        rule: "median" or "halving".
        own: The trial's values so far.
        others: Of each other trial whether it completed, and its values.
        maximize: Whether more is better.
    """
    decide: Callable[..., bool]
    if rule == "median":
        rivals = [values for has_completed, values in others if has_completed]
        decide = median_stops
    else:
        rivals = [values for _, values in others]
        decide = halving_stops
    return bool(own) and decide(own, rivals, maximize)
