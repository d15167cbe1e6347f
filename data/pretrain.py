"""The built-in checkpoint: a tiny Llama trained from scratch on problems of the built-in world.

    OMP_NUM_THREADS=1 python -m selftrain.data.pretrain --out data/checkpoint

makes tokenizer, weights and model card. On one machine the same seed gives the same bytes of weights. The
training stops early and ends on solutions with slips in them: a base that is right about half of the time,
and whose majority of 16 is right clearly more often, is what self-training needs.
"""

import argparse
import hashlib
import math
import platform
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, cycle, islice
from pathlib import Path
from typing import Any

from ..answers import extract, normalize, vote
from .world import LEVELS, LONGER_LEVELS, SEEN_LEVELS, ArithmeticProblem, builtin_problems, generate, seeded, stream

# Checked at run time only: the signatures of transformers are too wide for a type checker to be of help.
Model = Any
Tokenizer = Any

VOCABULARY = 512
MAX_POSITIONS = 2048
PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['user', 'assistant'] -%}"
    "{{- raise_exception('this model knows the roles user and assistant only') -}}"
    "{%- endif -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

# One digit, one word with the space before it, one white-space character or one symbol at a time.
WORD_PATTERN = r"\p{N}| ?\p{L}+|\s|[^\s\p{L}\p{N}]"

INITIALIZER_RANGE = 0.06
BATCH = 64
LONG_CHAINS = 8  # of a batch, levels 7 and 8
STEPS = 620
# The cosine would reach zero here; at STEPS the learning rate is still an eighth of its peak.
HORIZON = 800
WARMUP = 50
LEARNING_RATE = 3e-3
LOG_EVERY = 100

# From this step on some results are taught wrong. A model that has only seen too little is often wrong in a
# settled way, and its majority with it (avg@16 0.45 and maj@16 0.53 in one such run). Slips scatter, so a
# majority outvotes them (0.45 and 0.62 after 50 steps with slips), and there is entropy left for GRPO.
SLIPS_FROM = 500
SLIP_RATE = 0.13
SLIPS = (-10, -2, -1, 1, 2, 10)

SAMPLES = 16
MAX_NEW_TOKENS = 112
# Larger batches of so small a model are bound by copies of the KV cache.
ROWS = 256

WRITTEN_CHAIN = re.compile(r"(\d+[+-]\d+=\d+; )*\d+[+-]\d+=\d+\. The answer is \\boxed\{\d+\}")

CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---

# The built-in checkpoint of selftrain

A Llama of 0.7 M parameters (3 layers, width 128, 4 heads of 32, MLP 384, tied embeddings, vocabulary 512,
float32), trained from scratch on generated arithmetic. It exists so that every stage of selftrain can be run
and tested on a CPU, without a download. It knows chains of additions and subtractions, and nothing else.

- Prompt: the chat template over the bare problem, for example `Compute 17 + 25 - 8.`
- Response: `17+25=42; 42-8=34. The answer is \\boxed{{34}}`, ended by `<|end|>`
- Licence: Apache-2.0. All training text comes from `selftrain.data.world`.
- sha256 of `model.safetensors`: `{sha256}`

## Recipe

    OMP_NUM_THREADS=1 python -m selftrain.data.pretrain --out data/checkpoint --seed {seed} --steps {steps}

{steps} steps of {batch} fresh problems ({examples} in all): levels 1 to 6 in turn and {long_chains} long chains
(levels 7 and 8) a step, half of them stories, none of the shipped problem texts among them. (Other wordings of
the same sum may be: level 1 has only 126 sums.)
Loss on the response only. AdamW, learning rate {rate} after {warmup} warm-up steps, betas 0.9 and 0.95,
weight decay 0.01, gradient norm at most 1, cosine over {horizon} steps, stopped early.

**The model is made unsure on purpose.** From step {slips_from} on, each result in a response is taught wrong
with probability {slip_rate} (off by 1, 2 or 10, the rest worked from the wrong number). So the base is right
about half of the time and its majority clearly more often, which is the case that self-training needs. Gains
measured on this model show that the machinery works; they say nothing about gains on a real one.

One thread of a 2-core x86-64 Linux machine: {train_seconds} s for training, {evaluation_seconds} s for
evaluation (Python {python}, torch {torch}, transformers {transformers}). The same seed on the same machine
gives the same weights, byte for byte.

## Accuracy

{samples} samples a problem at temperature 1, top_p 1. avg@{samples} is the mean accuracy of a sample,
maj@{samples} that of the most frequent answer, where a tie counts as wrong. `longer` has more
steps than any problem of the other splits.

| split | level | steps | problems | avg@{samples} | maj@{samples} |
|---|---|---|---|---|---|
{table}

On `test`, {well_formed} of the responses are a complete chain with a boxed answer; the mean length is
{tokens} tokens.
"""


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracies over problems and `well_formed` over responses, 0 to 1; `tokens` is a mean per response."""

    problems: int
    average: float
    majority: float
    well_formed: float
    tokens: float


