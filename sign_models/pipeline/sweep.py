"""A search over parameters of one stage: trials as child runs, pruned on validation, the best version the candidate.

Optuna chooses. MLflow's own Optuna storage keeps the study in the tracking store: a study run, under it a run a trial,
under that the run of the training, which is a command of its own. So a sweep that was cut off goes on when it is typed
again, and workers on one machine or on Spark share it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sign_models import interruption
from sign_models.errors import SignError, UpstreamError
from sign_models.params.space import Choice, Range, Space
from sign_models.pipeline.runner import to_terminal
from sign_models.stages.declaration import STAGES
from sign_models.tracking import process
from sign_models.tracking.registered.registration import CANDIDATE, move_candidate
from sign_models.tracking.registered.registry import resolve
from sign_models.tracking.runs import Run, stage_run
from sign_models.tracking.store import client
from sign_models.tracking.studies import open_study, translate_spark_errors

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)
POLL_S = 1.0  # between two looks at a training's curve
GRACE_S = 10.0  # for a training that was told to stop, before it is killed
SCORE = "validation/score"  # higher is better; every training logs it
UNSIGNED_S = 5.0  # after which a trial that no process signed is one whose sweep was killed as it began
LINES = 20  # of a failed training's last words that are kept


class TrialFailed(SignError):
    """A training of a sweep ended with an error; the sweep goes on with the others."""


@dataclass(frozen=True)
class SweepOptions:
    """What a sweep was asked for.

    Attributes:
        stage: Whose parameters are searched.
        trials: Trainings that end or are pruned, those of earlier calls of the same study counted in.
        space: The parameters and their ranges.
        arguments: Of the stage's own command, the same in every trial.
        study: Name; the same name goes on with the same study.
        workers: Trainings at once.
        spark: Whether Spark's executors train in place of this machine.
        seed: Of the sampler.
        experiment: MLflow experiment; "" for the default.
    """

    stage: str
    trials: int
    space: Space
    arguments: tuple[str, ...]
    study: str = ""
    workers: int = 1
    spark: bool = False
    seed: int = 0
    experiment: str = ""

    @property
    def name(self) -> str:
        """The study's name: as given, else by all that was asked but the number of trials."""
        if self.study:
            return self.study
        asked = json.dumps([self.stage, self.space.as_dict(), self.arguments, self.seed])
        return f"sweep-{self.stage}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def run_sweep(options: SweepOptions) -> None:
    """Run the trials that are missing, log what they showed, and make the best version the candidate.

    Args:
        options: Of the command.

    Raises:
        UpstreamError: No trial ended well.
    """
    o, stage = options, STAGES[options.stage]
    to_terminal()
    with stage_run("sweep", experiment=o.experiment or None) as run:
        run.log_params({"sweep.stage": o.stage, "sweep.trials": o.trials, "sweep.study": o.name, "sweep.seed": o.seed})
        run.log_dict(o.space.as_dict(), "space.json")
        run.log_code_state()
        study = _study(o, run)
        _close_dead_trials(study, run.experiment_id)
        done = _ended(study)
        if done:
            logger.info("sweep: study %s goes on after %d trials", o.name, done)
        if done < o.trials:
            objective = Training(o.stage, o.space, o.arguments, run.experiment_id)
            interruption.prolong(GRACE_S)
            more: dict[str, Any] = {} if o.spark else {"callbacks": [_stop_if_asked]}
            remedy = "see the runs of the trials and Spark's log; executors need this package and the tracking store"
            with translate_spark_errors("executors that train", remedy) if o.spark else nullcontext():
                study.optimize(objective, n_trials=o.trials - done, n_jobs=o.workers, catch=(TrialFailed,), **more)
            interruption.check()
            _close_dead_trials(study, run.experiment_id)
        client().set_terminated(str(study._study_id))
        _conclude(study, run, stage.made_role)


def _stop_if_asked(study: optuna.Study, trial: object) -> None:
    if interruption.requested():
        study.stop()


