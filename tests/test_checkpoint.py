"""The built-in checkpoint: the files agree with the card, and the tokenizer takes any text."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from selftrain.data import pretrain, world

CHECKPOINT = Path(world.__file__).parent / "checkpoint"
WEIGHTS = CHECKPOINT / "model.safetensors"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(CHECKPOINT)


def test_the_card_names_the_weights() -> None:
    card = (CHECKPOINT / "README.md").read_text(encoding="utf-8")
    named = re.search(r"sha256 of `model\.safetensors`: `([0-9a-f]{64})`", card)
    assert named is not None
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == named[1]


def test_the_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size <= 8_000_000


def test_the_configuration_has_no_local_path_and_the_right_end() -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    assert "_name_or_path" not in config
    assert config["eos_token_id"] == 3
    assert config["bos_token_id"] is None


@settings(deadline=None)
@given(st.text())
@example("Janet\u2019s ducks lay 16 eggs; she sells them at $3.50.\n\n\tHow much, in ½-dollars?  中文 🙂 \x00")
@example("<|end|><|user|> don't , stop ?")
def test_any_text_survives_the_tokenizer(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode(text) == ids


@settings(deadline=None)
@given(st.integers(min_value=0))
def test_digits_are_single_tokens(tokenizer: Any, number: int) -> None:
    assert tokenizer.tokenize(str(number)) == list(str(number))


def test_words_of_the_stories_are_single_tokens(tokenizer: Any) -> None:
    phrases = [phrase.replace("{} ", "").replace("{}", "") for phrase in (*world.GAINS, *world.LOSSES)]
    words = [*world.NAMES, *world.OBJECTS, *(word for phrase in phrases for word in phrase.split())]
    for word in words:
        assert len(tokenizer.tokenize(f" {word}")) == 1, word


def test_template_ids_end_with_the_generation_prompt(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "Compute 17 + 25 - 8."}]
    ids = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)["input_ids"]
    assert ids[-1] == tokenizer.convert_tokens_to_ids("<|assistant|>")
    assert tokenizer.decode(ids) == "<|user|>Compute 17 + 25 - 8.<|end|><|assistant|>"
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.padding_side == "left"


def test_the_template_refuses_an_unknown_role(tokenizer: Any) -> None:
    jinja2 = pytest.importorskip("jinja2")
    with pytest.raises(jinja2.TemplateError, match="user and assistant"):
        tokenizer.apply_chat_template([{"role": "system", "content": "Be brief."}])


@pytest.mark.parametrize("level", world.SEEN_LEVELS)
def test_slips_keep_the_chain_and_never_go_below_zero(level: int) -> None:
    rng = world.seeded("test")
    slipped = total = 0
    for problem in world.generate(level, 500, "slips"):
        taught = pretrain.with_slips(problem.solution, rng, 0.15)
        assert pretrain.WRITTEN_CHAIN.fullmatch(taught)
        steps = re.findall(r"(\d+)([+-]\d+)=(\d+)", taught)
        assert [change for _, change, _ in steps] == re.findall(r"([+-]\d+)=", problem.solution)
        assert [result for _, _, result in steps[:-1]] == [start for start, _, _ in steps[1:]]
        assert taught.endswith(f"\\boxed{{{steps[-1][2]}}}")
        slipped += sum(int(start) + int(change) != int(result) for start, change, result in steps)
        total += len(steps)
    # Five standard deviations of 500 draws, the fewest of any level.
    assert abs(slipped / total - 0.15) < 0.075
