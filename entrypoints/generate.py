"""One stage: text for every video, scores, and the translator in one model."""

from sign_models.cli import commands
from sign_models.pipeline.options import Options

EXAMPLES = """
python -m entrypoints.generate --data my_data --splits test
mlflow run . -e generate -P alignment_model=champion -P beams=8
"""


@commands.command("generate", examples=EXAMPLES)
def main(options: Options) -> None:
    """Write generation_results.json, score it where references exist, register sign-translator."""
    from sign_models.pipeline import runner

    runner.run_generate(options)


if __name__ == "__main__":
    commands.run(main)
