"""The judge of a run: math-verify in its sandbox, and the memo of its verdicts beside the outputs.

verdicts.parquet is no output of one stage but what all of them share: a pair that was decided once, "unknown"
included, is decided alike by later labelling, training and evaluation. Deleting it costs only time.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from ...answers import Judge, SandboxError
from ...data.errors import UserError
from ...data.schemas import VERDICTS
from ...data.store import as_table, file_metadata, read_table, write_table
from ..config import AnswersSection

_MADE_BY = "selftrain.math_verify"


@contextmanager
def judge_of(section: AnswersSection, memo: Path) -> Iterator[Judge | None]:
    """A judge that knows the memo's verdicts and leaves its new ones there; None where nobody is to be asked.

    Verdicts of another math-verify version are not used. Raises UserError when the memo is damaged or no worker can
    be started.
    """
    if section.verifier == "none":
        yield None
        return
    version = importlib.metadata.version("math-verify")
    with Judge.start(seconds=section.verify_seconds) as judge:
        if memo.is_file():
            try:
                known = read_table(memo, VERDICTS).to_pylist() if file_metadata(memo).get(_MADE_BY) == version else []
            except (UserError, pa.ArrowException) as error:
                raise UserError(f"{memo} is damaged: delete it, its verdicts are asked for again") from error
            judge.load(known)
        before = len(judge.rows())
        try:
            yield judge
        except SandboxError as error:
            raise UserError(f"math-verify cannot be asked ({error}); use --set answers.verifier=none") from error
        if len(judge.rows()) > before:
            write_table(memo, as_table(judge.rows(), VERDICTS), VERDICTS, {_MADE_BY: version})
