"""Parameters: files, layers, names, types, messages."""

from __future__ import annotations

import importlib
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sign_models.errors import ParamsError, SignError
from sign_models.keypoints import layout_files
from sign_models.params import describe, load, space
from sign_models.params.schema import DataParams, Execution
from sign_models.stages.declaration import STAGES

ROOT = Path(__file__).resolve().parents[1]
FINITE = st.floats(min_value=1e-12, max_value=1e3, allow_nan=False)


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str, name: str = "my.yaml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_stages_of_options_files_and_schema_are_the_same() -> None:
    common = {"data": DataParams, "execution": Execution}
    assert load.sections() == {name: stage.params for name, stage in STAGES.items()} | common
    assert sorted(file.stem for file in load.FOLDER.glob("*.yaml")) == sorted([*STAGES, *common])


@pytest.mark.parametrize("preset", ["", *load.presets()])
def test_every_yaml_validates_alone(preset: str) -> None:
    load.resolve(None, preset)


def test_presets_exist() -> None:
    assert {"quick", "tiny", "small", "base", "large"} <= set(load.presets())


def test_layers_win_in_order(written) -> None:
    file = written("skeleton: {training: {lr: 2e-2, seed: 5}}")
    assert load.resolve("skeleton", "quick").skeleton.training.batch_size == 8
    by_file = load.resolve("skeleton", "quick", file)
    assert (by_file.skeleton.training.lr, by_file.skeleton.training.batch_size) == (0.02, 8)
    typed = load.resolve("skeleton", "quick", file, {"lr": "3e-2"})
    assert (typed.skeleton.training.lr, typed.skeleton.training.seed) == (0.03, 5)


def test_last_preset_wins() -> None:
    assert load.resolve(None, "large, quick").temporal.model == load.resolve(None, "quick").temporal.model.model_copy(
        update={"dropout": load.resolve(None, "large").temporal.model.dropout}
    )


@given(FINITE)
def test_a_number_reads_as_typed_in_any_spelling(lr: float) -> None:
    for text in (repr(lr), f"{lr:.17e}"):
        assert load.resolve("skeleton", sets={"training.lr": text}).skeleton.training.lr == lr


def test_yaml_number_without_a_point_is_a_number(written) -> None:
    assert yaml.safe_load("1e-3") == "1e-3"  # why coercing by type is needed at all
    assert load.resolve("skeleton", override=written("training: {lr: 1e-3}")).skeleton.training.lr == 0.001


def test_flat_override_belongs_to_the_stage(written) -> None:
    file = written("finetune: false\nskeleton: {window: 7}")
    params = load.resolve("alignment", override=file)
    assert (params.alignment.finetune, params.skeleton.window) == (False, 7)
    with pytest.raises(ParamsError, match="'finetune' is no stage"):
        load.resolve(None, override=file)


def test_name_without_stage_goes_to_every_stage_that_has_it() -> None:
    params = load.resolve(sets={"epochs": "7", "alignment.epochs": "3", "seed": "4"})
    stages = (params.skeleton, params.temporal, params.alignment)
    assert [stage.training.epochs for stage in stages] == [7, 7, 3]
    assert [stage.training.seed for stage in stages] == [4, 4, 4]


def test_name_without_stage_stays_in_the_stage() -> None:
    params = load.resolve("temporal", sets={"lr": "0.5"})
    assert params.temporal.training.lr == 0.5
    assert params.skeleton == load.resolve().skeleton


@pytest.mark.parametrize("order", [1, -1])
def test_the_more_exact_name_wins_in_any_order(order: int) -> None:
    sets = dict([("lr", "0.1"), ("training.lr", "0.2"), ("alignment.training.lr", "0.3")][::order])
    params = load.resolve(sets=sets)
    assert (params.skeleton.training.lr, params.alignment.training.lr) == (0.2, 0.3)


@pytest.mark.parametrize(("typed", "other"), [("steps", "epochs"), ("epochs", "steps")])
def test_what_is_typed_says_how_long(written, typed: str, other: str) -> None:
    file = written(f"training: {{{other}: 9}}")
    training = load.resolve("skeleton", "", file, {typed: "2"}).skeleton.training
    assert (getattr(training, typed), getattr(training, other)) == (2, None)


