"""From files and command lines to checked parameters.

Layers, a later one winning: params/<stage>.yaml, presets, the override file, single values of the command line (-P).
Every layer is flattened to dotted names with the stage in front, `alignment.training.lr`, checked by name on the way,
and the merged values are checked by type and range at the end, so that one message lists every mistake.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sign_models.errors import DataError, ParamsError
from sign_models.keypoints import yaml_files
from sign_models.params.schema import PipelineParams

INSTALLED = Path(__file__).resolve().with_name("files")  # a copy of params/, made by setup.py
FOLDER = INSTALLED if INSTALLED.is_dir() else Path(__file__).resolve().parents[2] / "params"
# Old name of a parameter -> the name that took its place: an old file is told what to write, not only that it is wrong.
RENAMED = {
    "augment.turn": "augment.yaw",
    "augment.proportions": "augment.limb_scale",
    "augment.reach": "augment.arm_reach",
    "augment.place": "augment.hand_shift",
    "augment.build": "augment.landmark_jitter",
}
SHORT = ("epochs", "steps", "batch_size", "lr", "seed")  # stand for training.<name>

Scalar = str | int | float | bool


def resolve(
    stage: str | None = None,
    preset: str = "",
    override: Path | None = None,
    sets: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    schema: type[PipelineParams] = PipelineParams,
) -> PipelineParams:
    """The parameters of every stage, checked.

    stage     whose parameters a name without a stage in front means; None: those of every stage that has the name.
    preset    names of files in params/presets, comma separated, the last one winning.
    override  YAML file, by stage (`alignment: {training: {lr: 1e-4}}`) or, for a single stage, without the stage.
    sets      name -> value as typed; names are dotted, with or without the stage in front, or one of SHORT.
    options   other names the command accepts, so that a misspelt one of these gets its hint too.
    schema    type of the answer: a section for each stage. A stage without a file has the values of its type.

    Raises ParamsError with all mistakes, each with its place and the nearest valid name.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    mistakes: list[str] = []

    def put(layer: Iterable[tuple[str, Any]], place: str) -> None:
        fresh = dict(layer)
        for name, value in fresh.items():
            values[name], places[name] = value, place
        for name, value in fresh.items():  # the layer that says how long wins whole: 3 epochs end an earlier 800 steps
            section, _, leaf = name.rpartition(".")
            twin = f"{section}.{'epochs' if leaf == 'steps' else 'steps'}"
            if section.endswith(".training") and leaf in ("steps", "epochs") and value is not None:
                if twin not in fresh:
                    values[twin], places[twin] = None, place
                    if f"{section}.min_steps" not in fresh:  # who asks for 3 epochs gets 3
                        values[f"{section}.min_steps"] = 0
                elif fresh[twin] is not None and leaf == "steps":
                    mistakes.append(f"{place}: {section} has both steps and epochs; wanted one; leave the other out")

    stages = sections(schema)
    for name in stages:
        file = FOLDER / f"{name}.yaml"
        if not file.is_file():
            continue
        put(_flat({name: read_yaml(file)}, None, _shown(file), mistakes, schema), _shown(file))
    for name in filter(None, (part.strip() for part in preset.split(","))):
        file = FOLDER / "presets" / f"{name}.yaml"
        if name not in presets():  # which a path out of the folder is not either
            mistakes.append(f"preset '{name}' does not exist; {_hint(name, presets())}")
            continue
        put(_flat(read_yaml(file), None, _shown(file), mistakes, schema), _shown(file))
    if override is not None:
        put(_flat(read_yaml(override), stage, str(override), mistakes, schema), str(override))
    put(_typed(sets or {}, stage, options, mistakes, schema), "command line")

    for name in stages:
        steps, epochs = f"{name}.training.steps", f"{name}.training.epochs"
        if values.get(steps, 0) is None and values.get(epochs, 0) is None:
            mistakes.append(f"{places[epochs]}: {steps} and {epochs} are both null; wanted one of them")
    for name, kind in names(schema).items():  # the schema alone would read `true` as the number 1
        if isinstance(values.get(name), bool) and bool not in kinds(kind):
            mistakes.append(f"{places[name]}: {name} is {str(values[name]).lower()}; wanted no truth value")
    try:
        params = schema.model_validate({name: {} for name in stages} | _nested(values))
    except ValidationError as error:
        mistakes += [_told(dict(detail), values, places) for detail in error.errors()]
    if mistakes:
        raise ParamsError(mistakes[0] if len(mistakes) == 1 else "\n  ".join([f"{len(mistakes)} mistakes", *mistakes]))
    return params


