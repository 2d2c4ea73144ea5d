"""The one package that imports MLflow: runs, checkpoints, the registry, lineage. MLflow is imported where it is used."""
