"""All stages in order, or one of them: one parent run, a child run for each stage."""

from sign_models.cli import commands
from sign_models.pipeline.options import Options

EXAMPLES = """
python -m entrypoints.pipeline
python -m entrypoints.pipeline --data my_data --preset base
python -m entrypoints.pipeline --stage skeleton --skip-trained --no-inference --config-override my.yaml
mlflow run . -e pipeline -P skip_trained=true -P alignment.training.lr=1e-4
"""


@commands.command(None, examples=EXAMPLES)
def main(options: Options) -> None:
    """Run the stages skeleton, temporal, represent, alignment and generate, each on what the one before registered.

    A parameter without a stage in front, such as --epochs, goes to every stage that has it.
    """
    from sign_models.pipeline import runner

    runner.run_pipeline(options)