def presets() -> list[str]:
    """Names of the files in params/presets."""
    return sorted(file.stem for file in (FOLDER / "presets").glob("*.yaml"))


def names(schema: type[PipelineParams] = PipelineParams) -> dict[str, Any]:
    """Dotted name, the stage in front -> type annotation of every parameter."""
    return dict(_leaves(schema))


def sections(schema: type[PipelineParams] = PipelineParams) -> dict[str, type[BaseModel]]:
    """Stage -> type of its parameters."""
    return {name: model for name, field in schema.model_fields.items() if (model := section(field.annotation))}


def flatten(params: BaseModel, prefix: str) -> dict[str, Scalar]:
    """Dotted name -> value, for MLflow: `alignment.finetune`. Always has a dot, which no MLproject parameter has.

    A list becomes its items joined by commas, None becomes "null".
    """
    flat: dict[str, Scalar] = {}
    for key, value in params:
        if isinstance(value, BaseModel):
            flat |= flatten(value, f"{prefix}.{key}")
        elif isinstance(value, (list, tuple)):
            flat[f"{prefix}.{key}"] = ",".join(map(str, value))
        else:
            flat[f"{prefix}.{key}"] = "null" if value is None else value
    return flat


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, by the whole or by the part after its last dot; None where none is alike."""
    by_leaf: dict[str, str] = {}
    for choice in choices:
        by_leaf.setdefault(choice, choice)
        by_leaf.setdefault(choice.rpartition(".")[2], choice)
    close = difflib.get_close_matches(name, by_leaf, n=1) or difflib.get_close_matches(
        name.rpartition(".")[2], by_leaf, n=1
    )
    return by_leaf[close[0]] if close else None


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping a YAML file holds."""
    if file.suffix == ".py":
        raise ParamsError(
            "a Python file is not read, since reading it would run it",
            place=str(file),
            wanted="YAML",
            remedy=f"write {file.with_suffix('.yaml').name}, e.g. 'alignment: {{training: {{epochs: 50}}}}'",
        )
    try:
        content = yaml_files.read_yaml(file)
    except OSError as error:
        raise ParamsError(f"cannot be read: {error.strerror}", place=str(file), wanted="a YAML file") from error
    except DataError as error:
        raise ParamsError(error.found, place=str(file), wanted="a YAML file") from error
    except ValueError as error:
        raise ParamsError(f"is not YAML: {error}", place=str(file)) from error
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ParamsError(found, place=str(file), wanted="names and values, e.g. 'training: {epochs: 50}'")
    return content


def _flat(
    content: Mapping[str, Any], stage: str | None, place: str, mistakes: list[str], schema: type[PipelineParams]
) -> Iterator[tuple[str, Any]]:
    """Dotted name and value of a file's content; what is not a parameter goes to `mistakes`."""
    stages = sections(schema)
    for key, value in content.items():
        if key in stages:
            yield from _walk(value, stages[key], key, place, mistakes, schema)
        elif stage is not None:
            yield from _walk({key: value}, stages[stage], stage, place, mistakes, schema)
        else:
            mistakes.append(f"{place}: '{key}' is no stage; {_hint(str(key), stages)}")


def _walk(
    content: Any, model: type[BaseModel], path: str, place: str, mistakes: list[str], schema: type[PipelineParams]
) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict):
        mistakes.append(
            f"{place}: {path} is {reprlib.repr(content)}; wanted a section with {', '.join(model.model_fields)}"
        )
        return
    for key, value in content.items():
        field = model.model_fields.get(key)
        name = f"{path}.{key}"
        if field is None:
            whole = [known for known in names(schema) if known.startswith(path.partition(".")[0] + ".")]
            here = [f"{path}.{known}" for known in model.model_fields]
            close = nearest(str(key), [*here, *(sections(schema) if "." not in path else ())])
            hint = f"did you mean '{close}'?" if close else _hint(str(key), whole)
            hint = _renamed(name) or hint
            mistakes.append(f"{place}: {name} is no parameter; {hint}")
        elif inner := section(field.annotation):
            yield from _walk(value, inner, name, place, mistakes, schema)
        else:
            yield name, value


