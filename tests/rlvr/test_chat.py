from __future__ import annotations

from typing import Any

import pytest

from rlvr.chat import Conversation, prompt_ids, prompt_text
from rlvr.errors import ConfigError
from rlvr.generation.byte_tokenizer import ByteTokenizer
from rlvr.task import Message

END = {"qwen": "<|im_end|>", "llama3": "<|eot_id|>", "mistral": "</s>", "deepseek": "<|end|>"}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
QUESTION: list[Message] = [{"role": "user", "content": "Is it 3?"}]


def follow_up(tokenizer: Any, spoken: str, replies: list[Message], **arguments: Any) -> tuple[str, bool, Conversation]:
    """The text that is appended after the model has said `spoken` and ended its turn by itself."""
    conversation = Conversation(tokenizer, QUESTION, **arguments)
    conversation.speak(spoken)
    turn = conversation.reply(replies, last_id=tokenizer.eos_token_id)
    return tokenizer.decode(turn.ids), turn.rewritten, conversation


def user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def tool(*texts: str) -> list[Message]:
    return [{"role": "tool", "content": text} for text in texts]


FIRST_PROMPTS = {
    "qwen": "<|im_start|>user\nIs it 3?<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nIs it 3?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<s>[INST] Is it 3?[/INST]",
    "deepseek": "<|begin|><|User|>Is it 3?<|Assistant|><think>\n",
}
# What follows the model's own end of turn.
AFTER_A_USER = {
    "qwen": "\n<|im_start|>user\nNo.<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<|start_header_id|>user<|end_header_id|>\n\nNo.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "[INST] No.[/INST]",
}
AFTER_TWO_TOOLS = {
    "qwen": "\n<|im_start|>user\n<tool_response>\n4\n</tool_response>\n<tool_response>\n5\n</tool_response><|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama3": "<|start_header_id|>ipython<|end_header_id|>\n\n4<|eot_id|>"
    "<|start_header_id|>ipython<|end_header_id|>\n\n5<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "[TOOL_RESULTS] 4[/TOOL_RESULTS][TOOL_RESULTS] 5[/TOOL_RESULTS]",
}


@pytest.mark.parametrize("family", FIRST_PROMPTS)
def test_the_first_prompt_is_what_the_template_writes(chat_tokenizers: dict[str, Any], family: str) -> None:
    assert prompt_text(chat_tokenizers[family], QUESTION) == FIRST_PROMPTS[family]
    assert chat_tokenizers[family].decode(prompt_ids(chat_tokenizers[family], QUESTION)) == FIRST_PROMPTS[family]


@pytest.mark.parametrize("family", END)
def test_tools_are_shown_through_the_template(chat_tokenizers: dict[str, Any], family: str) -> None:
    assert '"name": "look"' in prompt_text(chat_tokenizers[family], QUESTION, TOOLS)


@pytest.mark.parametrize("family", AFTER_A_USER)
def test_a_reply_of_the_user_is_appended_behind_the_sampled_end_of_turn(
    chat_tokenizers: dict[str, Any], family: str
) -> None:
    assert follow_up(chat_tokenizers[family], "Yes", user("No."))[:2] == (AFTER_A_USER[family], False)


@pytest.mark.parametrize("family", AFTER_TWO_TOOLS)
def test_replies_of_tools_are_appended_behind_the_sampled_end_of_turn(
    chat_tokenizers: dict[str, Any], family: str
) -> None:
    spoken = '<tool_call>\n{"name": "look"}\n</tool_call>'
    assert follow_up(chat_tokenizers[family], spoken, tool("4", "5"))[:2] == (AFTER_TWO_TOOLS[family], False)


@pytest.mark.parametrize("family", AFTER_A_USER)
def test_an_end_of_turn_that_the_model_did_not_sample_is_appended(chat_tokenizers: dict[str, Any], family: str) -> None:
    tokenizer = chat_tokenizers[family]
    conversation = Conversation(tokenizer, QUESTION)
    conversation.speak("Yes")
    turn = conversation.reply(user("No."), last_id=tokenizer.encode("s")[0])
    assert tokenizer.decode(turn.ids) == END[family] + AFTER_A_USER[family]


