"""Optuna's studies in the tracking store, by MLflow's own storage."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sign_models.errors import ResourceError, SignError
from sign_models.tracking.database import absolute_uri

if TYPE_CHECKING:
    import optuna


def open_study(
    name: str,
    experiment_id: str,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    *,
    spark: bool = False,
) -> optuna.Study:
    """Open a study, which maximizes. It is made where there is none of the name.

    Args:
        name: Of the study and its run.
        experiment_id: MLflow experiment that holds it.
        sampler: Chooses values.
        pruner: Stops trials.
        spark: Whether its trials run on Spark's executors.

    Returns:
        The study.

    Raises:
        ResourceError: Spark's Python package is missing, or no session can be started.
    """
    import mlflow
    import optuna
    from mlflow.optuna.storage import MlflowStorage

    storage = MlflowStorage(experiment_id)
    if spark:
        MlflowSparkStudy = _started_spark()
        on_spark: optuna.Study = MlflowSparkStudy(
            name, storage, sampler=sampler, pruner=pruner, direction="maximize",
            mlflow_tracking_uri=absolute_uri(mlflow.get_tracking_uri()),
        )  # fmt: skip
        return on_spark
    if storage.get_study_id_by_name_if_exists(name):  # load_if_exists has no effect on MLflow's storage
        return optuna.load_study(storage=storage, sampler=sampler, pruner=pruner, study_name=name)
    return optuna.create_study(storage=storage, sampler=sampler, pruner=pruner, study_name=name, direction="maximize")


def _started_spark() -> Any:
    """Start or find the Spark session that MLflow's study takes -> the study's class."""
    try:
        from mlflow.pyspark.optuna.study import MlflowSparkStudy
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ResourceError(
            "pyspark is not installed", place="spark", wanted="Spark's Python package", remedy="pip install pyspark"
        ) from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else executors take the python3 of their PATH
    with translate_spark_errors(
        "a Spark session", "install Java (17 or newer), and check Spark's settings and its master"
    ):
        SparkSession.builder.appName("sign-models sweep").getOrCreate()
    return MlflowSparkStudy


@contextmanager
def translate_spark_errors(wanted: str, remedy: str) -> Iterator[None]:
    """Raise what Spark raises as one of our errors.

    Args:
        wanted: What is asked of it.
        remedy: What to do where it fails.

    Yields:
        Nothing.

    Raises:
        ResourceError: It fails: with an error of its own, of Java's or of MLflow's study. Java's stack is left out.
    """
    try:
        yield
    except SignError:
        raise
    except Exception as error:
        lines = [
            line.strip(" :") for line in str(error).splitlines() if line.strip(" :") and not line.startswith("\tat ")
        ]
        said = " ".join(dict.fromkeys([*lines[:2], *lines[-1:]])) or type(error).__name__
        raise ResourceError(said[:400], place="spark", wanted=wanted, remedy=remedy) from error