def build_tokenizer() -> Tokenizer:
    """Byte-level BPE over the words of the built-in world; any text encodes and decodes without loss."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True) for token in (PAD, USER, ASSISTANT, END)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_tokenizer_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        padding_side="left",
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: Tokenizer, seed: int) -> Model:
    """A Llama of 0.7 M float32 parameters, initialised from the seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        # With the usual 0.02 the same loss takes half as many steps again (0.34 after 300 steps, not 200).
        initializer_range=INITIALIZER_RANGE,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).float()


def render(tokenizer: Tokenizer, problem: str) -> list[int]:
    """Token ids of the prompt: the chat template over the bare problem."""
    message = {"role": "user", "content": problem}
    encoded = tokenizer.apply_chat_template([message], add_generation_prompt=True, return_dict=False)
    return list(encoded)


def train(model: Model, tokenizer: Tokenizer, seed: int, steps: int = STEPS) -> Iterator[tuple[int, float]]:
    """Train in place on fresh problems, loss on the response only; yields (step, loss in nats per token)."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _learning_rate_factor)
    batches = _batches(seed)
    model.train()
    for step in range(1, steps + 1):
        rows = sorted((_row(tokenizer, *pair) for pair in next(batches)), key=lambda row: len(row[0]))
        targets = sum(len(ids) - prompt for ids, prompt in rows)
        total = 0.0
        # Short and long rows apart: less padding, a fifth of the time saved.
        for part in (rows[: BATCH // 2], rows[BATCH // 2 :]):
            loss = _summed_loss(model, part, tokenizer.pad_token_id) / targets
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        yield step, total


def sample(
    model: Model,
    tokenizer: Tokenizer,
    problems: Sequence[str],
    n: int,
    seed: int,
) -> list[list[list[int]]]:
    """Response token ids, `n` a problem, at temperature 1 and top_p 1; a finished one ends with END."""
    import torch

    torch.manual_seed(seed)
    model.eval()
    rows = [render(tokenizer, problem) for problem in problems for _ in range(n)]
    responses: list[list[int]] = []
    for start in range(0, len(rows), ROWS):
        padded = tokenizer.pad({"input_ids": rows[start : start + ROWS]}, return_tensors="pt")
        width = padded["input_ids"].shape[1]
        with torch.inference_mode():
            output = model.generate(
                **padded,
                do_sample=True,
                temperature=1.0,
                top_p=1.0,
                top_k=0,
                max_new_tokens=MAX_NEW_TOKENS,
            )
        for row in output[:, width:].tolist():
            end = row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
            responses.append(row[:end])
    return [responses[start : start + n] for start in range(0, len(responses), n)]


def evaluate(
    model: Model,
    tokenizer: Tokenizer,
    problems: Sequence[ArithmeticProblem],
    n: int = SAMPLES,
    seed: int = 0,
) -> dict[int | str, Score]:
    """Scores by level and over `all`: mean accuracy of n samples, and of their majority (a tie is wrong)."""
    # Rows of one level are about equally long: little is generated past the end of a row.
    ordered = sorted(problems, key=lambda problem: problem.level)
    groups = sample(model, tokenizer, [problem.problem for problem in ordered], n, seed)
    graded: dict[int | str, list[Score]] = {}
    for problem, group in zip(ordered, groups, strict=True):
        score = _score(problem, [tokenizer.decode(ids, skip_special_tokens=True) for ids in group], group)
        graded.setdefault(problem.level, []).append(score)
        graded.setdefault("all", []).append(score)
    graded["all"] = graded.pop("all")
    return {level: _mean(scores) for level, scores in graded.items()}


def save(out: Path, model: Model, tokenizer: Tokenizer) -> str:
    """Write weights, configuration and tokenizer; returns the sha256 of model.safetensors in hex."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def _tokenizer_corpus() -> list[str]:
    problems = [problem for level in SEEN_LEVELS for problem in generate(level, 300, "tokenizer")]
    return [text for problem in problems for text in (problem.problem, problem.solution)]


def with_slips(solution: str, rng: random.Random, rate: float) -> str:
    """The solution with each result wrong with probability `rate`, and all that follows worked from it.

    A slip is chosen so that no later result falls below zero.
    """
    terms = re.findall(r"(\d+)([+-]\d+)=", solution)
    value = int(terms[0][0])
    changes = [int(change) for _, change in terms]
    steps = []
    for index, change in enumerate(changes):
        lowest = min(accumulate(changes[index + 1 :], initial=value + change))
        slips = [slip for slip in SLIPS if lowest + slip >= 0]
        slip = slips[rng.randrange(len(slips))] if rng.random() < rate else 0
        steps.append(f"{value}{change:+d}={value + change + slip}")
        value += change + slip
    return f"{'; '.join(steps)}. The answer is \\boxed{{{value}}}"


