"""The one package that imports MLflow, where it is used: runs, checkpoints, the registry, lineage."""
