"""One stage: train the alignment model on representations and texts, log it, register it."""

from sign_models.cli import commands
from sign_models.pipeline.options import Options

EXAMPLES = """
python -m entrypoints.alignment --data my_data --epochs 50
mlflow run . -e alignment -P epochs=50 -P finetune=false
"""


@commands.command("alignment", examples=EXAMPLES)
def main(options: Options) -> None:
    """Train the alignment model, which turns representations into text, and register it as sign-alignment."""
    from sign_models.pipeline import runner

    runner.run_alignment(options)


if __name__ == "__main__":
    commands.run(main)
