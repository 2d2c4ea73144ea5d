"""Hostile parameter files, names and texts: one message, exit code 2, and nothing that steers the terminal."""

import logging
import sys
from pathlib import Path

import click
import pytest

from sign_models.cli import commands, values
from sign_models.cli.terminal import printable_streams
from sign_models.errors import DataError, ParamsError
from sign_models.keypoints.layout_files import load_layout
from sign_models.params import load

BOMB = "a: &a [x, x]\n" + "\n".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES = {
    "a bomb of aliases": BOMB,
    "an alias in itself": "alignment: &a\n  training: *a",
    "depth": "[" * 5000,
    "depth of mappings": "{a: " * 3000,
    "5,000 digits": "alignment: {training: {seed: " + "9" * 5000 + "}}",
    "5,000 hexadecimal digits": "alignment: {training: {seed: 0x" + "f" * 5000 + "}}",
    "minutes without end": "alignment: {training: {seed: 1" + ":59" * 3000 + "}}",
    "10^22": "alignment: {training: {seed: 10000000000000000000000}}",
    "two to the 40th": "alignment: {training: {seed: 1099511627776}}",
    "megabytes": "# " + "x" * 2**21,
    "an object": "!!python/object/apply:os.system ['true']",
    "NUL": "alignment: {training: {lr: \0}}",
    "a date": "alignment: {training: {seed: 9999-99-99}}",
}


@pytest.mark.parametrize("name", FILES)
def test_parameters_of_a_hostile_file_are_one_message(name: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(FILES[name])
    with pytest.raises(ParamsError, match=r"p\.yaml") as error:
        load.resolve(override=tmp_path / "p.yaml")
    assert len(str(error.value)) < 1000
    with pytest.raises(DataError, match=r"p\.yaml"):
        load_layout(tmp_path / "p.yaml")


@pytest.mark.parametrize("value", ["9" * 5000, "10000000000000000000000", "-1", str(2**31), "1e400", "0x10"])
@pytest.mark.parametrize("name", ["seed", "batch_size"])
def test_numbers_of_any_length_are_one_message(name: str, value: str) -> None:
    with pytest.raises(ParamsError, match=name) as error:
        load.resolve("alignment", sets={name: value})
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize(
    "value", ["../skeleton", "../../params/presets/quick", "/etc/passwd", "./quick", "quick.yaml", "..", "a/../quick"]
)
def test_a_preset_is_a_name_and_no_path(value: str) -> None:
    with pytest.raises(ParamsError, match="does not exist"):
        load.resolve(preset=value)


def test_a_device_is_no_parameter_file() -> None:
    with pytest.raises(ParamsError, match="a device"):
        load.resolve(override=Path("/dev/zero"))


@pytest.mark.parametrize("value", ["9" * 5000, "100000000000", "0", "-3", "٣" * 9])
def test_processes_are_a_small_number(value: str) -> None:
    with pytest.raises(ParamsError, match="processes"):
        values._processes(value)


STEERING = "\x1b]0;title\x07 \x1b[2J \u202e \u2066 \x9b31m \x00 \x08 \x7f \ud83d"


@pytest.mark.parametrize("way", ["print", "echo", "log", "error", "click"])
def test_nothing_steers_the_terminal(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def main() -> None:
        if way == "print":
            print(f"text: {STEERING}")
        elif way == "echo":
            click.echo(f"text: {STEERING}", err=True)
        elif way == "log":
            logger = logging.Logger("of a test")
            logger.addHandler(logging.StreamHandler(sys.stderr))
            logger.warning("text: %s", STEERING)
        elif way == "error":
            raise DataError(f"text: {STEERING}", place=STEERING)
        else:
            raise click.UsageError(f"text: {STEERING}")

    with pytest.raises(SystemExit):
        commands.run(main, [])
    told = "".join(capfd.readouterr())
    assert "text: " in told and "\\x1b]0;title\\x07" in told and "\\u202e" in told
    assert not set(told) & set("\x1b\x07\u202e\u2066\x9b\x00\x08\x7f")


def test_lines_and_progress_bars_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with printable_streams():
        print("Größe 你好\tא\r\n\x1b[A")
    assert capsys.readouterr().out == "Größe 你好\tא\r\n\x1b[A\n"
