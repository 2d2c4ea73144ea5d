"""What people read in MLflow's UI: names of runs, their notes, and the cards of registered models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sign_models.stages.declaration import STAGES, Stage, by_role
from sign_models.tracking.registered.model_ref import LICENSE
from sign_models.tracking.store import client

NOTE, KIND = "mlflow.note.content", "mlflow.experimentKind"
LONGEST_CARD = 5000  # characters of a description in MLflow's database
UNNAMED_PRESET = "embedded"  # taken where no data is given; says nothing about the models
EXPERIMENT = """Sign-language keypoints to text. A `pipeline` run has a child for each stage; the order is {order}.
Each run says in its note what it did, on which data and models, and what to do next. Metrics are grouped: `train/`,
`validation/`, and `test/`, `dev/` for scores of generated text. Compare runs of one stage. Models: {models}."""
LIMITS = """It knows the signs, signers, cameras and texts of its training data and no others. Scores hold for data like
theirs. Texts can be fluent and wrong: have a signer check them before anyone relies on them."""


def run_name(stage: str, preset: str, experiment_id: str) -> str:
    """Name a new run: stage, preset, and the next number among the stage's runs, as in `alignment quick 3`.

    Args:
        stage: Of the run.
        preset: Names of presets, joined by commas.
        experiment_id: Experiment of the run.

    Returns:
        The name.
    """
    runs = client().search_runs(
        [experiment_id], f"tags.`sign.stage` = '{stage}'", max_results=100, order_by=["attributes.start_time DESC"]
    )
    numbers = [int(found[1]) for run in runs if (found := re.fullmatch(rf"{stage}\b.* (\d+)", run.info.run_name or ""))]
    named = [part.strip() for part in preset.split(",")]
    words = [part for part in named if part not in ("", UNNAMED_PRESET)]
    return " ".join([stage, *words, str(max(numbers, default=0) + 1)])


def is_random(name: str) -> bool:
    """Whether MLflow made a run's name up, as it does for runs of `mlflow run`.

    Args:
        name: Of the run.

    Returns:
        Whether it is of two of MLflow's words and a number.
    """
    from mlflow.utils import name_utils

    predicate, _, rest = name.partition("-")
    noun = rest.rpartition("-")[0]
    return predicate in _lower(name_utils._GENERATOR_PREDICATES) and noun in _lower(name_utils._GENERATOR_NOUNS)


def _lower(words: Iterable[str]) -> set[str]:
    return {word.lower() for word in words}


def describe_experiment(experiment_id: str) -> None:
    """Describe an experiment that nobody has described, and have the UI open it as one of trained models.

    Args:
        experiment_id: The experiment.
    """
    import mlflow

    store = client()
    tags = store.get_experiment(experiment_id).tags
    models = ", ".join(stage.registers for stage in STAGES.values() if stage.registers)
    texts = {NOTE: EXPERIMENT.format(order=", ".join(STAGES), models=models), KIND: "custom_model_development"}
    for name in texts.keys() - tags.keys():
        try:
            store.set_experiment_tag(experiment_id, name, texts[name])
        except mlflow.MlflowException:
            if name not in store.get_experiment(experiment_id).tags:
                raise  # else another user, who shares no lock with this one, was a moment faster


def table(rows: Mapping[str, object]) -> str:
    """Format names and values in Markdown.

    Args:
        rows: Value by name. Empty values are left out.

    Returns:
        A table.
    """
    shown = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in rows.items() if str(value)]
    return "\n".join(["| | |", "|---|---|", *shown])


def scores(metrics: Mapping[str, float], signatures: Mapping[str, str] | None = None) -> str:
    """Format the scores of each split in Markdown.

    Args:
        metrics: Value by name, as in "test/chrf".
        signatures: Recipe by metric.

    Returns:
        A list with a line for each split and recipe.
    """
    splits: dict[str, list[str]] = {}
    for name, value in metrics.items():
        split, _, figure = name.rpartition("/")
        splits.setdefault(split, []).append(f"{figure} {value:.4g}")
    lines = [f"- **{split or 'scores'}**: {', '.join(found)}" for split, found in splits.items()]
    return "\n".join(lines + [f"- recipe of {name}: `{text}`" for name, text in (signatures or {}).items()])


def link(run_id: str, experiment_id: str, text: str) -> str:
    """Link to a run's page in the UI.

    Args:
        run_id: Of the run.
        experiment_id: Of its experiment.
        text: Of the link.

    Returns:
        Markdown.
    """
    return f"[{text}](#/experiments/{experiment_id}/runs/{run_id})"


def model_description(stage: Stage) -> str:
    """Describe a registered model, for all of its versions.

    Args:
        stage: The stage that registers it.

    Returns:
        Markdown.
    """
    below = ", ".join(f"`{by_role()[role].registers}`" for role in stage.upstream)
    built = f" It is built on {below}." if below else ""
    promote = f"mlflow run . -e promote -P model={stage.registers}"
    aliases = (
        "Aliases: `candidate` is the newest successful training, `champion` the one that was promoted "
        f"(`{promote}`), `previous` the champion before it."
    )
    return f"{stage.help}{built}\n\n{aliases}\n\n{LIMITS}"


def card(
    stage: Stage,
    uri: str,
    *,
    data: Mapping[str, str],
    lineage: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    call: str = "",
) -> str:
    """Write the model card of a version.

    Args:
        stage: What made it.
        uri: Of the version.
        data: Size and source of each input that it was trained or scored on.
        lineage: Version by role of the models that it was built on.
        metrics: Its scores.
        tags: Of its run.
        call: How to call it. "": by MLflow's URI.

    Returns:
        Markdown of at most LONGEST_CARD characters.
    """
    signatures = {k.rpartition(".")[2]: v for k, v in tags.items() if k.startswith("sign.signature.")}
    facts = {
        "version": f"`{uri}`",
        "preset": tags.get("sign.preset", ""),
        "code": f"commit `{tags.get('sign.commit', 'unknown')}`, changed: {tags.get('sign.dirty', 'unknown')}",
        "license": tags.get(LICENSE) or "unknown: none was stated, and the terms of the training data apply",
        **{f"data: {name}": found for name, found in data.items()},
        **{f"built on: {role}": f"`{version}`" for role, version in lineage.items()},
    }
    parts = [stage.help, table(facts), "**Scores**", scores(metrics, signatures), "**Limits**", LIMITS]
    text = "\n\n".join([*parts, "**How to call it**", call or _call(stage, uri)])
    return text if len(text) <= LONGEST_CARD else text[: LONGEST_CARD - 4] + " ..."


def _call(stage: Stage, uri: str) -> str:
    if stage.report:  # texts: its model is a translator
        return f"{calling(uri)}\nor `mlflow models serve -m {uri} --env-manager local -p 5001`"
    following = next((s.name for s in STAGES.values() if stage.made_role in s.upstream), "")
    if not following:
        return f'```python\nmlflow.pyfunc.load_model("{uri}").predict(clips)\n```'
    version = uri.rpartition("/")[2]
    return f"`mlflow run . -e {following} -P {stage.made_role}_model={version}`"


def calling(uri: str) -> str:
    """How a translator is called from Python.

    Args:
        uri: Of the version.

    Returns:
        Markdown.
    """
    lines = [
        "import sign_models as sm",
        f'for segment in sm.load("{uri}").translate("clip.pose"):',
        "    print(segment.start, segment.end, segment.text)",
    ]
    return "\n".join(["```python", *lines, "```"])