@dataclass(frozen=True)
class Training:
    """One trial: the stage's command in a process of its own, watched by its curve in the tracking store."""

    stage: str
    space: Space
    arguments: tuple[str, ...]
    experiment_id: str

    def __call__(self, trial: optuna.Trial) -> float:
        """Train once.

        Args:
            trial: Suggests the values.

        Returns:
            The best validation score.

        Raises:
            TrialFailed: The command ended with an error.
            optuna.TrialPruned: The curve was worse than those of the other trials.
        """
        import optuna

        chosen = {name: _suggested(trial, name, domain) for name, domain in self.space.domains.items()}
        trial.set_user_attr("process", process.identity())
        run_id = self._child_run(trial)
        trial.set_user_attr("run_id", run_id)
        client().set_tag(str(trial._trial_id), "mlflow.runName", f"trial {trial.number}")
        logger.info("sweep: trial %d, %s", trial.number, _shown(chosen))
        with tempfile.TemporaryFile("w+") as said:
            child = subprocess.Popen(
                [
                    *(sys.executable, "-m", *STAGES[self.stage].started_by, *self.arguments),
                    *(f"--{name}={value}" for name, value in chosen.items()),
                    "--candidate=false",
                ],
                env=os.environ | {"MLFLOW_RUN_ID": run_id, "MLFLOW_EXPERIMENT_ID": self.experiment_id},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the sweep, which ends the trainings one way
            )
            try:
                pruned = self._watch(trial, child, run_id)
            except BaseException:
                _end(child)
                raise
            if pruned:
                raise optuna.TrialPruned
            if child.returncode:
                said.seek(0)
                words = said.read().splitlines()[-LINES:]
                client().log_text(run_id, "\n".join(words), "error.txt")
                raise TrialFailed(
                    f"exit status {child.returncode}: {words[-1] if words else 'it said nothing'}",
                    place=f"trial {trial.number}, run {run_id}",
                    wanted="a training that ends",
                    remedy="error.txt of that run has its last lines",
                )
        return max(value for _, value in _curve(run_id))

    def _child_run(self, trial: optuna.Trial) -> str:
        tags = {"mlflow.parentRunId": str(trial._trial_id), "mlflow.runName": f"{self.stage} trial {trial.number}"}
        return str(client().create_run(self.experiment_id, tags=tags).info.run_id)

    def _watch(self, trial: optuna.Trial, child: subprocess.Popen[bytes], run_id: str) -> bool:
        """Report the curve until the training ends; whether it was pruned."""
        known = 0
        while True:
            ended = child.poll() is not None
            curve = _curve(run_id)
            for step, value in curve[known:]:
                trial.report(value, step)
            new, known = len(curve) > known, len(curve)
            if ended:
                return False
            if interruption.requested():
                raise TrialFailed("the sweep was told to stop", place=f"trial {trial.number}")
            if new and trial.should_prune():
                logger.info("sweep: trial %d is pruned at step %d", trial.number, curve[-1][0])
                _end(child)
                return True
            interruption.wait(POLL_S)


def _curve(run_id: str) -> list[tuple[int, float]]:
    """Step and validation score of a training, as far as the store has them."""
    return [(point.step, point.value) for point in client().get_metric_history(run_id, SCORE)]


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _suggested(trial: optuna.Trial, name: str, domain: Range | Choice) -> Any:
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.values)
    if domain.integer:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


def _shown(chosen: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in chosen.items()
    )


# The study ------------------------------------------------------------------------------------------------------------


