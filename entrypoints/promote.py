"""Move champion to a version that is not worse, or back."""

from sign_models import cli

EXAMPLES = """
mlflow run . -e promote -P version=candidate
mlflow run . -e promote -P version=3 -P force=true -P reason="half the size"
python -m entrypoints.promote --model sign-skeleton --version 2 --alias staging
python -m entrypoints.promote --rollback
"""


@cli.tool(
    "promote",
    cli.option("--model", "Registered model.  [default: sign-translator]", metavar="NAME"),
    cli.option(
        "--version", "What to promote: alias, version, run ID or MLflow URI.  [default: candidate]", metavar="MODEL"
    ),
    cli.option("--alias", "Alias to move; what held it becomes previous.  [default: champion]", metavar="NAME"),
    cli.option(
        "--metric",
        "What must not be worse than the present version's.  [default: chrF of test, else dev; other stages: score]",
        metavar="NAME",
    ),
    cli.flag("--force", "Promote a worse or incomparable version; needs --reason."),
    cli.option("--reason", "Why; recorded with the version.", metavar="TEXT"),
    cli.flag("--rollback", "Move the alias back to the version that held it before."),
    cli.option(
        "--data",
        "Folder to score both versions on, where they were scored on different data.  "
        "[default: the embedded corpus, for a version made on it]",
        metavar="DIR",
    ),
    cli.option("--scoring", "Preset of docs/scoring.md for that.  [default: auto]", metavar="NAME"),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Check a version, compare it with the present champion, and make it the champion."""
    from sign_models import registry_phase

    registry_phase.run_promote(registry_phase.parse_promote(given))


if __name__ == "__main__":
    cli.run(main)
