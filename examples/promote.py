"""Promote a version behind its gate: it is loaded, answers its example, and must not be worse than the champion.

usage: python examples/promote.py [VERSION] [MODEL]
"""

import sys

from sign_models.errors import SignError
from sign_models.tracking.registered import lineage, promotion

version, model = [*sys.argv[1:], *("candidate", "sign-translator")[len(sys.argv) - 1 :]]
try:
    done = promotion.promote(model, version)
except SignError as refused:
    sys.exit(f"not promoted: {refused}")
print(f"{done.name}: {done.alias} is version {done.version}, was {done.previous}")
print(lineage.as_text(lineage.trace(f"{done.name}@{done.alias}")))
