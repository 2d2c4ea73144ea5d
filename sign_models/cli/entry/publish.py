"""A translator for others: to a folder in Hugging Face's layout, or to the Hub."""

from sign_models.cli import commands
from sign_models.cli.commands import option

EXAMPLES = """
mlflow run . -e publish -P version=champion -P repo=./my-translator
mlflow run . -e publish -P version=champion -P repo=user/my-translator
python -m entrypoints.publish --version 3 --repo user/my-translator --private false
"""


@commands.tool(
    "publish",
    option(
        "--version",
        "Of sign-translator: alias, version, run ID or MLflow URI.  [default: champion]",
        metavar="MODEL",
    ),
    option(
        "--repo",
        "Folder, or user/name on the Hub (also hf://user/name; ./user/name is a folder).",
        metavar="DIR|USER/NAME",
    ),
    option("--license", "Of the model, such as cc-by-4.0.  [default: as the version states it, else unknown]"),
    commands.flag("--private", "Make a repository that is not there yet private.  [default: true]"),
    commands.flag("--replace", "Write over another version; a repository keeps what it held in its history."),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Write weights, config, tokenizer and model card of a version; sign_models.load reads them back."""
    from sign_models.cli.publish import parse
    from sign_models.pipeline.publish import run_publish

    run_publish(parse(given))
