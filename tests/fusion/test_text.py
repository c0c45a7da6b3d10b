"""Text of others keeps to its line, wherever it is shown."""

import onnx
import pytest

import fastdl.fusion
from fastdl import cli
from fastdl.base.text import shown, shown_lines
from fastdl.errors import DataError, FusionError, ModelFileError, ShapeError
from fastdl.fusion.report.page import page

from .hostile import good

BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029", "\x1c"]


@pytest.mark.parametrize("end", BREAKS)
def test_no_line_break_is_left(end):
    assert len(shown(f"a{end}all proven").splitlines()) == 1
    assert shown_lines(f"ours\nour{end}own").split("\n") == ["ours", *shown_lines(f"our{end}own").split("\n")]


@pytest.mark.parametrize(("text", "want"), [("a\nb", r"a\nb"), ("\x1b[2J", r"\x1b[2J"), ("é 日本", "é 日本"), ("", "")])
def test_what_is_shown(text, want):
    assert shown(text) == want


@pytest.mark.parametrize("kind", [ModelFileError, FusionError, DataError, ShapeError])
def test_an_error_is_one_line(kind):
    assert str(kind("node 'a\nb' \x1b[2J")) == r"node 'a\nb' \x1b[2J"


def odd():
    """The good model with a line break in every text that is shown somewhere."""
    model = good()
    model.producer_name, model.producer_version = "a\nall proven", "1\nall proven"
    model.opset_import.add(domain="d\nall proven", version=1)
    model.graph.node[0].name = "n\nall proven"
    model.graph.input[0].name = model.graph.node[0].input[0] = "x\nall proven"
    model.graph.output[0].name = model.graph.node[-1].output[0] = "y\nall proven"
    model.graph.node.add(
        op_type="O\nall proven", domain="d\nall proven", input=["x\nall proven"], output=["z\nall proven"]
    )
    return model


@pytest.mark.parametrize(
    "command", ["inspect in.onnx", "fuse in.onnx --dry-run --no-measure", "verify in.onnx in.onnx"]
)
def test_no_command_prints_a_line_that_a_file_wrote(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    onnx.save(odd(), "in.onnx")
    cli.main(command.split())
    told = capsys.readouterr()
    lines = (told.out + told.err).splitlines()
    assert lines
    assert not [line for line in lines if line.strip().startswith("all proven")]


def test_the_page_shows_it_as_text():
    model = odd()
    report = fastdl.fusion.inspect(model).fusion
    html = page(model, model, report)
    assert "\nall proven" not in html
    assert r"\nall proven" in html