def _study(o: SweepOptions, run: Run) -> optuna.Study:
    """The study of that name, made where there is none, as a child of this sweep's run."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=o.seed, constant_liar=o.workers > 1)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0)
    study = open_study(o.name, run.experiment_id, sampler, pruner, spark=o.spark)
    client().set_tag(str(study._study_id), "mlflow.parentRunId", run.id)
    return study


def _close_dead_trials(study: optuna.Study, experiment_id: str) -> None:
    """Call failed what a sweep that was cut off had begun; what another living sweep works on stays."""
    import optuna

    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        alive = process.process_alive(trial.user_attrs.get("process", {}))
        began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        unsigned = "process" not in trial.user_attrs and time.time() - began > UNSIGNED_S
        if alive is False or unsigned:
            # MLflow's storage does not find a trial by its number, as study.tell would
            study._storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)

    open_runs = client().search_runs([experiment_id], "attributes.status = 'RUNNING'")
    for orphan in (run for run in open_runs if "param_directions" in run.data.tags):
        # a trial belongs to its study by a tag that MLflow's storage sets a moment after the run
        if "mlflow.parentRunId" not in orphan.data.tags and time.time() - orphan.info.start_time / 1000 > UNSIGNED_S:
            client().set_terminated(orphan.info.run_id, "FAILED")


def _ended(study: optuna.Study) -> int:
    import optuna

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return len(study.get_trials(deepcopy=False, states=states))


def _conclude(study: optuna.Study, run: Run, role: str) -> None:
    """Record all trials in the sweep's run, and tag its best one. UpstreamError where none ended well."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    by_state = {state.name.lower(): sum(t.state == state for t in trials) for state in optuna.trial.TrialState}
    run.log_metrics({f"trials/{name}": count for name, count in by_state.items() if count}, 0)
    run.log_table(_table(trials), "trials.json")
    complete = [t for t in trials if t.state == optuna.trial.TrialState.COMPLETE]
    if not complete:
        raise UpstreamError(
            f"no trial of {len(trials)} ended well",
            place=f"study {study.study_name}",
            wanted="one",
            remedy="error.txt of the trials' runs says why; widen the space, or raise trials",
        )
    best = max(complete, key=lambda trial: trial.value)
    if len(complete) > 1 and (shares := _importance(study)):
        run.log_figure(picture(shares), "importance.png")
        run.log_dict(shares, "importance.json")
    version = resolve(best.user_attrs["run_id"], role)
    move_candidate(version)
    run.set_tags({"sign.sweep.best": version.uri, "sign.sweep.best.run_id": version.run_id})
    run.log_metrics({"trials/best": float(best.value)}, 0)
    print(f"{len(complete)} trials ended, {by_state.get('pruned', 0)} were pruned, {by_state.get('fail', 0)} failed")
    print(f"best: {version.uri}, score {best.value:.4g}, {_shown(best.params)}; {CANDIDATE} is this version now")
    print(f"run {run.id}")


def _importance(study: optuna.Study) -> dict[str, float]:
    """Share of each parameter in what the scores differ by (fANOVA); {} where the scores do not differ."""
    import optuna

    try:
        return dict(optuna.importance.get_param_importances(study))
    except (RuntimeError, ValueError) as error:  # too few trials, or all of one score
        logger.info("sweep: no importance, %s", error)
        return {}


def picture(shares: Mapping[str, float]) -> Any:
    """Bars of how much each parameter matters, the most important on top.

    Args:
        shares: By parameter.

    Returns:
        A figure of matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.5 * len(shares) + 1), layout="constrained")
    axis = figure.add_subplot()
    names = sorted(shares, key=lambda name: shares[name])
    axis.barh(names, [shares[name] for name in names])
    axis.set_xlabel("share of what the validation score differs by")
    return figure


def _table(trials: Sequence[Any]) -> dict[str, list[Any]]:
    names = sorted({name for trial in trials for name in trial.params})
    rows = sorted(trials, key=lambda trial: trial.number)
    return {
        "trial": [t.number for t in rows],
        "state": [t.state.name.lower() for t in rows],
        "score": [t.value for t in rows],
        "run": [t.user_attrs.get("run_id", "") for t in rows],
        **{name: [t.params.get(name) for t in rows] for name in names},
    }