def test_steps_and_epochs_at_once_or_neither_are_refused() -> None:
    with pytest.raises(ParamsError, match="both steps and epochs"):
        load.resolve("skeleton", sets={"steps": "2", "epochs": "2"})
    with pytest.raises(ParamsError, match="both null"):
        load.resolve("skeleton", sets={"epochs": "null"})


@pytest.mark.parametrize("text", ["dev,test", "[dev, test]"])
def test_lists_and_null_can_be_typed(text: str) -> None:
    params = load.resolve("generate", sets={"splits": text, "beams": "null"})
    assert (params.generate.splits, params.generate.beams) == (["dev", "test"], None)


@pytest.mark.parametrize(
    ("stage", "name", "hint"),
    [
        ("alignment", "lrr", "did you mean 'lr'"),
        ("alignment", "label_smothing", "did you mean 'losses.label_smoothing'"),
        ("alignment", "trainin.lr", "did you mean 'training.lr'"),
        ("alignment", "skeleton.window", "it belongs to skeleton"),
        ("pipeline", "alignmnt.training.lr", "did you mean 'alignment.training.lr'"),
        ("represent", "epochs", "wanted one of batch_frames"),
        ("temporal", "skeleton_modle", "did you mean 'skeleton_model'"),
    ],
)
def test_misspelt_name_gets_the_nearest(stage: str, name: str, hint: str) -> None:
    options = ["skeleton_model"] if stage == "temporal" else []
    with pytest.raises(ParamsError, match=f"'{name}' is no option or parameter.*{hint}"):
        load.resolve(None if stage == "pipeline" else stage, sets={name: "1"}, options=options)


@pytest.mark.parametrize("old", sorted(load.RENAMED))
def test_an_old_name_is_refused_with_the_new_one(old: str, tmp_path: Path) -> None:
    message = f"it is called 'temporal.{load.RENAMED[old]}' now"
    assert f"temporal.{load.RENAMED[old]}" in load.names()
    with pytest.raises(ParamsError, match=message):
        load.resolve(sets={f"temporal.{old}": "1"})
    section, name = old.split(".")
    file = tmp_path / "old.yaml"
    file.write_text(f"temporal: {{{section}: {{{name}: 1}}}}")
    with pytest.raises(ParamsError, match=message):
        load.resolve(override=file)


