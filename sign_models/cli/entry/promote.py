"""Move champion to a version that is not worse, or back."""

from sign_models.cli import commands

EXAMPLES = """
mlflow run . -e promote -P version=candidate
mlflow run . -e promote -P version=3 -P force=true -P reason="half the size"
python -m entrypoints.promote --model sign-skeleton --version 2 --alias staging
python -m entrypoints.promote --require "precision_accepted>=0.85,false_accepts<=0.02"
python -m entrypoints.promote --rollback
"""


@commands.tool(
    "promote",
    commands.option("--model", "Registered model.  [default: sign-translator]", metavar="NAME"),
    commands.option(
        "--version", "What to promote: alias, version, run ID or MLflow URI.  [default: candidate]", metavar="MODEL"
    ),
    commands.option("--alias", "Alias to move; what held it becomes previous.  [default: champion]", metavar="NAME"),
    commands.option(
        "--metric",
        "What must not be worse than the present version's.  [default: chrF of test, else dev; other stages: score]",
        metavar="NAME",
    ),
    commands.option(
        "--require",
        "What else its figures must be, by comma, e.g. coverage>=0.5,precision_accepted>=0.85 (docs/confidence.md).",
        metavar="BOUNDS",
    ),
    commands.flag("--force", "Promote a worse or incomparable version; needs --reason."),
    commands.option("--reason", "Why; recorded with the version.", metavar="TEXT"),
    commands.flag("--rollback", "Move the alias back to the version that held it before."),
    commands.option(
        "--data",
        "Folder to score both versions on, where they were scored on different data.  "
        "[default: the embedded corpus, for a version made on it]",
        metavar="DIR",
    ),
    commands.option("--scoring", "Preset of docs/scoring.md for that.  [default: auto]", metavar="NAME"),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Check a version, compare it with the present champion, and make it the champion."""
    from sign_models.cli.registry import parse_promote
    from sign_models.pipeline.registry import run_promote

    run_promote(parse_promote(given))
