"""The command line: text in, typed options out; messages and exit codes."""
