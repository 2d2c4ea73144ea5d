"""One stage: train the skeleton model, log it, register it."""

from sign_models.cli import commands
from sign_models.pipeline.options import Options

EXAMPLES = """
python -m entrypoints.skeleton --data my_data --steps 1000
mlflow run . -e skeleton -P epochs=20 -P model.width=256
"""


@commands.command("skeleton", examples=EXAMPLES)
def main(options: Options) -> None:
    """Train the skeleton model on single keypoint windows and register it as sign-skeleton."""
    from sign_models.pipeline import runner

    runner.run_skeleton(options)


if __name__ == "__main__":
    commands.run(main)
