"""One stage: train the temporal model on a skeleton model, log it, register it."""

from sign_models.cli import commands
from sign_models.pipeline.options import Options

EXAMPLES = """
python -m entrypoints.temporal --data my_data --skeleton-model champion
mlflow run . -e temporal -P skeleton_model=3 -P model.layers=6
"""


@commands.command("temporal", examples=EXAMPLES)
def main(options: Options) -> None:
    """Train the temporal model on a registered skeleton model and register it as sign-temporal."""
    from sign_models.pipeline import runner

    runner.run_temporal(options)


if __name__ == "__main__":
    commands.run(main)
