"""The configuration: what is accepted, what is refused and in which words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selftrain.data.errors import UserError
from selftrain.stages.config import Config, load_config

CONFIGS = Path(__file__).parent.parent / "configs"
Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a configuration from its text and overrides."""

    def load(text: str, *overrides: str) -> Config:
        path = tmp_path / "c.yaml"
        path.write_text(text, "utf-8")
        return load_config(path, overrides)

    return load


def refused(load: Load, text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as refusal:
        load(text, *overrides)
    said = str(refusal.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    config = load_config(path)
    assert config.sections("problems", "model", "generate", "train", "eval")
    assert path.read_text("utf-8").startswith("# ")


def test_the_papers_configuration_has_the_papers_numbers() -> None:
    config = load_config(CONFIGS / "dapo-qwen2.5-math-7b.yaml")
    train = config.train
    assert (train.prompts_per_step, train.num_generations) == (16, 32)
    assert (train.learning_rate, train.lr_scheduler_type) == (1e-6, "constant")
    assert (train.beta, train.epsilon) == (0.001, 0.2)
    assert (train.weight_decay, train.max_grad_norm) == (0.01, 1.0)
    assert (train.temperature, train.max_completion_length) == (1.0, 3072)
    assert (config.generate.samples, config.generate.temperature) == (32, 1.0)
    assert (config.generate.top_p, config.generate.top_k) == (1.0, 0)
    assert (config.generate.max_tokens, config.eval.max_tokens) == (3072, 3072)
    assert (config.eval.samples, config.eval.temperature) == (32, 1.0)
    assert config.curate.fraction == pytest.approx(1 / 3)
    assert config.answers.rules == ("boxed",)
    assert config.prompt.suffix == r"Let's think step by step and output the final answer within \boxed{}."


def test_the_defaults_of_training_are_the_papers() -> None:
    paper = load_config(CONFIGS / "dapo-qwen2.5-math-7b.yaml").train
    ours = Config().train
    for name in (
        *("prompts_per_step", "num_generations", "learning_rate", "lr_scheduler_type", "beta", "epsilon"),
        *("weight_decay", "max_grad_norm", "temperature", "max_completion_length", "loss_type", "scale_rewards"),
    ):
        assert getattr(ours, name) == getattr(paper, name), name


def test_without_a_file_the_defaults_hold() -> None:
    assert load_config(None) == Config()


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "---\n"])
def test_an_empty_file_is_the_defaults(load: Load, text: str) -> None:
    assert load(text) == Config()


def test_an_override_beats_the_file_and_the_file_the_defaults(load: Load) -> None:
    config = load("generate: {samples: 8, top_k: 5}\nseed: 1\n", "generate.samples=4", "generate.samples=2", "seed=9")
    assert (config.generate.samples, config.generate.top_k, config.seed) == (2, 5, 9)
    assert config.generate.top_p == Config().generate.top_p


def test_an_override_reaches_below_a_section(load: Load) -> None:
    config = load("", "problems.columns.gold=solution", "problems.held_out={test: 0.5}", "eval.splits=[a, b]")
    assert config.problems.columns == {"gold": "solution"}
    assert config.problems.held_out == {"test": 0.5}
    assert config.eval.splits == ("a", "b")
    assert load("problems:\n", "problems.limit=3").problems.limit == 3


def test_null_in_an_override_takes_a_value_away(load: Load) -> None:
    assert load("prompt: {suffix: x}", "prompt.suffix=null").prompt.suffix is None


def test_an_override_may_hold_equals_signs_and_colons(load: Load) -> None:
    assert load("", "prompt.suffix=a=b").prompt.suffix == "a=b"
    assert load("", "problems.path=c:d=e").problems.path == "c:d=e"


def test_the_marker_of_gsm8k_can_be_set_on_the_command_line(load: Load) -> None:
    assert load("", "problems.gold_after='####'").problems.gold_after == "####"
    # Unquoted it is a comment to YAML: the marker must arrive or be refused, never vanish.
    try:
        found = load("", "problems.gold_after=####").problems.gold_after
    except UserError:
        return
    assert found == "####"


def test_an_override_changes_its_own_section_only(load: Load) -> None:
    config = load("generate: &sampling {samples: 8, max_tokens: 96}\neval: *sampling\n", "generate.samples=4")
    assert (config.generate.samples, config.eval.samples) == (4, 8)
    assert config.eval.max_tokens == config.generate.max_tokens == 96


