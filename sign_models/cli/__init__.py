"""The command line: text to typed options, messages and exit codes."""
