"""`sign-models COMMAND`, or `python -m sign_models COMMAND`."""

from sign_models import interruption

interruption.guard()  # Python's own handler of Ctrl-C raises, and what is imported next can swallow that: click, MLflow


def main() -> None:
    """Run `sign-models`."""
    from sign_models.cli import commands, group

    commands.run(group.group)


if __name__ == "__main__":
    main()
