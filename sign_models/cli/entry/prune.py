"""House-keeping: checkpoints and versions that nothing needs."""

from sign_models.cli import commands

EXAMPLES = """
mlflow run . -e prune
mlflow run . -e prune -P yes=true
"""


@commands.tool("prune", commands.flag("--yes", "Delete what is listed."), examples=EXAMPLES)
def main(**given: str) -> None:
    """List checkpoints of finished runs, and versions that no alias, no lineage of one and no open run needs."""
    from sign_models.cli.registry import parse_prune
    from sign_models.pipeline.registry import run_prune

    run_prune(parse_prune(given))
