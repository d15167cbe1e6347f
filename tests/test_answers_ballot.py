"""The vote: classes, frequencies, ties and abstention; merges by a judge."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftrain.answers import GRADER_VERSION, Judge, Verdict, equivalent, normalize, vote, votes

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


EQUAL, UNEQUAL, TIMEOUT = Verdict("equal"), Verdict("unequal"), Verdict("unknown", "timeout")
# Functions have no unique form, so every pair of these is open.
A, B, C, D, E = (rf"\{name}(x)" for name in ("arcsin", "cos", "exp", "sin", "tan"))


class Asker:
    """Stands for a sandbox: fixed verdicts for some pairs of answers, "unequal" for all others."""

    def __init__(self, *known: tuple[str, str, Verdict]) -> None:
        self.known = {frozenset({a, b}): verdict for a, b, verdict in known}
        self.batches: list[list[frozenset[str]]] = []

    def ask(self, pairs) -> list[Verdict]:
        self.batches.append([frozenset(pair) for pair in pairs])
        return [self.known.get(pair, UNEQUAL) for pair in self.batches[-1]]

    def close(self) -> None:
        pass


def test_a_judge_merges_what_it_calls_equal() -> None:
    ballot = vote([A, B, "5", "5", B, A, None], Judge(Asker((A, B, EQUAL))))
    assert ballot.label == A
    assert [(c.representative, c.canonical, c.members, c.count, c.settled_by) for c in ballot.classes] == [
        (A, "arcsin(x)", (0, 1, 4, 5), 4, "math_verify"),
        ("5", "5", (2, 3), 2, "exact"),
    ]
    assert (ballot.n_answered, ballot.majority_count, ballot.asked, ballot.faults, ballot.unsure) == (6, 4, 3, 0, False)
    assert ballot.majority_frequency == pytest.approx(4 / 7)


def test_without_a_judge_nothing_is_asked() -> None:
    ballot = vote([A, B], judge=None)
    assert (ballot.asked, ballot.faults, ballot.unsure, ballot.tie) == (0, 0, False, True)
    assert {c.settled_by for c in ballot.classes} == {"exact"}


def test_only_pairs_that_matter_are_asked() -> None:
    asker = Asker()
    answers = ["5"] * 4 + [A] * 3 + [B] + [C] + ["7"] + ["50\\%"] + ["2516_8"]
    ballot = vote(answers, Judge(asker))
    asked = {pair for batch in asker.batches for pair in batch}
    # With the leader 5, and A whose 3 votes reach 4 with one more; never B with C, percents as such, or bases.
    assert asked == {
        *(frozenset({"5", name}) for name in (A, B, C)),
        *(frozenset({A, name}) for name in (B, C, "7", "50")),
    }
    assert ballot.asked == len(asked) == sum(map(len, asker.batches))
    assert len(asker.batches) == 1


def test_unknown_never_merges_and_is_told() -> None:
    ballot = vote([A, A, B, "5"], Judge(Asker((A, B, TIMEOUT))))
    assert [c.count for c in ballot.classes] == [2, 1, 1]
    assert (ballot.faults, ballot.unsure) == (1, True)
    # Far from the leader it is not even asked.
    far = vote(["5"] * 9 + [A, B], Judge(Asker((A, B, TIMEOUT))))
    assert (far.faults, far.unsure, far.asked) == (0, False, 2)


def test_an_unknown_that_others_made_harmless_is_not_unsure() -> None:
    # A and B might have reached the leader; then C and D joined it and they cannot.
    asker = Asker((A, B, TIMEOUT), (C, D, EQUAL))
    ballot = vote([C] * 4 + [D] * 4 + [A] * 2 + [B] * 2, Judge(asker))
    assert (ballot.label, ballot.majority_count, ballot.faults, ballot.unsure) == (C, 8, 1, False)


def test_verdicts_that_contradict_each_other_do_not_chain() -> None:
    # 10 ~ A ~ 20: the first in order wins, and unequal numbers never join.
    ballot = vote(["10"] * 3 + ["20"] * 2 + [A], Judge(Asker(("10", A, EQUAL), ("20", A, EQUAL))))
    assert [(c.canonical, c.count) for c in ballot.classes] == [("10", 4), ("20", 2)]
    against = vote([A, A, A, B, B, C], Judge(Asker((A, C, EQUAL), (B, C, EQUAL))))
    assert [(c.representative, c.count) for c in against.classes] == [(A, 4), (B, 2)]
    assert against.unsure


def test_a_merge_may_raise_further_questions_in_a_second_batch() -> None:
    # C with its one vote matters only once A and B together are as large as the leader.
    asker = Asker((A, B, EQUAL), (A, C, EQUAL), (B, C, EQUAL))
    ballot = vote(["5"] * 6 + [A] * 3 + [B] * 3 + [C], Judge(asker))
    assert (ballot.label, ballot.majority_count, ballot.unsure) == (A, 7, False)
    assert asker.batches[0].count(frozenset({A, C})) == 0
    assert set(asker.batches[1]) == {frozenset({A, C}), frozenset({B, C})}
    assert len(asker.batches) == 2


def test_questions_are_bounded_and_the_rest_is_unsure() -> None:
    asker = Asker()
    ballot = vote([rf"\sin({n}x)" for n in range(2, 60)], Judge(asker))
    assert ballot.asked == sum(map(len, asker.batches)) <= 3 * 256
    assert ballot.unsure


def test_many_problems_share_their_batches() -> None:
    problems = [[A, B, None], ["1", "1.0", "2"], [], [B, A, A], [C, D, C], [C, "3"]]
    known = ((A, B, EQUAL), (C, D, TIMEOUT))
    asker = Asker(*known)
    together = votes(problems, Judge(asker))
    assert len(asker.batches) == 1
    assert len(asker.batches[0]) == len(set(asker.batches[0])) == 3
    assert together == [vote(answers, Judge(Asker(*known))) for answers in problems]
    assert votes(problems) == [vote(answers) for answers in problems]


def test_a_full_memo_changes_nothing() -> None:
    judge = Judge(Asker((A, B, EQUAL), (A, C, TIMEOUT)))
    answers = [A, A, B, C, "5"]
    first = vote(answers, judge)
    memo = Judge()
    memo.load(judge.rows())
    assert vote(answers, judge) == vote(answers, memo) == first
    # An empty one with nobody to ask leaves the pairs open.
    alone = vote(answers, Judge())
    assert (alone.majority_count, alone.faults, alone.unsure) == (2, alone.asked, True)


@given(
    st.lists(st.sampled_from([A, B, C, D, E, "5", "x>2", "2516_8", "0.5", "1/2", None]), max_size=24),
    st.lists(st.sampled_from([EQUAL, UNEQUAL, TIMEOUT]), min_size=21, max_size=21),
    st.randoms(use_true_random=False),
)
def test_merged_votes_do_not_depend_on_the_order_of_samples(answers, verdicts, random) -> None:
    names = [A, B, C, D, E, "5", "x-2>0"]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    known = [(a, b, verdict) for (a, b), verdict in zip(pairs, verdicts, strict=True)]
    shuffled = answers.copy()
    random.shuffle(shuffled)
    first, second = vote(answers, Judge(Asker(*known))), vote(shuffled, Judge(Asker(*known)))
    assert [(c.representative, c.canonical, c.count, c.settled_by) for c in first.classes] == [
        (c.representative, c.canonical, c.count, c.settled_by) for c in second.classes
    ]
    for name in ("label", "reason", "majority_count", "margin", "entropy", "asked", "faults", "unsure"):
        assert getattr(first, name) == getattr(second, name)
    members = sorted(index for c in first.classes for index in c.members)
    assert members == [index for index, answer in enumerate(answers) if answer is not None]
    for c in first.classes:
        assert c.count == len(c.members)
        assert normalize(c.representative) == c.canonical
        assert (c.settled_by == "math_verify") == (len({normalize(answers[i]) for i in c.members}) > 1)


def test_who_names_no_judge_gets_one_and_none_means_forms_alone() -> None:
    pytest.importorskip("math_verify", reason="a core dependency of the wheel")
    answers = [r"\sin^2 x+\cos^2 x", "1", "2", "2"]
    assert equivalent(answers[0], answers[1])
    assert not equivalent(answers[0], answers[1], judge=None)
    assert vote(answers).tie
    assert vote(answers, judge=None).label == "2"
