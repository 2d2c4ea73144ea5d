"""After training: a page that translates the webcam or a video, on this machine."""

from sign_models.cli import commands
from sign_models.cli.commands import option

EXAMPLES = """
python -m entrypoints.demo
python -m entrypoints.demo --model candidate --port 9000
mlflow run . -e demo -P model=sign-translator@champion -P port=8080
"""


@commands.tool(
    "demo",
    option(
        "--model",
        "The translator: alias, version, run ID or MLflow URI.  [default: models:/sign-translator@champion]",
        metavar="MODEL",
    ),
    option("--port", "Where the page is.  [default: 8080]", metavar="NUMBER"),
    option("--host", "Address to listen on.  [default: 127.0.0.1, this machine only]", metavar="ADDRESS"),
    commands.flag("--strict-extractor", "Refuse to translate where training's extractor was another."),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Serve a page that makes keypoints of the webcam or a video in the browser, and shows what they say."""
    from sign_models.cli.demo import parse
    from sign_models.pipeline.demo import run_demo

    run_demo(parse(given))
