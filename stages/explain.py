"""Why two answers did or did not merge, for people who wonder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..answers import Judge, find, normalize
from ..data.errors import UserError
from ..data.tabular import require_text


def explain(pairs: Iterable[tuple[str, str]], rules: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One plain dictionary a pair: what was extracted and how, the canonical forms, the verdict and who gave it.

    A text in which no rule finds an answer is taken as the answer itself. Raises UserError on an unknown rule.
    """
    try:
        find("", rules=rules)
    except ValueError as error:
        raise UserError(f"--rule: {error}") from error
    with Judge.start() as judge:
        for a, b in pairs:
            sides = {"a": _side(a, rules), "b": _side(b, rules)}
            answer_a, answer_b = sides["a"]["answer"], sides["b"]["answer"]
            if sides["a"]["canonical"] == sides["b"]["canonical"]:
                verdict = {"equal": True, "settled_by": "exact"}
            else:
                equal = judge.equal(answer_a, answer_b)
                known = judge.known(answer_a, answer_b)
                verdict = {"equal": equal, "settled_by": "exact" if known is None else "math_verify"}
                if known is not None:
                    verdict |= {"math_verify": known.value, "fault": known.fault}
            yield {**sides, **verdict}


def _side(text: str, rules: Sequence[str]) -> dict[str, str]:
    found = find(text, rules=rules)
    answer, how = (found.answer, found.how) if found else (text, "as it is")
    return {"answer": answer, "how": how, "canonical": normalize(answer)}


def read_pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of jsonl lines {"a": ..., "b": ...}. Raises UserError naming the line that is none."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            a, b = row["a"], row["b"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"line {number} is not a JSON object with a and b") from error
        yield require_text(a, f"line {number}: a"), require_text(b, f"line {number}: b")