@pytest.mark.parametrize("text", ["train: {learning_rate: 1e-6}", 'train: {learning_rate: "1e-6"}'])
def test_a_number_that_yaml_reads_as_text_is_a_number(load: Load, text: str) -> None:
    assert load(text).train.learning_rate == 1e-6
    assert load("", "train.learning_rate=2e-5").train.learning_rate == 2e-5


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("generate.sampels=3", "unknown key generate.sampels in {file}; did you mean generate.samples?"),
        ("generat.samples=3", "unknown key generat in {file}; did you mean generate?"),
        ("train.lerning_rate=1", "did you mean train.learning_rate?"),
        ("curate.zzzz=1", "unknown key curate.zzzz in {file}; known: fraction"),
        ("zzzz=1", "known: seed, threads, problems, model, prompt"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(load: Load, tmp_path: Path, override: str, said: str) -> None:
    assert said.format(file=tmp_path / "c.yaml") in refused(load, "", override)


def test_an_unknown_key_of_the_file_is_refused(load: Load, tmp_path: Path) -> None:
    assert f"unknown key label.min_freq in {tmp_path / 'c.yaml'}" in refused(load, "label: {min_freq: 0.5}")


@pytest.mark.parametrize(
    "override",
    [
        "generate.samples=0", "generate.samples=-1", "generate.samples=2.5", "generate.samples=many",
        "generate.samples=null", "generate.temperature=-0.1", "generate.top_p=0", "generate.top_p=1.1",
        "generate.max_tokens=0", "generate.chunk_size=0", "label.min_frequency=1.5", "curate.fraction=0",
        "curate.fraction=1.01", "train.num_generations=1", "train.learning_rate=0", "train.loss_type=ppo",
        "train.validation_samples=1", "eval.splits=[]", "answers.rules=[]", "problems.limit=0", "seed=-1",
        "threads=0", "model.dtype=int8", "prompt.template=jinja", "problems.held_out={test: 2}", "train=3",
        "train.learning_rate=.nan",
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_its_key(load: Load, override: str) -> None:
    key = override.partition("=")[0]
    assert refused(load, "", override).startswith(f"{key}")


@pytest.mark.parametrize("override", ["generate.temperature=.inf", "train.learning_rate=.inf", "train.beta=.inf"])
def test_an_infinite_number_is_refused(load: Load, override: str) -> None:
    assert refused(load, "", override).startswith(override.partition("=")[0])


def test_a_refused_value_is_shown(load: Load) -> None:
    said = refused(load, "generate: {samples: 0}")
    assert said.startswith("generate.samples: input should be greater than or equal to 1 (it is 0), in ")


def test_an_unknown_extraction_rule_names_the_known_ones(load: Load) -> None:
    said = refused(load, "answers: {rules: [boxed, regex]}")
    assert said.startswith("answers.rules: unknown extraction rule 'regex'; known rules: boxed, answer_is")
    assert load("answers: {rules: [boxed, hash]}").answers.rules == ("boxed", "hash")


def test_a_micro_batch_must_divide_the_rollouts_of_a_step(load: Load) -> None:
    said = refused(load, "train: {prompts_per_step: 3, num_generations: 4, micro_batch_size: 5}")
    assert "micro_batch_size 5 does not divide the 12 rollouts of a step" in said
    assert load("train: {prompts_per_step: 3, num_generations: 4, micro_batch_size: 6}").train.micro_batch_size == 6


@pytest.mark.parametrize("override", ["generate.samples", "=3", "generate.=3", ".samples=3", "a..b=1", " =1", ""])
def test_an_override_of_another_form_is_refused(load: Load, override: str) -> None:
    assert "write it as section.key=value" in refused(load, "", override)


def test_an_override_below_a_value_is_refused(load: Load) -> None:
    assert "samples is a value, not a section" in refused(load, "generate: {samples: 3}", "generate.samples.n=3")
    assert "generate.samples: input should be a valid integer" in refused(load, "", "generate.samples.n=3")


def test_an_override_that_is_no_yaml_is_refused(load: Load) -> None:
    assert "--set eval.splits=[a: the value is not readable as YAML" in refused(load, "", "eval.splits=[a")


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\ta: 1", "seed: !!python/object:os.system {}"])
def test_broken_yaml_is_refused_by_file(load: Load, tmp_path: Path, text: str) -> None:
    assert refused(load, text).startswith(f"{tmp_path / 'c.yaml'} is not readable as YAML")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes("prompt: {suffix: é}".encode("latin-1"))
    with pytest.raises(UserError, match="is not readable as YAML"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["- seed: 1\n", "just text", "3"])
def test_a_file_without_sections_is_refused(load: Load, text: str) -> None:
    assert "must hold sections" in refused(load, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml does not exist"):
        load_config(tmp_path / "none.yaml")


def test_a_key_that_is_no_text_is_refused(load: Load) -> None:
    refused(load, "1: 2\n")


def test_sections_are_plain_values_for_a_fingerprint(load: Load) -> None:
    found: dict[str, Any] = load("eval: {splits: [test, hard]}").sections("eval", "seed")
    assert set(found) == {"eval", "seed"}
    assert found["eval"]["splits"] == ["test", "hard"]


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3  # type: ignore[misc]
