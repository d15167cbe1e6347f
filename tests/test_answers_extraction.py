"""Extraction: which text counts, which box wins, and time linear in hostile responses."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftrain.answers import DEFAULT_RULES, Extraction, extract, find
from selftrain.answers.extraction import ALL_RULES

_PIECES = r"\boxed{ \fbox{ \boxed { } \{ \} \ 7 x $ <think> </think> answer is Answer: #### (B) . **"
PIECES = st.sampled_from([*_PIECES.split(), " ", "\n"])
RESPONSES = st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join))


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\fbox{3}", "3"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.} ok", r"\left\{ x \right."),
        (r"\boxed{ 5 }", "5"),
        (r"\boxed {5}", "5"),
        (r"$\boxed 7$.", "7"),
        (r"the value \boxed 12.", "12"),
        (r"\boxed{3} and again \boxed{4", "3"),
        (r"\boxed{3} and again \boxed{\frac{1}{2}", "3"),
        (r"\boxed{5}. I put it in \boxed{}.", "5"),
        (r"\\boxed{840}", "840"),
        (r"a row \\\boxed{6}", "6"),
        (r"stray } brace \boxed{8}", "8"),
        (r"\boxed{}", None),
        ("\\boxed{ \n }", None),
        (r"\boxed", None),
        (r"\boxed{", None),
        (r"\boxedness{3}", None),
        (r"\boxed{3} \boxedness{4}", "3"),
        (r"\boxed{" + "{" * 9000 + "}" * 9001, None),
        (r"\boxed{4} then " + r"\boxed{} " * 10, "4"),
        ("the answer is 5", None),
        ("", None),
    ],
)
def test_boxed(response: str, answer: str | None) -> None:
    assert extract(response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"\boxed{1},\boxed{2}, and \boxed{3}.", "1, 2, 3"),
        (r"\(\boxed{1}\) or \(\boxed{-2}\)", "1, -2"),
        (r"\boxed{a} \quad \text{and} \quad \boxed{b}", "a, b"),
        (r"\boxed{1} red and \boxed{2} blue", "1, 2"),
        (r"$x = \boxed{1}$ and $y = \boxed{2}$", "x = 1, y = 2"),
        (r"So x = \boxed{1}, \boxed{2}", "1, 2"),
        (r"\boxed{1}, \boxed{2} and \boxed{3", "1, 2"),
        (r"\boxed{5}\boxed{5}", "5"),
        ("\\boxed{4}\n\n\\boxed{5}", "5"),
        (r"\boxed{1} for \boxed{2}", "2"),
        (r"\boxed{1} no no and \boxed{2}", "2"),
        (r"\boxed{1}. Wait, \boxed{2}", "2"),
        (r"\boxed{1}, " * 40 + r"\boxed{9}", "9"),
    ],
)
def test_boxes_side_by_side_are_one_list(response: str, answer: str) -> None:
    assert extract(response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"<think> maybe \boxed{1} </think> It is \boxed{2}", "2"),
        (r"<think> \boxed{1} </think> no box", None),
        (r"<think> \boxed{1}", None),
        (r"<think>a</think> \boxed{1} <think> hm, \boxed{2}", None),
        (r"the prompt opened it \boxed{1} </think> \boxed{2}", "2"),
        (r"<think>a</think> \boxed{1} <think>b</think> \boxed{2}", "2"),
    ],
)
def test_only_text_after_thinking_counts(response: str, answer: str | None) -> None:
    assert extract(response) == answer


@pytest.mark.parametrize("rules", [ALL_RULES, ("answer_is", "boxed"), ("hash",)])
def test_truncated_response_needs_a_complete_box(rules: tuple[str, ...]) -> None:
    assert extract("The answer is 5\n#### 5", truncated=True, rules=rules) is None
    assert extract(r"The answer is 5 \boxed{7", truncated=True, rules=rules) is None


def test_truncated_response_keeps_a_complete_box() -> None:
    assert extract(r"\boxed{7} and so", truncated=True) == "7"
    # The token limit may have cut 72 to 7.
    assert extract(r"so \boxed 7", truncated=True) is None
    assert extract(r"so \boxed 7 .", truncated=True) == "7"


@pytest.mark.parametrize(
    ("response", "rule", "answer"),
    [
        ("The answer is 42.", "answer_is", "42"),
        ("The answer is 3.14. I hope it is correct.", "answer_is", "3.14"),
        ("the answer is 1. No: the final answer is $7$.", "answer_is", "7"),
        ("The answer is:\n\n\\[ 9 \\]", "answer_is", "9"),
        (r"The answer is \(\boxed{5x+1}\). Great!", "answer_is", "5x+1"),
        ("**The answer is:** 12", "answer_is", "12"),
        ("The answer is", "answer_is", None),
        ("Answer $$ 9 $$", "answer_is", "9"),
        ("so it is. Final Answer: $5$. I hope it is correct.", "answer_is", "5"),
        ("Final Answer: The largest $n$ is 34.", "answer_is", "34"),
        ("Final Answer: 5, which is 2 less than 7", "answer_is", "5, which is 2 less than 7"),
        ("The answers are 1 and 2.", "answer_is", "1 and 2"),
        ("work\nAnswer: 142", "answer_line", "142"),
        ("Answer: 1\nno\n**Answer:** $3$\n", "answer_line", "3"),
        ("no Answer: 142", "answer_line", None),
        ("Answer:\n5", "answer_line", None),
        ("72 / 2 = 36\n#### 36", "hash", "36"),
        ("#### 1\n#### 1,234.\nmore", "hash", "1,234"),
        ("### 36", "hash", None),
        ("The answer is (C).", "choice", "C"),
        ("Answer: D", "choice", "D"),
        ("so\n**B**", "choice", "B"),
        ("(D) Alina", "choice", "D"),
        (r"The answer is $\text{(E)}$", "choice", "E"),
        ("The answer is A lot of work.", "choice", None),
        ("The answer is Dublin", "choice", None),
        ("no letter here", "choice", None),
        ("The answer is for sure D, it can't be A or B", "choice", "D"),
        ("C? Let's finalize B.", "choice", "B"),
        ("The answer is A = 5", "choice", None),
        (r"\frac{1}{2} ", "whole", r"\frac{1}{2}"),
        ("No solution", "whole", "No solution"),
        ("5 is what I have found here", "whole", None),
        ("1\n2", "whole", None),
        ("So we get \\(42\\) at last", "last_formula", "42"),
        ("It costs $5 and more than that, so $x$", "last_formula", "x"),
        ("It costs $5", "last_formula", None),
        ("from 3 to 1,234.50 at last", "last_number", "1,234.50"),
        ("the ratio is 13/28.", "last_number", "13/28"),
        ("it falls by -4", "last_number", "-4"),
        ("of 10-15", "last_number", "15"),
        ("x2 and y", "last_number", None),
    ],
)
def test_anchors(response: str, rule: str, answer: str | None) -> None:
    assert extract(response, rules=(rule,)) == answer


def test_rules_are_tried_in_the_order_given() -> None:
    response = "The answer is 5\n#### 6\n\\boxed{7}"
    assert find(response, rules=("hash", "boxed")) == Extraction("6", "hash")
    assert find(response, rules=("boxed", "hash")) == Extraction("7", "boxed")
    assert find(response) == Extraction("7", "boxed")
    assert DEFAULT_RULES == ("boxed",)
    assert find(response, rules=()) is None
    assert find(response, rules=ALL_RULES) == Extraction("7", "boxed")


def test_unknown_rule_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'last_word'.*boxed.*answer_is.*answer_line.*hash.*choice"):
        extract("5", rules=("boxed", "last_word"))


@given(RESPONSES, st.booleans())
def test_extraction_never_raises_and_never_finds_nothing(response: str, truncated: bool) -> None:
    found = find(response, truncated=truncated, rules=ALL_RULES)
    assert found is None or (found.how in ALL_RULES and found.answer.strip())


@given(RESPONSES)
def test_thinking_prefix_changes_nothing(response: str) -> None:
    assert extract(r"<think> \boxed{1} </think>" + response) == extract("</think>" + response)


@pytest.mark.parametrize(
    "response",
    [
        "{" * 1_000_000,
        "}" * 1_000_000,
        "\\" * 1_000_000,
        r"\boxed{" * 20_000,
        r"\boxed{1}" * 20_000,
        r"\boxed " * 100_000,
        r"\boxed{1}, " * 90_000,
        r"\fbox{}" * 140_000,
        "1," * 500_000,
        "$" * 1_000_000,
        r"\boxed{" + "{" * 500_000 + "}" * 500_000,
        (r"\boxed" + " " * 40) * 20_000,
        "the answer is " * 70_000,
        "answer:\n" * 100_000,
        "#" * 1_000_000,
        "\n" * 1_000_000,
        "<think>" * 100_000,
        "*_" * 500_000,
    ],
    ids=lambda response: repr(response[:12]),
)
def test_time_is_linear_on_hostile_text(response: str) -> None:
    start = time.process_time()
    find(response, rules=ALL_RULES)
    # At most 40 ms here; a quadratic scan of any of these takes minutes.
    assert time.process_time() - start < 2