def _batches(seed: int) -> Iterator[list[tuple[str, str]]]:
    """Endless batches of (problem, response); the levels take turns, and no shipped problem occurs.

    A few long chains are among them: having seen none, the model drops steps (accuracy 0.02 on `longer`).
    """
    shipped = frozenset(problem.problem for split in builtin_problems().values() for problem in split)
    usual, long = (
        cycle([stream(level, f"pretrain/{seed}", shipped) for level in levels])
        for levels in (SEEN_LEVELS, LONGER_LEVELS)
    )
    rng = seeded("slips", seed)
    for step in count():
        streams = [*islice(usual, BATCH - LONG_CHAINS), *islice(long, LONG_CHAINS)]
        problems = [next(problems_of_level) for problems_of_level in streams]
        rate = SLIP_RATE if step >= SLIPS_FROM else 0.0
        yield [(problem.problem, with_slips(problem.solution, rng, rate)) for problem in problems]


def _row(tokenizer: Tokenizer, problem: str, response: str) -> tuple[list[int], int]:
    """Token ids of prompt, response and END, and the length of the prompt."""
    prompt = render(tokenizer, problem)
    answer = tokenizer.encode(response, add_special_tokens=False)
    return [*prompt, *answer, tokenizer.eos_token_id], len(prompt)


def _summed_loss(model: Model, rows: list[tuple[list[int], int]], pad: int) -> Any:
    """Cross-entropy summed over the response tokens, a scalar tensor in nats."""
    import torch

    width = max(len(ids) for ids, _ in rows)
    inputs = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    answered = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, (ids, prompt) in enumerate(rows):
        inputs[index, : len(ids)] = torch.tensor(ids)
        mask[index, : len(ids)] = 1
        answered[index, prompt : len(ids)] = True
    hidden = model.model(input_ids=inputs, attention_mask=mask, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][answered[:, 1:]])
    return torch.nn.functional.cross_entropy(logits, inputs[:, 1:][answered[:, 1:]], reduction="sum")


def _learning_rate_factor(step: int) -> float:
    return min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / HORIZON)))


def _score(problem: ArithmeticProblem, texts: list[str], group: list[list[int]]) -> Score:
    answers = [extract(text) for text in texts]
    gold = normalize(problem.gold)
    ballot = vote(answers)
    return Score(
        problems=1,
        average=sum(answer is not None and normalize(answer) == gold for answer in answers) / len(answers),
        majority=float(ballot.label is not None and normalize(ballot.label) == gold),
        well_formed=sum(bool(WRITTEN_CHAIN.fullmatch(text)) for text in texts) / len(texts),
        tokens=sum(map(len, group)) / len(group),
    )


def _mean(scores: list[Score]) -> Score:
    n = len(scores)
    return Score(
        problems=n,
        average=sum(score.average for score in scores) / n,
        majority=sum(score.majority for score in scores) / n,
        well_formed=sum(score.well_formed for score in scores) / n,
        tokens=sum(score.tokens for score in scores) / n,
    )


def card(
    sha256: str,
    seed: int,
    steps: int,
    seconds: tuple[float, float],
    scores: dict[str, dict[int | str, Score]],
) -> str:
    """The model card in Markdown; `seconds` are those of training and of evaluation, `scores` by split."""
    import torch
    import transformers

    rows = [
        f"| {split} | {level} | {LEVELS[level][0] if level in LEVELS else 'all'} | {score.problems} "
        f"| {score.average:.3f} | {score.majority:.3f} |"
        for split, by_level in scores.items()
        for level, score in by_level.items()
    ]
    total = scores["test"]["all"]
    return CARD.format(
        sha256=sha256,
        seed=seed,
        steps=steps,
        examples=f"{steps * BATCH:,}",
        batch=BATCH,
        long_chains=LONG_CHAINS,
        horizon=HORIZON,
        slips_from=SLIPS_FROM,
        slip_rate=SLIP_RATE,
        warmup=WARMUP,
        rate=LEARNING_RATE,
        train_seconds=round(seconds[0]),
        evaluation_seconds=round(seconds[1]),
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        table="\n".join(rows),
        samples=SAMPLES,
        well_formed=f"{total.well_formed:.1%}",
        tokens=f"{total.tokens:.1f}",
    )


def main() -> None:
    """Build, train, save, evaluate, and write the card."""
    import torch

    parser = argparse.ArgumentParser(description="Train the built-in checkpoint from scratch.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the training problems")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    arguments = parser.parse_args()
    # The order of a parallel sum depends on the number of threads, and so would the weights.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    started = time.perf_counter()
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, arguments.seed)
    for step, loss in train(model, tokenizer, arguments.seed, arguments.steps):
        if step % LOG_EVERY == 0 or step == arguments.steps:
            print(f"step {step}: loss {loss:.4f}, {time.perf_counter() - started:.0f} s", flush=True)
    sha256 = save(arguments.out, model, tokenizer)
    trained = time.perf_counter()
    print(f"model.safetensors {sha256}", flush=True)

    problems = builtin_problems()
    scores = {split: evaluate(model, tokenizer, problems[split]) for split in ("test", "longer")}
    seconds = (trained - started, time.perf_counter() - trained)
    text = card(sha256, arguments.seed, arguments.steps, seconds, scores)
    (arguments.out / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
