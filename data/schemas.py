"""The columns of every parquet file between the stages, as data. Writer and reader both assert them.

Axes: P problems, N samples of a problem. `python -m selftrain.data.schemas` prints the table of the README.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class TableSpec:
    """One kind of file: its arrow schema, the columns that identify a row, and a remark for each column."""

    name: str
    row: str
    key: tuple[str, ...]
    schema: pa.Schema
    remarks: dict[str, str]


def _spec(name: str, row: str, key: tuple[str, ...], columns: list[tuple[str, pa.DataType, bool, str]]) -> TableSpec:
    schema = pa.schema([pa.field(column, kind, nullable=nullable) for column, kind, nullable, _ in columns])
    return TableSpec(name, row, key, schema, {column: remark for column, _, _, remark in columns})


_text, _int, _float, _flag = pa.string(), pa.int32(), pa.float64(), pa.bool_()

PROBLEMS = _spec(
    "problems.parquet",
    "one problem",
    ("problem_id",),
    [
        ("problem_id", _text, False, "the user's id, else a hash of source and text"),
        ("problem", _text, True, "the text that the model is shown; null where only samples are known"),
        ("gold", _text, True, "the true answer, where there is one"),
        ("source", _text, False, "where the problem comes from"),
        ("level", _text, True, "difficulty as the source states it"),
        ("split", _text, False, "train, validation, test or any other held-out name"),
    ],
)

SAMPLES = _spec(
    "samples/chunk-*.parquet",
    "one response",
    ("problem_id", "sample_index"),
    [
        ("problem_id", _text, False, ""),
        ("sample_index", _int, False, "0 to N - 1"),
        ("response", _text, False, "the model's text, special tokens removed"),
        ("n_tokens", _int, False, "tokens of the response"),
        ("finish_reason", _text, False, "stop, length, or what the engine said"),
        ("seed", pa.int64(), False, "seed of this sample: hash(run seed, problem_id) + sample_index"),
    ],
)

ANSWERS = _spec(
    "answers.parquet",
    "one sample, without its text",
    ("problem_id", "sample_index"),
    [
        ("problem_id", _text, False, ""),
        ("sample_index", _int, False, ""),
        ("answer", _text, True, "the extracted answer; null: none found, no vote"),
        ("how", _text, True, "the extraction rule that found it"),
        ("class_id", _int, True, "equivalence class within the problem, 0 is the largest"),
        ("settled_by", _text, True, "exact: canonical forms are equal; math_verify: its verdict joined the class"),
        ("truncated", _flag, False, "the response hit the token limit"),
    ],
)

_answer_class = pa.struct(
    [
        pa.field("answer", _text, nullable=False),
        pa.field("canonical", _text, nullable=False),
        pa.field("forms", pa.list_(pa.field("item", _text, nullable=False)), nullable=False),
        pa.field("count", _int, nullable=False),
        pa.field("correct", _flag),
    ]
)

LABELS = _spec(
    "labels.parquet",
    "the ledger: one problem",
    ("problem_id",),
    [
        ("problem_id", _text, False, ""),
        (
            "classes",
            pa.list_(pa.field("item", _answer_class, nullable=False)),
            False,
            "answer classes by count",
        ),
        ("label", _text, True, "the pseudo-label; null: abstained"),
        ("reason", _text, True, "why it abstained: no_samples, no_answers, tie, below_min_frequency"),
        ("majority_count", _int, False, "votes of the largest class"),
        ("majority_frequency", _float, False, "majority_count / n_samples"),
        ("answered_frequency", _float, False, "majority_count / n_answered"),
        ("margin", _float, False, "(largest - second) / n_samples"),
        ("entropy", _float, False, "of the votes among answered samples, in nats"),
        ("n_samples", _int, False, ""),
        ("n_answered", _int, False, "samples with an answer"),
        ("n_truncated", _int, False, "samples that hit the token limit"),
        ("tie", _flag, False, "two classes share the largest count"),
        ("unsure", _flag, False, "a comparison that nobody could settle touches the largest class"),
        ("pass_rate", _float, True, "share of samples equal to gold; null without gold"),
        ("label_correct", _flag, True, "label equals gold; null without gold or label"),
        ("reward_accuracy", _float, True, "share of samples on which label and gold give the same reward"),
        ("grader_version", _text, False, "version of the answer rules"),
    ],
)

CURRICULUM = _spec(
    "curriculum.parquet",
    "a chosen problem, in training order",
    ("problem_id",),
    [
        ("problem_id", _text, False, ""),
        ("problem", _text, False, ""),
        ("label", _text, False, "the pseudo-label, the reward's target"),
        (
            "label_forms",
            pa.list_(pa.field("item", _text, nullable=False)),
            False,
            "canonical forms of the label's class: each of them is rewarded",
        ),
        ("gold", _text, True, "monitor only, never a reward"),
        ("majority_frequency", _float, False, "the difficulty it was ranked by"),
        ("level", _text, True, ""),
        ("rank", _int, False, "0 is the easiest"),
    ],
)

EXCLUDED = _spec(
    "excluded.parquet",
    "a problem left out",
    ("problem_id",),
    [
        ("problem_id", _text, False, ""),
        ("reason", _text, False, "a ledger reason, held_out, no_text, or beyond_fraction"),
        ("majority_frequency", _float, False, ""),
    ],
)

METRICS = _spec(
    "policy/metrics.parquet",
    "one logged training step",
    ("step",),
    [
        ("step", _int, False, "0 is the base policy"),
        ("epoch", _float, True, "passes over the curriculum"),
        ("pseudo_reward", _float, True, "mean reward of the rollouts against the pseudo-labels"),
        ("pseudo_reward_std", _float, True, "mean over prompts of the rewards' deviation"),
        ("zero_std_share", _float, True, "share of prompts whose rollouts all got the same reward"),
        ("gold_accuracy", _float, True, "monitor: rollouts equal to gold, where gold exists"),
        ("answered", _float, True, "share of rollouts with an answer"),
        ("truncated", _float, True, "share of rollouts that hit the token limit"),
        ("completion_length", _float, True, "mean tokens a rollout"),
        ("entropy", _float, True, "mean token entropy, nats"),
        ("kl", _float, True, "k3 estimate to the base; null where beta is 0"),
        ("loss", _float, True, ""),
        ("grad_norm", _float, True, ""),
        ("learning_rate", _float, True, ""),
        ("validation_accuracy", _float, True, "avg@k on the gold validation set at this step"),
    ],
)

VERDICTS = _spec(
    "verdicts.parquet",
    "a pair of forms that math-verify was asked about; a memo for all stages",
    ("form_a", "form_b"),
    [
        ("form_a", _text, False, "canonical form, before form_b in text order"),
        ("form_b", _text, False, ""),
        ("verdict", _text, False, "equal, unequal or unknown"),
        ("fault", _text, True, "why it is unknown: timeout, crash, memory, error, rejected, poisoned"),
    ],
)

ALL = (PROBLEMS, SAMPLES, ANSWERS, VERDICTS, LABELS, CURRICULUM, EXCLUDED, METRICS)


def markdown() -> str:
    """The table of files and columns that stands in the README."""
    lines = ["| file | one row is | columns |", "|---|---|---|"]
    for spec in ALL:
        names = ", ".join(
            f"**{field.name}**" if field.name in spec.key else field.name + ("?" if field.nullable else "")
            for field in spec.schema
        )
        lines.append(f"| `{spec.name}` | {spec.row} | {names} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