def _typed(
    sets: Mapping[str, str],
    stage: str | None,
    options: Sequence[str],
    mistakes: list[str],
    schema: type[PipelineParams],
) -> Iterator[tuple[str, Any]]:
    """Full name and value of what was typed; a name that several stages share is given once for each."""
    known, stages = names(schema), sections(schema)
    own = (f"{stage}.", "execution.")  # a command of one stage has its own names, and those of all commands
    mine = [full.split(".", 1) for full in known if stage is None or full.startswith(own)]
    for name, text in sorted(sets.items(), key=lambda item: item[0].count(".")):  # the more exact name wins
        head, _, rest = name.partition(".")
        named, tail = (head, rest) if head in stages else (None, name)
        tails = (f"training.{tail}", tail) if tail in SHORT else (tail,)
        targets = [f"{its}.{leaf}" for its, leaf in mine if leaf in tails and named in (None, its)]
        if not targets:
            shorts = [short for short in SHORT if any(leaf in (short, f"training.{short}") for _, leaf in mine)]
            choices = [*options, *shorts, *(".".join(full) if stage is None else full[1] for full in mine)]
            whose = f" of {stage}" if stage else ""
            hint = _renamed(name) or (f"it belongs to {head}" if name in known else _hint(name, choices))
            mistakes.append(f"'{name}' is no option or parameter{whose}; {hint}")
        for target in targets:
            yield target, _parsed(text, known[target])


def _parsed(text: str, annotation: Any) -> Any:
    """A typed value as far as its text alone decides; numbers are left to the schema, which reads `1e-3` rightly."""
    accepted = kinds(annotation)
    if type(None) in accepted and text.lower() in ("null", "none"):
        return None
    if any(get_origin(kind) is list for kind in accepted):
        return [item.strip() for item in text.strip("[] ").split(",") if item.strip()]
    return text


def _told(detail: Mapping[str, Any], values: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """One mistake that the schema found, as `place: name is value; wanted ...`."""
    parts = [str(part) for part in detail["loc"]]
    name = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in values), None)
    if name is None:
        return f"params/{parts[0]}.yaml: {'.'.join(parts)} is missing; give it a value"
    wanted = str(detail["msg"]).removeprefix("Input should be ").removeprefix("Value error, ").partition(", unable")[0]
    choices = re.findall(r"[\w-]+", wanted.removeprefix("one of ")) if wanted.startswith(("one of ", "'")) else []
    close = nearest(str(detail["input"]), choices)
    hint = f"; did you mean '{close}'?" if close else ""
    return f"{places[name]}: {name} is {reprlib.repr(values[name])}; wanted {wanted}{hint}"


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, leaf = name.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return tree


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, field in model.model_fields.items():
        if inner := section(field.annotation):
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield prefix + key, field.annotation


def section(annotation: Any) -> type[BaseModel] | None:
    """The model of a section of parameters; None where the annotation is that of one parameter."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def kinds(annotation: Any) -> list[Any]:
    """The alternatives of a union, without their ranges."""
    if get_origin(annotation) is Annotated:
        return kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in kinds(part)]
    return [annotation]


def _hint(name: str, choices: Iterable[str]) -> str:
    choices = list(choices)
    close = nearest(name, choices)
    if close is not None:
        return f"did you mean '{close}'?"
    return f"wanted one of {', '.join(choices)}" if len(choices) <= 12 else "params/*.yaml list every name"


def _renamed(name: str) -> str:
    """What took the place of an old parameter; "" where `name` is none."""
    old = next((old for old in RENAMED if f".{name}".endswith(f".{old}")), None)
    return f"it is called '{name.removesuffix(old)}{RENAMED[old]}' now" if old else ""


def _shown(file: Path) -> str:
    return str(Path("params", file.relative_to(FOLDER)))
