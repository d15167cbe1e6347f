"""One rendering of a problem, in TRL's forms."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selftrain.data.errors import UserError
from selftrain.data.prompts import PAPER_SUFFIX, prompt_of, render
from selftrain.stages.config import PromptSection


class FakeTokenizer:
    """Ids are the lengths of words; a plain text gets a BOS of 1, the chat template writes its own 2."""

    chat_template: str | None = "a template"

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [1, *map(len, text.split())]}

    def apply_chat_template(self, messages: list[dict[str, str]], **how: Any) -> dict[str, list[int]]:
        self.how = how
        words = [word for message in messages for word in (message["role"], *message["content"].split())]
        return {"input_ids": [2, *map(len, words)]}


class Refusing(FakeTokenizer):
    """A template that knows no system role, as many do."""

    def apply_chat_template(self, messages: list[dict[str, str]], **how: Any) -> dict[str, list[int]]:
        jinja2 = pytest.importorskip("jinja2")
        raise jinja2.TemplateError("only the roles user and assistant are known")


def test_a_chat_prompt_is_one_user_message_with_the_papers_suffix() -> None:
    assert prompt_of("1 + 1?", PromptSection()) == [{"role": "user", "content": f"1 + 1? {PAPER_SUFFIX}"}]
    assert PAPER_SUFFIX == r"Let's think step by step and output the final answer within \boxed{}."


def test_a_system_text_comes_first_in_both_forms() -> None:
    chat = prompt_of("1 + 1?", PromptSection(system="Be brief.", suffix=None))
    assert chat == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    plain = prompt_of("1 + 1?", PromptSection(template="plain", system="Be brief.", suffix="Go."))
    assert plain == "Be brief.\n\n1 + 1? Go."


@pytest.mark.parametrize("suffix", [None, ""])
def test_without_system_and_suffix_a_plain_prompt_is_the_problem(suffix: str | None) -> None:
    assert prompt_of(" 1 +\n1? ", PromptSection(template="plain", suffix=suffix)) == " 1 +\n1? "


def test_chat_ids_are_the_templates_own() -> None:
    tokenizer = FakeTokenizer()
    rule = PromptSection(suffix="now", chat_template_kwargs={"enable_thinking": False})
    assert render("what is", rule, tokenizer) == [2, 4, 4, 2, 3]
    expected = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "enable_thinking": False}
    assert tokenizer.how == expected


def test_plain_ids_are_the_tokenizers_own_with_its_bos() -> None:
    tokenizer = FakeTokenizer()
    tokenizer.chat_template = None
    assert render("what is", PromptSection(template="plain", suffix="now"), tokenizer) == [1, 4, 2, 3]


@pytest.mark.parametrize("template", [None, ""])
def test_a_model_without_chat_template_names_the_way_out(template: str | None) -> None:
    tokenizer = FakeTokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=r"--set prompt\.template=plain"):
        render("what is", PromptSection(), tokenizer)


def test_a_prompt_that_the_template_refuses_is_a_users_error() -> None:
    with pytest.raises(UserError, match="user and assistant"):
        render("what is", PromptSection(system="Be brief."), Refusing())


def test_a_real_tokenizer_renders_the_chat_form(model_folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    ids = render("what is", PromptSection(system="s", suffix=None), tokenizer)
    assert tokenizer.convert_ids_to_tokens(ids) == [
        "<|system|>", "<unk>", "<|user|>", "<unk>", "<unk>", "<|assistant|>",
    ]  # fmt: skip
    assert all(type(token) is int for token in ids)


def test_rendering_twice_gives_the_same_ids(configured: Callable[..., Any]) -> None:
    rule = configured("prompt.suffix=now").prompt
    assert render("a bc", rule, FakeTokenizer()) == render("a bc", rule, FakeTokenizer())
    assert render("a bc", rule, FakeTokenizer()) != render("a bcd", rule, FakeTokenizer())
