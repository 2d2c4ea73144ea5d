"""One stage: the temporal representations of every video."""

from sign_models.cli import commands
from sign_models.pipeline.options import Options

EXAMPLES = """
python -m entrypoints.represent --data my_data
mlflow run . -e represent -P temporal_model=champion
"""


@commands.command("represent", examples=EXAMPLES)
def main(options: Options) -> None:
    """Write temporal_representations_all/all_representations.npz: one variable-length array for every video."""
    from sign_models.pipeline import runner

    runner.run_represent(options)


if __name__ == "__main__":
    commands.run(main)
