"""Compare the runs of one stage: what differs in their parameters, and their scores, best first.

usage: python examples/compare_runs.py [STAGE] [METRIC]
"""

import sys

import mlflow

stage, metric = [*sys.argv[1:], *("alignment", "validation/score")[len(sys.argv) - 1 :]]
runs = mlflow.search_runs(
    search_all_experiments=True,
    filter_string=f"tags.`sign.stage` = '{stage}' and attributes.status = 'FINISHED'",
    output_format="list",
)
runs = sorted((run for run in runs if metric in run.data.metrics), key=lambda run: -run.data.metrics[metric])
if not runs:
    sys.exit(f"no finished run of stage {stage} has the metric {metric}")
values: dict[str, set[str]] = {}
for run in runs:
    for name, value in run.data.params.items():
        values.setdefault(name, set()).add(value)
differing = [name for name, found in values.items() if len(found) > 1]
for run in runs:
    print(f"{run.info.run_name:<24}{metric} {run.data.metrics[metric]:.4g}")
    for name in differing:
        print(f"    {name} {run.data.params.get(name, '-')}")
