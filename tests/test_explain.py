"""`srt answers`: why two answers did or did not merge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selftrain.data.errors import UserError
from selftrain.stages.explain import explain, read_pairs

pytest.importorskip("math_verify", reason="a core dependency of the wheel")


def told(a: str, b: str, *rules: str) -> dict:
    return next(explain([(a, b)], rules or ("boxed",)))


def test_one_canonical_form_needs_nobody_else() -> None:
    line = told("\\frac12", "so it is \\boxed{0.5}")
    assert line["equal"] is True
    assert line["settled_by"] == "exact"
    assert line["a"] == {"answer": "\\frac12", "how": "as it is", "canonical": "1/2"}
    assert line["b"] == {"answer": "0.5", "how": "boxed", "canonical": "1/2"}


def test_math_verify_is_named_where_it_decided() -> None:
    line = told("\\sin^2(x)+\\cos^2(x)", "1")
    assert (line["equal"], line["settled_by"], line["math_verify"]) == (True, "math_verify", "equal")


def test_a_tuple_is_no_set_and_nobody_is_asked() -> None:
    line = told("(1,2)", "\\{1,2\\}")
    assert line["equal"] is False
    assert line["settled_by"] == "exact"


def test_an_unknown_rule_is_a_users_error() -> None:
    with pytest.raises(UserError, match="boxd"):
        told("1", "1", "boxd")


def test_a_line_that_is_no_pair_is_named() -> None:
    with pytest.raises(UserError, match="line 2 is not a JSON object with a and b"):
        list(read_pairs(['{"a": "1", "b": "2"}\n', "[]\n"]))
    with pytest.raises(UserError, match="line 1: b is int, not text"):
        list(read_pairs(['{"a": "1", "b": 2}\n']))


def test_pairs_come_from_a_pipe(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "selftrain", "answers"],
        cwd=tmp_path,
        input='{"a": "1,000", "b": "1000"}\n{"a": "7", "b": "8"}\n',
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["equal"] for line in done.stdout.splitlines()] == [True, False]