@given(st.sampled_from(sorted(load.names())), st.data())
def test_any_slip_of_a_letter_is_refused(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    slip = name[:place] + name[place + 1 :]
    if slip not in load.names():
        with pytest.raises(ParamsError):
            load.resolve(sets={slip: "1"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {lrr: 1}", "alignment.training.lrr is no parameter; did you mean 'alignment.training.lr'"),
        ("alignmnt: {finetune: true}", "did you mean 'alignment'"),
        ("training: 5", "alignment.training is 5; wanted a section with steps"),
        ("training: {steps: true}", "alignment.training.steps is true"),
        ("training: {steps: 1.5}", "alignment.training.steps is 1.5; wanted a valid integer"),
        ("finetune: perhaps", "alignment.finetune is 'perhaps'; wanted a valid boolean"),
        ("tokenizer: {kind: words}", "wanted 'auto', 'word'"),
        ("training: {lr: -1}", "alignment.training.lr is -1; wanted greater than 0"),
        ("training: {lr: .nan}", "alignment.training.lr is nan; wanted a finite number"),
        ("training: {lr: .inf}", "alignment.training.lr is inf; wanted a finite number"),
        ("temporal: {model: {heads: 7}}", "temporal.model.heads is 7; wanted a number that divides the width 256"),
        ("generate: {scoring: phoenix}", "generate.scoring is 'phoenix'; wanted one of auto, cased, lowercased"),
        ("generate: {splits: [train, tset]}", "wanted 'train', 'dev', 'test' or 'none'; did you mean 'test'"),
        ("a: [", "is not YAML"),
        ("", "is empty"),
        ("[1, 2]", "holds a list"),
    ],
)
def test_bad_override_is_refused_with_its_place(written, text: str, message: str) -> None:
    file = written(text)
    with pytest.raises(ParamsError) as refusal:
        load.resolve("alignment", override=file)
    assert str(file) in str(refusal.value)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("of", "content"),
    [
        *product(("override", "space", "layout"), (None, "folder", "", "a: [", "5", "text", "[[1]]")),
        *product(("space", "layout"), ("{}", "a: 5")),
    ],
)
def test_a_file_that_is_none_of_its_kind_is_refused_with_where_an_example_stands(
    of: str, content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_text(content)
    read: Any = {"override": load.read_yaml, "space": space.read_space, "layout": layout_files.load_layout}[of]
    with pytest.raises(SignError, match=r"mine\.yaml") as refusal:
        read(file)
    (page,) = re.findall(r"docs/[\w/]+\.md", str(refusal.value))
    assert "```yaml" in (ROOT / page).read_text()


def test_python_file_is_never_run(written, tmp_path: Path) -> None:
    file = written(f"open({str(tmp_path / 'ran')!r}, 'w')", "my_config.py")
    with pytest.raises(ParamsError, match=r"write my_config\.yaml"):
        load.resolve(None, override=file)
    assert not (tmp_path / "ran").exists()


def test_missing_override_and_preset() -> None:
    with pytest.raises(ParamsError, match="No such file"):
        load.resolve(override=Path("nowhere.yaml"))
    with pytest.raises(ParamsError, match="did you mean 'quick'"):
        load.resolve(None, "quikc")


def test_all_mistakes_come_in_one_message(written) -> None:
    file = written("finetun: true\ntraining: {seed: -1}")
    with pytest.raises(ParamsError) as refusal:
        load.resolve("alignment", "quikc", file, {"lrr": "1", "batch_size": "many"})
    lines = str(refusal.value).splitlines()
    assert lines[0].startswith("5 mistakes")
    for word in ("'quikc'", "finetun ", "seed", "'lrr'", "'many'"):
        assert sum(word in line for line in lines[1:]) == 1, word


@pytest.mark.parametrize("stage", STAGES)
def test_flat_names_are_dotted_and_lead_back(stage: str) -> None:
    params = load.resolve()
    flat = load.flatten(getattr(params, stage), stage)
    assert set(flat) == {name for name in load.names() if name.startswith(f"{stage}.")}
    assert all("." in name for name in flat)
    again = load.resolve(sets={name: str(value) for name, value in flat.items() if not name.endswith(".steps")})
    assert load.flatten(getattr(again, stage), stage) == flat


# What people read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_every_parameter_says_what_it_means_and_accepts(stage: str) -> None:
    told = {parameter.name: parameter for parameter in describe.parameters(stage)}
    assert list(told) == list(load.flatten(getattr(load.resolve(), stage), stage))
    for name, parameter in told.items():
        assert parameter.meaning.endswith(".") and len(parameter.meaning) > 10, name
        assert parameter.meaning[0].isupper() or parameter.meaning.startswith("null"), name
        assert parameter.accepts.split()[0].strip(",") in {*describe.TYPE_NAMES.values(), "list", "auto", "true"}, name


def test_the_page_of_parameters_is_the_one_that_the_schema_makes(root: Path) -> None:
    page = (root / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert page == describe.markdown(), "python -m sign_models.params.describe > docs/parameters.md"


@pytest.mark.parametrize("stage", STAGES)
def test_help_explains_every_parameter(stage: str) -> None:
    command = importlib.import_module(f"entrypoints.{stage}").main
    told = " ".join(command.get_help(command.make_context(stage, [])).split())
    for parameter in describe.parameters(stage):
        entry = f"--{parameter.name.partition('.')[2]} {parameter.default}".rstrip()
        assert f"{entry} {' '.join(parameter.meaning.split())} [{parameter.accepts}]" in told, parameter.name


@pytest.mark.parametrize(
    ("name", "accepts"),
    [
        ("alignment.training.lr", "number > 0"),
        ("alignment.training.steps", "integer > 0 or null"),
        ("alignment.training.warmup", "number from 0 to 1"),
        ("alignment.tokenizer.kind", "auto, word, char or bpe"),
        ("alignment.finetune", "true or false"),
        ("generate.splits", "list of train, dev, test or none"),
    ],
)
def test_what_a_parameter_accepts_is_said_as_the_schema_checks_it(name: str, accepts: str) -> None:
    told = {p.name: p.accepts for stage in STAGES for p in describe.parameters(stage)}
    assert told[name] == accepts
