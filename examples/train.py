"""Train from Python: all stages, or one of them, and print what was registered.

usage: python examples/train.py [--data DIR] [--stage STAGE] [--preset quick] [NAME=VALUE ...]
"""

import argparse

import sign_models as sm

parser = argparse.ArgumentParser()
parser.add_argument("--data", help="folder with the three input files; without it: the embedded corpus")
parser.add_argument("--stage")
parser.add_argument("--preset", default="quick")
parser.add_argument("params", nargs="*", help="dotted names with values, such as skeleton.training.lr=1e-4")
given = parser.parse_args()

made = sm.train(
    given.data,
    stage=given.stage,
    preset=given.preset,
    params=dict(pair.split("=", 1) for pair in given.params),
    experiment="examples",
)
for role, version in made.items():
    print(f"{role:<12}{version}")
