"""The vote: classes, frequencies, ties and abstention."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftrain.answers import GRADER_VERSION, normalize, vote

SAMPLES = st.lists(
    st.one_of(st.none(), st.sampled_from(["1/2", "0.5", r"\frac12", "1", "1.0", "2", "x", "no", ""]), st.text()),
    max_size=40,
)


def test_counts_equal_spellings_together() -> None:
    ballot = vote(["0.5", "3", "1/2", None, "0.5", r"\frac{1}{2}"])
    assert ballot.label == "0.5"
    assert ballot.reason is None
    assert [(c.representative, c.canonical, c.members, c.count) for c in ballot.classes] == [
        ("0.5", "1/2", (0, 2, 4, 5), 4),
        ("3", "3", (1,), 1),
    ]
    assert (ballot.n_samples, ballot.n_answered, ballot.majority_count) == (6, 5, 4)
    assert ballot.majority_frequency == pytest.approx(4 / 6)
    assert ballot.answered_frequency == pytest.approx(4 / 5)
    assert ballot.margin == pytest.approx(3 / 6)
    assert ballot.entropy == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))
    assert not ballot.tie


def test_representative_is_first_in_text_order_among_equals() -> None:
    assert vote(["1/2", "0.5"]).label == "0.5"
    assert vote(["0.5", "1/2"]).label == "0.5"


def test_tie_abstains() -> None:
    ballot = vote(["1", "2", "2", "1", "3", None])
    assert (ballot.label, ballot.reason, ballot.tie) == (None, "tie", True)
    assert ballot.margin == 0.0
    assert [c.canonical for c in ballot.classes] == ["1", "2", "3"]
    assert ballot.majority_frequency == pytest.approx(2 / 6)


@pytest.mark.parametrize("answers", [[], [None], [None, None, None]])
def test_no_answers_abstains(answers: list[None]) -> None:
    ballot = vote(answers)
    assert (ballot.label, ballot.reason, ballot.tie) == (None, "no_answers", False)
    assert ballot.classes == ()
    assert ballot.n_samples == len(answers)
    assert ballot.n_answered == ballot.majority_count == 0
    assert ballot.majority_frequency == ballot.answered_frequency == ballot.margin == ballot.entropy == 0.0


def test_unanimous() -> None:
    ballot = vote(["7"] * 8)
    assert (ballot.label, ballot.majority_frequency, ballot.margin, ballot.entropy) == ("7", 1.0, 1.0, 0.0)


def test_grader_version_is_text_to_store() -> None:
    assert isinstance(GRADER_VERSION, str)
    assert GRADER_VERSION


@given(SAMPLES)
def test_classes_partition_the_answered_samples(answers: list[str | None]) -> None:
    ballot = vote(answers)
    members = [index for c in ballot.classes for index in c.members]
    assert sorted(members) == [i for i, answer in enumerate(answers) if answer is not None]
    assert sum(c.count for c in ballot.classes) == ballot.n_answered == len(members)
    assert ballot.n_samples == len(answers)
    for c in ballot.classes:
        assert c.count == len(c.members)
        assert c.representative in {answers[i] for i in c.members}
        assert {normalize(answers[i] or "") for i in c.members} == {c.canonical}
    order = [(-c.count, c.canonical) for c in ballot.classes]
    assert order == sorted(order)
    assert len({c.canonical for c in ballot.classes}) == len(ballot.classes)


@given(SAMPLES)
def test_frequencies_and_reason_agree(answers: list[str | None]) -> None:
    ballot = vote(answers)
    assert (ballot.label is None) == (ballot.reason is not None)
    assert ballot.tie == (ballot.reason == "tie")
    assert 0.0 <= ballot.margin <= ballot.majority_frequency <= ballot.answered_frequency <= 1.0
    assert 0.0 <= ballot.entropy <= math.log(max(len(ballot.classes), 1)) + 1e-9


@given(SAMPLES, st.randoms(use_true_random=False))
def test_order_of_samples_does_not_matter(answers: list[str | None], random) -> None:
    shuffled = answers.copy()
    random.shuffle(shuffled)
    first, second = vote(answers), vote(shuffled)
    assert first.entropy == second.entropy
    for name in ("label", "reason", "n_samples", "n_answered", "majority_count", "margin", "tie"):
        assert getattr(first, name) == getattr(second, name)
    assert [(c.representative, c.canonical, c.count) for c in first.classes] == [
        (c.representative, c.canonical, c.count) for c in second.classes
    ]
