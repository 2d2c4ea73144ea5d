"""Optuna's studies in the tracking store, by MLflow's own storage."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from sign_models.errors import ResourceError
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
        ResourceError: Spark's Python package is missing.
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
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ResourceError(
            "pyspark is not installed", place="spark", wanted="Spark's Python package", remedy="pip install pyspark"
        ) from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else executors take the python3 of their PATH
    try:
        SparkSession.builder.appName("sign-models sweep").getOrCreate()
    except PySparkException as error:
        remedy = "install Java (17 or newer), and check Spark's settings"
        raise ResourceError(str(error)[:160], place="spark", wanted="a Spark session", remedy=remedy) from error
    return MlflowSparkStudy
