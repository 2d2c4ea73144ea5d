import sys

from sign_models import interruption

# Python's own handler of Ctrl-C raises, and what is imported next can swallow that: click, MLflow, torch.
if any(word.partition(".")[0] == __name__ for word in sys.orig_argv[1:] if "/" not in word):
    interruption.guard()
