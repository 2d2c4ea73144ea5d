"""Search the parameters of one stage: many trainings, the best version becomes the candidate."""

from sign_models.cli import commands

EXAMPLES = """
mlflow run . -e sweep -P stage=alignment -P trials=20 -P space=space.yaml -P data=my_data
python -m entrypoints.sweep --stage temporal --space space.yaml --workers 2 --training.epochs 10
"""

main = commands.sweep_command(EXAMPLES)
