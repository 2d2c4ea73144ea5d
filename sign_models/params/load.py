"""From files and command lines to checked parameters.

The layers are params/<stage>.yaml, presets, the override file and single values of the command line (-P). Later layers
win. Each layer is flattened to dotted names with the stage in front, such as `alignment.training.lr`. Names are checked
layer by layer, types and ranges after merging. One message lists every mistake.
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
from sign_models.params.schema import TRAINING_OPTIONS, PipelineParams

INSTALLED = Path(__file__).resolve().with_name("files")  # a copy of params/, made by setup.py
FOLDER = INSTALLED if INSTALLED.is_dir() else Path(__file__).resolve().parents[2] / "params"
# Old name of a parameter -> its name today, which the error message suggests.
RENAMED = {
    "augment.turn": "augment.yaw",
    "augment.proportions": "augment.limb_scale",
    "augment.reach": "augment.arm_reach",
    "augment.place": "augment.hand_shift",
    "augment.build": "augment.landmark_jitter",
}

EXAMPLE = "'alignment: {training: {epochs: 50}}' (docs/running.md)"
COMMON = ("data.", "execution.")  # sections that belong to no stage

Scalar = str | int | float | bool


def resolve(
    stage: str | None = None,
    preset: str = "",
    override: Path | None = None,
    sets: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    schema: type[PipelineParams] = PipelineParams,
) -> PipelineParams:
    """Merge all layers and check the result.

    Args:
        stage: Stage that names without a stage in front belong to. None: every stage that has the name.
        preset: Names of files in params/presets, separated by commas. Later ones win.
        override: YAML file with sections by stage (`alignment: {training: {lr: 1e-4}}`). With `stage`, the section
            may be left out.
        sets: Name -> value as typed. Names are dotted, with or without the stage in front, or in TRAINING_OPTIONS.
        options: Other names that the command accepts. They are suggested where a name is misspelt.
        schema: Type of the result, with a section for each stage. A stage without a file has the defaults of its type.

    Returns:
        The parameters of every stage.

    Raises:
        ParamsError: Some names or values are not accepted. The message lists every mistake with its place and the
            nearest valid name.
    """
    layers = _Layers(schema)
    layers.add_defaults()
    layers.add_presets(preset)
    if override is not None:
        layers.add_content(read_yaml(override), stage, str(override))
    layers.add_command_line(sets or {}, stage, options)
    return layers.checked()


class _Layers:
    """The values of all layers so far, the place that each value comes from, and every mistake."""

    def __init__(self, schema: type[PipelineParams]) -> None:
        self.schema = schema
        self.stages = sections(schema)
        self.annotations = names(schema)
        self.values: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.mistakes: list[str] = []

    def add_defaults(self) -> None:
        """The file of every stage that has one."""
        for name in self.stages:
            file = FOLDER / f"{name}.yaml"
            if file.is_file():
                self.add_content({name: read_yaml(file)}, None, _display_path(file))

    def add_presets(self, preset: str) -> None:
        """The files of the presets, whose names are separated by commas."""
        for name in filter(None, (part.strip() for part in preset.split(","))):
            file = FOLDER / "presets" / f"{name}.yaml"
            if name not in presets():  # which a path out of the folder is not either
                self.mistakes.append(f"preset '{name}' does not exist; {_hint(name, presets())}")
                continue
            self.add_content(read_yaml(file), None, _display_path(file))

    def add_content(self, content: Mapping[str, Any], stage: str | None, place: str) -> None:
        """The content of a YAML file, by stage or, for `stage`, without it."""
        self._add(dict(self._flat(content, stage, place)), place)

    def add_command_line(self, sets: Mapping[str, str], stage: str | None, options: Sequence[str]) -> None:
        """Single values as typed."""
        self._add(dict(self._typed(sets, stage, options)), "command line")

    def checked(self) -> PipelineParams:
        """The merged values as the schema's type; ParamsError with every mistake."""
        for name in self.stages:
            steps, epochs = f"{name}.training.steps", f"{name}.training.epochs"
            if self.values.get(steps, 0) is None and self.values.get(epochs, 0) is None:
                self.mistakes.append(f"{self.places[epochs]}: {steps} and {epochs} are both null; wanted one of them")
        for name, annotation in self.annotations.items():  # the schema alone would read `true` as the number 1
            value = self.values.get(name)
            if isinstance(value, bool) and bool not in kinds(annotation):
                self.mistakes.append(f"{self.places[name]}: {name} is {str(value).lower()}; wanted no truth value")
        try:
            params = self.schema.model_validate({name: {} for name in self.stages} | _nested(self.values))
        except ValidationError as error:
            self.mistakes += [self._invalid(dict(detail)) for detail in error.errors()]
        if self.mistakes:
            count = len(self.mistakes)
            raise ParamsError(self.mistakes[0] if count == 1 else "\n  ".join([f"{count} mistakes", *self.mistakes]))
        return params

    def _add(self, layer: Mapping[str, Any], place: str) -> None:
        """Lay one layer over the values so far."""
        for name, value in layer.items():
            self.values[name], self.places[name] = value, place
        for name, value in layer.items():  # the layer that says how long wins whole: 3 epochs end an earlier 800 steps
            section, _, leaf = name.rpartition(".")
            twin = f"{section}.{'epochs' if leaf == 'steps' else 'steps'}"
            if not section.endswith(".training") or leaf not in ("steps", "epochs") or value is None:
                continue
            if twin not in layer:
                self.values[twin], self.places[twin] = None, place
                if f"{section}.min_steps" not in layer:  # who asks for 3 epochs gets 3
                    self.values[f"{section}.min_steps"] = 0
            elif layer[twin] is not None and leaf == "steps":
                self.mistakes.append(f"{place}: {section} has both steps and epochs; wanted one; leave the other out")

    def _flat(self, content: Mapping[str, Any], stage: str | None, place: str) -> Iterator[tuple[str, Any]]:
        """Dotted name and value of all in `content` that is a parameter."""
        for key, value in content.items():
            if key in self.stages:
                yield from self._walk(value, self.stages[key], key, place)
            elif stage is not None:
                yield from self._walk({key: value}, self.stages[stage], stage, place)
            else:
                self.mistakes.append(f"{place}: '{key}' is no stage; {_hint(str(key), self.stages)}")

    def _walk(self, content: Any, model: type[BaseModel], path: str, place: str) -> Iterator[tuple[str, Any]]:
        """Dotted name and value of all in the section `path` that is a parameter of `model`."""
        if not isinstance(content, dict):
            self.mistakes.append(
                f"{place}: {path} is {reprlib.repr(content)}; wanted a section with {', '.join(model.model_fields)}"
            )
            return
        for key, value in content.items():
            field = model.model_fields.get(key)
            name = f"{path}.{key}"
            if field is None:
                self.mistakes.append(f"{place}: {name} is no parameter; {self._hint_in(model, path, str(key))}")
            elif inner := section(field.annotation):
                yield from self._walk(value, inner, name, place)
            else:
                yield name, value

    def _hint_in(self, model: type[BaseModel], path: str, key: str) -> str:
        """What to write in place of the unknown `key` of the section `path`."""
        if renamed := _renamed(f"{path}.{key}"):
            return renamed
        here = [f"{path}.{known}" for known in model.model_fields]
        if close := nearest(key, [*here, *(self.stages if "." not in path else ())]):
            return f"did you mean '{close}'?"
        stage = path.partition(".")[0]
        return _hint(key, [known for known in self.annotations if known.startswith(f"{stage}.")])

    def _typed(self, sets: Mapping[str, str], stage: str | None, options: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """Full name and value of what was typed; a name that several stages share is given once for each."""
        own = (f"{stage}.", *COMMON)  # a command of one stage has its own names, and those of all commands
        mine = [full.split(".", 1) for full in self.annotations if stage is None or full.startswith(own)]
        for name, text in sorted(sets.items(), key=lambda item: item[0].count(".")):  # the more exact name wins
            head, _, rest = name.partition(".")
            named, tail = (head, rest) if head in self.stages else (None, name)
            tails = (f"training.{tail}", tail) if tail in TRAINING_OPTIONS else (tail,)
            targets = [f"{its}.{leaf}" for its, leaf in mine if leaf in tails and named in (None, its)]
            if not targets:
                shorts = [s for s in TRAINING_OPTIONS if any(leaf in (s, f"training.{s}") for _, leaf in mine)]
                choices = [*options, *shorts, *(".".join(full) if stage is None else full[1] for full in mine)]
                of_stage = f" of {stage}" if stage else ""
                hint = f"it belongs to {head}" if name in self.annotations else _hint(name, choices)
                self.mistakes.append(f"'{name}' is no option or parameter{of_stage}; {_renamed(name) or hint}")
            for target in targets:
                yield target, _parsed(text, self.annotations[target])

    def _invalid(self, detail: Mapping[str, Any]) -> str:
        """One mistake that the schema found, as `place: name is value; wanted ...`."""
        parts = [str(part) for part in detail["loc"]]
        paths = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        name = next((path for path in paths if path in self.values), None)
        if name is None:
            return f"params/{parts[0]}.yaml: {'.'.join(parts)} is missing; give it a value"
        wanted = str(detail["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
        wanted = wanted.partition(", unable")[0]
        choices = re.findall(r"[\w-]+", wanted.removeprefix("one of ")) if wanted.startswith(("one of ", "'")) else []
        close = nearest(str(detail["input"]), choices)
        hint = f"; did you mean '{close}'?" if close else ""
        return f"{self.places[name]}: {name} is {reprlib.repr(self.values[name])}; wanted {wanted}{hint}"


def presets() -> list[str]:
    """List the presets.

    Returns:
        Names of the files in params/presets, without their suffix.
    """
    return sorted(file.stem for file in (FOLDER / "presets").glob("*.yaml"))


def names(schema: type[PipelineParams] = PipelineParams) -> dict[str, Any]:
    """List all parameters.

    Args:
        schema: Type of all parameters.

    Returns:
        Type annotation of each parameter, by dotted name with the stage in front.
    """
    return dict(_leaves(schema))


def sections(schema: type[PipelineParams] = PipelineParams) -> dict[str, type[BaseModel]]:
    """List all stages.

    Args:
        schema: Type of all parameters.

    Returns:
        Type of the parameters of each stage.
    """
    return {name: model for name, field in schema.model_fields.items() if (model := section(field.annotation))}


def flatten(params: BaseModel, prefix: str) -> dict[str, Scalar]:
    """Parameters as MLflow logs them.

    Args:
        params: Section whose values are flattened.
        prefix: First part of every name, such as the stage.

    Returns:
        Values by dotted name, such as `alignment.finetune`. Every name has a dot, unlike the parameters of MLproject.
        A list is its items joined by commas, None is "null".
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
    """Find the name that was probably meant.

    Args:
        name: Misspelt name, dotted or not.
        choices: Valid names. They are compared whole and by the part after their last dot.

    Returns:
        The most similar choice, or None where none is similar.
    """
    by_leaf: dict[str, str] = {}
    for choice in choices:
        by_leaf.setdefault(choice, choice)
        by_leaf.setdefault(choice.rpartition(".")[2], choice)
    close = difflib.get_close_matches(name, by_leaf, n=1) or difflib.get_close_matches(
        name.rpartition(".")[2], by_leaf, n=1
    )
    return by_leaf[close[0]] if close else None


def read_yaml(file: Path, example: str = EXAMPLE) -> dict[str, Any]:
    """Read a mapping of names to values.

    Args:
        file: YAML file.
        example: What it may hold, and where more is said, for messages.

    Returns:
        The values by name. A section is a mapping in turn.

    Raises:
        ParamsError: The file cannot be read, is not YAML or does not hold a mapping.
    """
    if file.suffix == ".py":
        raise ParamsError(
            "a Python file is not read, since reading it would run it",
            place=str(file),
            wanted="YAML",
            remedy=f"write {file.with_suffix('.yaml').name}, e.g. {example}",
        )
    wanted = f"a YAML file of names and values, e.g. {example}"
    try:
        content = yaml_files.read_yaml(file)
    except OSError as error:
        raise ParamsError(f"cannot be read: {error.strerror}", place=str(file), wanted=wanted) from error
    except DataError as error:
        raise ParamsError(error.found, place=str(file), wanted=wanted) from error
    except ValueError as error:
        raise ParamsError(f"is not YAML: {error}", place=str(file), wanted=wanted) from error
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ParamsError(found, place=str(file), wanted=wanted)
    return content


def _parsed(text: str, annotation: Any) -> Any:
    """A typed value as far as its text alone decides; numbers are left to the schema, which reads `1e-3` rightly."""
    accepted = kinds(annotation)
    if type(None) in accepted and text.lower() in ("null", "none"):
        return None
    if any(get_origin(kind) is list for kind in accepted):
        return [item.strip() for item in text.strip("[] ").split(",") if item.strip()]
    return text


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
    """Tell a section of parameters from a single parameter.

    Args:
        annotation: Type annotation of a field of the schema.

    Returns:
        The type of the section, or None for a single parameter.
    """
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def kinds(annotation: Any) -> list[Any]:
    """Split an annotation into the types that it accepts.

    Args:
        annotation: Type annotation of a parameter: a type, a union, or either with limits (`Annotated`).

    Returns:
        The types of the union, or the one type. Limits are removed.
    """
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
    return f"wanted one of {', '.join(choices)}" if len(choices) <= 16 else "params/*.yaml list every name"


def _renamed(name: str) -> str:
    """What took the place of an old parameter; "" where `name` is none."""
    old = next((old for old in RENAMED if f".{name}".endswith(f".{old}")), None)
    return f"it is called '{name.removesuffix(old)}{RENAMED[old]}' now" if old else ""


def _display_path(file: Path) -> str:
    return str(Path("params", file.relative_to(FOLDER)))
