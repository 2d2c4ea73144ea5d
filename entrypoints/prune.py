"""House-keeping: checkpoints and versions that nothing needs."""

from sign_models import cli

EXAMPLES = """
mlflow run . -e prune
mlflow run . -e prune -P yes=true
"""


@cli.tool("prune", cli.flag("--yes", "Delete what is listed."), examples=EXAMPLES)
def main(**given: str) -> None:
    """List checkpoints of finished runs, and versions that no alias, no lineage of one and no open run needs."""
    from sign_models import registry_phase

    registry_phase.run_prune(registry_phase.parse_prune(given))


if __name__ == "__main__":
    cli.run(main)
