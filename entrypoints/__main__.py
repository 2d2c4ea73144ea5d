"""`python -m entrypoints COMMAND`: all commands, as `sign-models COMMAND` of an installed package."""

from sign_models.__main__ import main

if __name__ == "__main__":
    main()
