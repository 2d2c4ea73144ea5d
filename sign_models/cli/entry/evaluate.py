"""Score versions or files of sentences, side by side."""

from sign_models.cli import commands

EXAMPLES = """
mlflow run . -e evaluate -P models=champion,candidate,3 -P data=my_data -P splits=test
python -m entrypoints.evaluate --models champion --beams 8 --scoring lowercased
python -m entrypoints.evaluate --hypotheses ours.txt,theirs.txt --references references.txt --scoring phoenix14t
"""


@commands.tool(
    "evaluate",
    commands.option(
        "--models",
        "Versions of sign-translator, by comma: alias, version, run ID or MLflow URI; or sign-alignment@ALIAS.  "
        "[default: candidate]",
        metavar="MODELS",
    ),
    commands.DATA,
    commands.VIDEOS,
    commands.TEXTS,
    commands.option(
        "--splits",
        "Whose videos are translated, by comma: test, dev, train, none.  [default: test,dev, else what has texts]",
        metavar="SPLITS",
    ),
    commands.option("--scoring", "Preset of docs/scoring.md.  [default: auto]", metavar="NAME"),
    commands.option("--beams", "Texts followed at once.  [default: as each version was made to]", metavar="INTEGER"),
    commands.option(
        "--length-penalty", "Above 0 favours long texts.  [default: as each version was made to]", metavar="NUMBER"
    ),
    commands.option(
        "--reject-below",
        "Confidence below which a text is unsure.  [default: as each version was made]",
        metavar="NUMBER",
    ),
    commands.option("--batch-size", "Clips a step; less where memory runs out.", metavar="INTEGER"),
    commands.option(
        "--hypotheses", "Score these files in place of models: one sentence a line; several by comma.", metavar="FILES"
    ),
    commands.option("--references", "What should stand there: one sentence a line.", metavar="FILE"),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Scores, 95 % intervals and p-values of a paired bootstrap, with a table of every text in the run."""
    from sign_models.cli.evaluate import parse
    from sign_models.pipeline.evaluate import run_evaluate

    run_evaluate(parse(given))
