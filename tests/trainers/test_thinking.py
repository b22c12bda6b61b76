"""The form of a thought and an answer, and a run that reports it apart."""

import pytest
from transformers import AutoTokenizer

from rlvr.chat import prompt_text
from rlvr.errors import ConfigError
from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr_trainers.grpo import GRPOConfig, train_grpo
from rlvr_trainers.thinking import CHAT_TEMPLATES, chat_template, has_form


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>2 + 2</think><answer>4</answer>", True),
        (" <think>a\nb</think>\n\n<answer> 4 </answer>\n", True),
        ("<answer>4</answer>", False),
        ("<think>x</think>4", False),
        ("so <think>x</think><answer>4</answer>", False),
        ("<think>x</think> thus <answer>4</answer>", False),
        ("<think>x</think><answer>4</answer>!", False),
        ("<think></think><answer>4</answer>", False),
        ("<think>x</think><answer> </answer>", False),
        ("<answer>4</answer><think>x</think>", False),
        ("</think>x<think><answer>4</answer>", False),
        ("<think>x<answer>4</answer></think>", False),
        ("<think>x</think><think>y</think><answer>4</answer>", False),
        ("<think>x</think><answer>4</answer><answer>5</answer>", False),
        ("<think>x</think></answer>4<answer>", False),
        ("<think>" * 200_000, False),
        ("", False),
    ],
)
def test_only_one_thought_and_one_answer_have_the_form(text, expected):
    assert has_form(text) is expected


@pytest.mark.filterwarnings("ignore:all_groups_dead")
def test_a_run_asks_in_its_own_words_and_reports_the_form_apart(tiny_model, last_letter, tmp_path):
    config = GRPOConfig(
        model=str(tiny_model), env=last_letter, out=str(tmp_path / "run"), steps=1, prompts_per_step=4, group_size=4,
        max_tokens=4, scoring_workers=1, format_part=True, chat_template="think", part_weights={"format": 0.1},
    )  # fmt: skip
    result = train_grpo(config, quiet=True)
    (row,) = read_metrics(tmp_path / "run")
    assert row["part/format"] == 0.0
    (path,) = rollout_files(tmp_path / "run").values()
    trajectory = next(iter(read_rollouts(path)))
    tokenizer = AutoTokenizer.from_pretrained(result.model)
    assert tokenizer.chat_template == CHAT_TEMPLATES["think"], "who loads the model asks in the same words"
    asked = prompt_text(tokenizer, trajectory.task.messages)
    assert asked.endswith(f"User: {trajectory.task.text}\nAssistant: ")
    assert trajectory.token_ids[: trajectory.prompt_length] == tokenizer.encode(asked)


def test_a_template_that_shows_no_message_is_refused():
    assert chat_template("{{ messages[0]['content'] }}") == "{{ messages[0]['content'] }}"
    with pytest.raises(ConfigError, match=r"neither a name .* nor Jinja"):
        GRPOConfig(model="m", env="e/e-v0", chat_template="thnik")
