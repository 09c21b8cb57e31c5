"""restore: an oracle goes on from what its directory holds, damaged or not.

KerasTuner's whole state follows from the trials in the order in which they began;
oracle.json adds which worker is at which trial and in which order trials ended.
"""

from __future__ import annotations

from typing import Any

from keras_tuner.src.engine import trial as trial_module
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from tuning.oracles.durable import ENDED, DurableOracle, Status
from tuning.space.limits import point
from tuning.store import recovery
from tuning.store.directory import StoreError, write_json
from tuning.store.recovery import Tell, TrialFiles


def restore(oracle: DurableOracle, tell: Tell) -> None:
    """Give a new oracle the state of its directory; mend what is damaged.

    - A damaged oracle.json is rebuilt from the trials, a trial.json from its
      point.json and oracle.json, a point.json from its trial.json.
    - A trial whose score is lost runs again.
    - A trial of which nothing is left has its point drawn again.

    Args:
        oracle: As `tuning.oracles.kinds.make_oracle` makes it, without trials.
        tell: Is told what was damaged.

    Raises:
        StoreError: Nothing is left of a trial, and the space has no other point.
    """
    ids = oracle.store.trial_ids()
    state = recovery.read_state(oracle.store, tell)
    if state is None and not ids:
        return
    is_damaged = state is None
    state = state or {"run": None, "seed_state": 0, "ongoing_trials": {}, "ended": []}
    ended = {trial_id: rest for trial_id, *rest in state["ended"]}
    known = {*ids, *ended, *state["ongoing_trials"].values()}
    for trial_id in _without_gaps(known, oracle.max_trials):
        files = TrialFiles(oracle.store, trial_id, oracle.hyperparameters.space, tell)
        if files.values is None:
            _draw_again(oracle, trial_id, tell)
        else:
            oracle.points[trial_id] = files.point or oracle.point_of(
                trial_id, files.values
            )
            oracle.place(_trial(oracle, files, ended.get(trial_id)))
        if files.are_damaged:
            is_damaged = True
            oracle.save_point(trial_id)
            oracle._save_trial(oracle.trials[trial_id])
        # As it was when the next trial was drawn.
        oracle._seed_state = max(
            oracle._seed_state, oracle.points[trial_id]["seed_state"]
        )
    oracle._seed_state = max(oracle._seed_state, state["seed_state"])
    oracle.run = state["run"]
    done = {t: 0 for t, trial in oracle.trials.items() if trial.status in ENDED}
    oracle.end_order = [t for t in {**ended, **done} if t in done]
    oracle.ongoing_trials = {
        tuner_id: oracle.trials[trial_id]
        for tuner_id, trial_id in state["ongoing_trials"].items()
        if trial_id in oracle.trials and trial_id not in done
    }
    if is_damaged:
        oracle.run_again([])
    else:
        oracle.queue_unfinished()


def mend_results(oracle: DurableOracle, tell: Tell) -> None:
    """Check what completed trials left; hand out again those that lost their weights.

    A score and its weights belong together: a trial whose weights are damaged runs
    again, as does the best one without any. A damaged record.json is rebuilt from
    the network's cost; the trial's history is lost.

    Args:
        oracle: Of the search, before it begins its run.
        tell: Is told what was damaged.
    """
    if again := _without_weights(oracle, tell):
        oracle.run_again(again)
    for trial_id in oracle.end_order:
        _mend_record(oracle, trial_id, tell)


def _without_gaps(ids: set[str], most: int) -> list[str]:
    """Return ids with those between them that are missing; none that is foreign."""
    by_number = {int(trial_id): trial_id for trial_id in ids}
    numbers = [number for number in by_number if number < max(most, len(by_number))]
    width = len(str(most))
    return [
        by_number.get(number, f"{number:0{width}d}")
        for number in range(max(numbers, default=-1) + 1)
    ]


def _trial(oracle: DurableOracle, files: TrialFiles, ended: Any) -> Any:
    # The space is this search's own: what a file says of it is not even read.
    hp = point(files.values or {}, oracle.hyperparameters)
    trial = trial_module.Trial(hp, files.trial_id, Status.RUNNING)
    if files.trial is not None:
        trial.metrics = MetricsTracker.from_config(files.trial["metrics"])
        trial.score = files.trial["score"]
        trial.best_step = files.trial.get("best_step") or 0
        trial.status = files.trial["status"]
        trial.message = files.trial.get("message")
    elif ended is not None:
        trial.status, trial.score = ended
        if trial.score is not None:
            trial.metrics.register(
                oracle.objective.name, direction=oracle.objective.direction
            )
            trial.metrics.update(oracle.objective.name, trial.score, step=0)
    return trial


def _draw_again(oracle: DurableOracle, trial_id: str, tell: Tell) -> None:
    tell(f"Nothing is left of trial {trial_id}; its point is drawn again.")
    response = oracle.populate_space(trial_id)
    if response["status"] != Status.RUNNING:
        raise StoreError(
            "A trial's point must be in its folder or be drawn again; received "
            f"{oracle.store.trial_folder(trial_id)}, where it is not, and the space "
            "has no other. Put the folder back, or start in another directory."
        )
    hp = point(response["values"], oracle.hyperparameters)
    trial = trial_module.Trial(hp, trial_id, Status.RUNNING)
    oracle._save_trial(trial)  # Keeps its point, too.
    oracle.place(trial)


def _without_weights(oracle: DurableOracle, tell: Tell) -> list[str]:
    """Return the completed trials that have to run again for want of weights."""
    completed = [oracle.trials[key] for key in oracle.best_first(oracle.end_order)]
    again: list[str] = []
    for trial in completed:
        file = oracle.store.weights_file(trial.trial_id)
        existed = file.exists()
        if recovery.check_weights(oracle.store, trial.trial_id, tell):
            continue
        if existed or trial is completed[0]:
            tell(f"Trial {trial.trial_id} runs again: its score needs its weights.")
            again.append(trial.trial_id)
    return again


def _mend_record(oracle: DurableOracle, trial_id: str, tell: Tell) -> None:
    file = oracle.store.record_file(trial_id)
    existed = file.exists()
    if recovery.read_record(oracle.store, trial_id, tell) is None and existed:
        cost = oracle.cost(oracle.trials[trial_id].hyperparameters.values)
        write_json(file, {**cost._asdict(), "history": {}})
