"""`python -m entrypoints.demo`, and the entry point `demo` of MLproject."""

from sign_models.cli import commands, group

main = group.command("demo")

if __name__ == "__main__":
    commands.run(main)
