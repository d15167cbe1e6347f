"""One function renders a problem to token ids; generate, train and eval show the model the same ids."""

from __future__ import annotations

from typing import Any, Protocol

from .errors import UserError

# The suffix of the paper's data sets, appended after one space (its scripts' examples/data_preprocess).
PAPER_SUFFIX = "Let's think step by step and output the final answer within \\boxed{}."


class PromptRule(Protocol):
    """What the `prompt` section of the configuration holds."""

    @property
    def template(self) -> str: ...
    @property
    def system(self) -> str | None: ...
    @property
    def suffix(self) -> str | None: ...
    @property
    def chat_template_kwargs(self) -> dict[str, Any]: ...


def prompt_of(problem: str, rule: PromptRule) -> str | list[dict[str, str]]:
    """The prompt in TRL's forms: chat messages (`template: chat`) or one string (`template: plain`)."""
    text = f"{problem} {rule.suffix}" if rule.suffix else problem
    if rule.template == "plain":
        return f"{rule.system}\n\n{text}" if rule.system else text
    messages = [{"role": "system", "content": rule.system}] if rule.system else []
    return [*messages, {"role": "user", "content": text}]


def render(problem: str, rule: PromptRule, tokenizer: Any) -> list[int]:
    """Token ids of the prompt, as TRL's GRPOTrainer tokenizes what `prompt_of` returns.

    The chat template writes its own special tokens, a plain prompt gets the tokenizer's (such as one BOS).
    Raises UserError when a chat template is asked for and the tokenizer has none, or the template refuses the messages.
    """
    prompt = prompt_of(problem, rule)
    if isinstance(prompt, str):
        return list(tokenizer(text=prompt)["input_ids"])
    if not tokenizer.chat_template:
        raise UserError("this model has no chat template: use --set prompt.template=plain")
    from jinja2.exceptions import TemplateError

    try:
        rendered = tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, tokenize=True, return_dict=True, **rule.chat_template_kwargs
        )
    except TemplateError as error:
        raise UserError(f"this model's chat template refuses the prompt (section prompt): {error}") from error
    return list(rendered["input_ids"])
