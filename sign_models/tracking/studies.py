"""Optuna's studies in the tracking store, by MLflow's own storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sign_models.errors import ResourceError

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
    import optuna
    from mlflow.optuna.storage import MlflowStorage

    storage = MlflowStorage(experiment_id)
    if spark:
        try:
            from mlflow.pyspark.optuna.study import MlflowSparkStudy
        except ImportError as error:
            raise ResourceError(
                "pyspark is not installed", place="spark", wanted="Spark's Python package", remedy="pip install pyspark"
            ) from error
        on_spark: optuna.Study = MlflowSparkStudy(name, storage, sampler=sampler, pruner=pruner, direction="maximize")
        return on_spark
    if storage.get_study_id_by_name_if_exists(name):  # load_if_exists has no effect on MLflow's storage
        return optuna.load_study(storage=storage, sampler=sampler, pruner=pruner, study_name=name)
    return optuna.create_study(storage=storage, sampler=sampler, pruner=pruner, study_name=name, direction="maximize")
