"""Where a version comes from, back to the data."""

from sign_models.cli import commands

EXAMPLES = """
mlflow run . -e lineage -P model=sign-translator@champion
python -m entrypoints.lineage --model sign-alignment/3
"""


@commands.tool(
    "lineage",
    commands.option(
        "--model", "sign-translator@champion, sign-skeleton/2 and so on.  [default: sign-translator]", metavar="MODEL"
    ),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Print and log versions, runs, scores, params, commits and data digests, and what of them is missing."""
    from sign_models.cli.registry import parse_lineage
    from sign_models.pipeline.registry import run_lineage

    run_lineage(parse_lineage(given))
