"""The reward of a rollout, and that it cannot disagree with the vote."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from selftrain.answers import Judge, extract, normalize, vote
from selftrain.stages.label.ledger import Vote, ledger_row
from selftrain.stages.train.reward import label_reward

EOS = 3
LIMIT = 8

# Spellings that belong together, and texts that a vote or a reward might trip over.
NASTY = st.one_of(
    st.sampled_from(
        [
            r"\boxed{\frac{1}{2}}", r"\boxed{0.5}", r"\boxed{.50}", r"\boxed{1/2}", r"\boxed{50\%}", r"\boxed{}",
            r"\boxed{\text{no}}", r"\boxed{No}", r"\boxed{(1, 2)}", r"\boxed{1, 2}", r"\boxed{2, 1}", r"\boxed{x = 5}",
            r"\boxed{5}", r"\boxed{5", r"\boxed{\boxed{5}}", r"\boxed{10 \text{ cm}}", r"\boxed{10}", r"\boxed{B}",
            r"<think>\boxed{5}", r"<think>\boxed{5}</think> \boxed{6}", "no box", "", r"\boxed{\sqrt{8}}",
            r"\boxed{2\sqrt{2}}", r"\boxed{ 1,000 }", r"\boxed{1000}", r"\boxed{-0}", r"\boxed{0}", r"\fbox{5}",
        ]
    ),
    st.text(max_size=12).map(lambda text: rf"\boxed{{{text}}}"),
    st.text(alphabet=r"\{}()[]^_$%,.-+=/ 0123456789abxfrcsqt", max_size=14).map(lambda text: rf"\boxed{{{text}}}"),
)  # fmt: skip


class Log(dict[str, float]):
    def __call__(self, name: str, value: float) -> None:
        self[name] = value


def reward_of(
    completions: list[Any],
    label: list[str | None],
    gold: list[str | None] | None = None,
    ids: list[list[int]] | None = None,
    rules: tuple[str, ...] = ("boxed",),
    forms: list[str] | None = None,
    judge: Judge | None = None,
) -> tuple[list[float | None], Log]:
    log = Log()
    rewards = label_reward(rules, LIMIT, [EOS], judge)(
        completions=completions,
        completion_ids=ids or [[5, EOS]] * len(completions),
        label=label,
        label_forms=[forms or []] * len(label),
        gold=gold or [None] * len(completions),
        log_metric=log,
        prompts=["p"] * len(completions),
        trainer_state=None,
    )
    return rewards, log


def test_an_answer_equal_to_its_own_label_is_a_hit() -> None:
    rewards, _ = reward_of([r"so \boxed{0.5}", r"\boxed{2}", "0.5"], [r"\frac12"] * 3)
    assert rewards == [1.0, 0.0, 0.0]
    assert all(type(value) is float for value in rewards)
    assert reward_of([r"\boxed{1}", r"\boxed{1}"], ["1", "2"])[0] == [1.0, 0.0]


def test_a_row_without_a_label_has_no_reward() -> None:
    assert reward_of([r"\boxed{1}", "nothing", r"\boxed{1}"], [None, None, "1"])[0] == [None, None, 1.0]


def test_a_response_without_an_answer_is_worth_nothing() -> None:
    assert reward_of(["", "nothing", r"\boxed{}", r"<think> \boxed{1}"], ["1"] * 4)[0] == [0.0] * 4


def test_gold_is_watched_where_it_is_known_and_never_rewarded() -> None:
    rewards, log = reward_of(
        [r"\boxed{1}", r"\boxed{2}", r"\boxed{3}", "?"], ["1", None, "1", "1"], ["9", "2", None, "9"]
    )
    assert rewards == [1.0, None, 0.0, 0.0]
    assert log == {"answered": 0.75, "gold_accuracy": pytest.approx(1 / 3)}


def test_without_any_gold_nothing_is_said_about_it() -> None:
    assert reward_of([r"\boxed{1}"], ["1"])[1] == {"answered": 1.0}


def test_gold_is_read_as_the_ledger_reads_it() -> None:
    gold = r"We add, so the sum is 3 + 4, hence \boxed{7}."
    assert ledger_row("p", [Vote("7", False)], gold, 0.0)["pass_rate"] == 1.0
    assert reward_of([r"\boxed{7}"], ["7"], [gold])[1]["gold_accuracy"] == 1.0


def test_a_conversation_is_read_from_its_assistant_message() -> None:
    completions = [[{"role": "assistant", "content": text}] for text in (r"\boxed{1}", r"\boxed{2}")]
    assert reward_of(completions, ["1", "1"]) == reward_of([r"\boxed{1}", r"\boxed{2}"], ["1", "1"])


def test_a_rollout_at_the_limit_without_a_stop_token_is_truncated() -> None:
    unbraced = [r"\boxed 12"] * 4
    ids = [[5] * LIMIT, [5] * (LIMIT - 1) + [EOS], [5] * (LIMIT - 1), [5, EOS]]
    assert reward_of(unbraced, ["12"] * 4, ids=ids)[0] == [0.0, 1.0, 1.0, 1.0]
    assert reward_of([r"\boxed{12} and then"], ["12"], ids=[[5] * LIMIT])[0] == [1.0]
    rules = ("boxed", "answer_is")
    assert reward_of(["the answer is 12"] * 4, ["12"] * 4, ids=ids, rules=rules)[0] == [0.0, 1.0, 1.0, 1.0]


def test_every_form_that_voted_for_the_label_is_a_hit() -> None:
    assert reward_of([r"\boxed{x}", r"\boxed{y}", r"\boxed{z}"], ["x"] * 3, forms=["x", "y"])[0] == [1.0, 1.0, 0.0]


def test_a_judge_settles_what_the_forms_leave_open() -> None:
    judge = Judge()
    judge.load([{"form_a": "1", "form_b": normalize(r"\sin^2 x+\cos^2 x"), "verdict": "equal", "fault": None}])
    completions = [r"\boxed{\sin^2 x+\cos^2 x}", r"\boxed{2}", "none"]
    assert reward_of(completions, ["1"] * 3, judge=judge)[0] == [1.0, 0.0, 0.0]
    assert reward_of(completions, ["1"] * 3)[0] == [0.0, 0.0, 0.0]


def test_every_stop_token_ends_a_response() -> None:
    reward = label_reward(("boxed",), 2, [EOS, 4])
    fixed = {
        "completions": [r"\boxed 1"] * 3,
        "label": ["1"] * 3,
        "label_forms": [[]] * 3,
        "gold": [None] * 3,
        "log_metric": Log(),
    }
    assert reward(completion_ids=[[5, EOS], [5, 4], [4, 5]], **fixed) == [1.0, 1.0, 0.0]


def test_the_name_is_the_one_that_the_logs_carry() -> None:
    assert label_reward(("boxed",), 8, [EOS]).__name__ == "label"


def test_rows_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        reward_of([r"\boxed{1}"], ["1", "2"])


@given(st.lists(st.tuples(NASTY, st.booleans()), min_size=1, max_size=8))
@example([(r"\boxed{1,000}", False), (r"\boxed{1000}", False), (r"\boxed{1, 000}", False)])
@example([(r"\boxed{10\%}", False), (r"\boxed{0.1}", False), (r"\boxed{10}", False)])
def test_the_label_of_a_vote_rewards_exactly_the_votes_for_it(samples: list[tuple[str, bool]]) -> None:
    answers = [extract(text, truncated=truncated) for text, truncated in samples]
    ballot = vote(answers)
    label = ledger_row("p", [Vote(answer, False) for answer in answers], None, 0.0)["label"]
    assert label == ballot.label
    ids = [[5] * LIMIT if truncated else [5, EOS] for _, truncated in samples]
    rewards, log = reward_of([text for text, _ in samples], [label] * len(samples), ids=ids)
    if label is None:
        assert rewards == [None] * len(samples)
    else:
        assert [n for n, value in enumerate(rewards) if value == 1.0] == list(ballot.classes[0].members)
        assert rewards.count(0.0) == len(samples) - ballot.majority_count
    assert log["answered"] == ballot.n_answered / len(samples)