@pytest.mark.parametrize("family", ["llama3", "mistral"])
def test_white_space_that_a_template_trims_is_no_rewriting(chat_tokenizers: dict[str, Any], family: str) -> None:
    assert follow_up(chat_tokenizers[family], "\n  Yes \n", user("No."))[:2] == (AFTER_A_USER[family], False)


@pytest.mark.parametrize("family", ["qwen", "deepseek"])
def test_a_template_that_cuts_earlier_reasoning_opens_a_new_sample(
    chat_tokenizers: dict[str, Any], family: str
) -> None:
    tokenizer = chat_tokenizers[family]
    text, rewritten, conversation = follow_up(tokenizer, "<think>\nhm\n</think>\n\nYes", user("No."))
    assert rewritten
    assert "hm" not in text
    assert text == prompt_text(tokenizer, conversation.messages)
    conversation.speak("Then 4")
    if family == "qwen":  # and goes on from there, as long as nothing else is cut
        turn = conversation.reply(user("Yes."), last_id=tokenizer.eos_token_id)
        assert (tokenizer.decode(turn.ids), turn.rewritten) == (AFTER_A_USER["qwen"].replace("No.", "Yes."), False)


def test_reasoning_that_stays_while_tools_answer_is_appended_to(chat_tokenizers: dict[str, Any]) -> None:
    text, rewritten, conversation = follow_up(chat_tokenizers["qwen"], "<think>\nhm\n</think>\n\nlook", tool("4", "5"))
    assert (text, rewritten) == (AFTER_TWO_TOOLS["qwen"], False)
    conversation.speak("It is 4")
    assert conversation.reply(user("Sure?"), last_id=0).rewritten  # the new question cuts the first turn's reasoning


def test_a_template_that_moves_the_tool_list_opens_a_new_sample(chat_tokenizers: dict[str, Any]) -> None:
    assert follow_up(chat_tokenizers["mistral"], "Yes", user("No."), tools=TOOLS)[1]
    assert not follow_up(chat_tokenizers["qwen"], "Yes", user("No."), tools=TOOLS)[1]


def test_a_template_that_wants_calls_before_tool_replies_gets_through_many_turns(
    chat_tokenizers: dict[str, Any],
) -> None:
    tokenizer = chat_tokenizers["mistral"]
    _, _, conversation = follow_up(tokenizer, "[TOOL_CALLS] look", tool("4"), tools=TOOLS)
    conversation.speak("[TOOL_CALLS] look again")
    turn = conversation.reply(tool("5"), last_id=tokenizer.eos_token_id)
    assert tokenizer.decode(turn.ids) == "[TOOL_RESULTS] 5[/TOOL_RESULTS]"
    assert not turn.rewritten


def test_a_model_that_writes_the_marker_itself_confuses_nothing(chat_tokenizers: dict[str, Any]) -> None:
    assert follow_up(chat_tokenizers["qwen"], "turn-ends-here turn-ends-here-x", user("No."))[0] == AFTER_A_USER["qwen"]
    text, _, _ = follow_up(chat_tokenizers["qwen"], "Yes", user("turn-ends-here"))
    assert text == AFTER_A_USER["qwen"].replace("No.", "turn-ends-here")


def test_messages_that_a_template_refuses_are_an_error_that_says_so(chat_tokenizers: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="roles must alternate"):
        Conversation(chat_tokenizers["mistral"], [*QUESTION, *QUESTION])


def test_a_tokenizer_without_a_template_gets_plain_lines() -> None:
    tokenizer = ByteTokenizer()
    messages: list[Message] = [{"role": "system", "content": "Be brief."}, *QUESTION]
    assert prompt_text(tokenizer, messages) == "Be brief.\nIs it 3?\n"
    assert prompt_text(tokenizer, QUESTION, [{"name": "look"}]) == '{"name": "look"}\nIs it 3?\n'
    text, rewritten, _ = follow_up(tokenizer, "Yes", user("No."))
    assert (text, rewritten) == ("\nNo.\n", False)


def test_forks_go_their_own_ways() -> None:
    conversation = Conversation(ByteTokenizer(), QUESTION)
    fork = conversation.fork()
    fork.speak("Yes")
    assert conversation.messages == QUESTION
    assert [message["role"] for message in fork.messages] == ["user", "assistant"]
