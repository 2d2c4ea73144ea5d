"""Before the pipeline: isolated clips with labels to composed sentences, a corpus to develop on."""

from sign_models.cli import commands
from sign_models.cli.commands import option

EXAMPLES = """
python -m entrypoints.compose --source my_signs --out my_corpus
python -m entrypoints.compose --source my_store --out my_corpus --sentences 2400,200,400 --words 3,6
mlflow run . -e compose -P source=my_signs -P out=my_corpus
mlflow run . -P data=my_corpus
"""


@commands.tool(
    "compose",
    option("--source", "Store, file or folder of isolated clips; the text of each is its label.", metavar="PATH"),
    option("--out", "New folder for the three input files.", metavar="DIR"),
    option("--sentences", "Composed sentences of train, dev and test.  [default: 480,60,120]", metavar="COUNTS"),
    option("--words", "Fewest and most signs a sentence.  [default: 2,5]", metavar="COUNTS"),
    option("--transition", "Frames of linear motion between two signs.  [default: 4]", metavar="INTEGER"),
    option("--seen", "Share of dev and test texts that training has too.  [default: 0.5]", metavar="SHARE"),
    commands.flag("--by-signer", "Give train, dev and test different signers.  [default: true]"),
    option("--seed", "Of all draws.  [default: 0]", metavar="INTEGER"),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Compose sentences of isolated clips: no coarticulation and no grammar, so say so beside every figure."""
    from sign_models.cli.compose import parse
    from sign_models.pipeline.compose import run_compose

    run_compose(*parse(given))
