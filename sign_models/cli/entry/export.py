"""A translator as ONNX graphs: an encoder and a decoder that onnxruntime runs."""

from sign_models.cli import commands
from sign_models.cli.commands import option

EXAMPLES = """
mlflow run . -e export -P version=champion -P format=onnx -P out=my_onnx
python -m entrypoints.export --version 3 --int8 --out my_onnx
"""


@commands.tool(
    "export",
    option(
        "--version",
        "Of sign-translator: alias, version, run ID or MLflow URI.  [default: champion]",
        metavar="MODEL",
    ),
    option("--format", "Only onnx.  [default: onnx]", metavar="FORMAT"),
    option("--out", "New folder for the graphs, config and tokenizer.", metavar="DIR"),
    commands.flag("--int8", "Keep weights with 8 bits: smaller, and texts may differ; they are compared."),
    examples=EXAMPLES,
)
def main(**given: str) -> None:
    """Write a version as ONNX, after onnxruntime gave torch's texts; docs/export.md says how to run it."""
    from sign_models.cli.export import parse
    from sign_models.pipeline.export import run_export

    run_export(parse(given))
