"""Chat templates: the prompt that a message makes equals transformers', and a hostile template harms nobody."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors
from transformers import AutoTokenizer

import decoding
from decoding.engines.local_engine import LocalEngine
from decoding.errors import FormatError, ModelError, RequestError
from decoding.models.catalogue import Entry
from decoding.models.chat_listing import has_chat_template
from decoding.models.chat_template import ChatTemplate, make_chat_template
from decoding.models.starter import ensure_starter
from decoding.models.tokenizer import read_tokenizer
from decoding.record.tokens import Vocabulary
from decoding.record.trace import Trace
from decoding.requests.message_request import message_ids
from tests.fakes import NASTY, ScriptedEngine
from tests.tiny_models import tokenizer

MESSAGES = ["What is it?", "", "  two spaces\nand a line  ", *NASTY.values()]

# The shapes that most models of today have, written here.
CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% else %}{% set loop_messages = messages %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = """{{- bos_token }}
{%- if strftime_now is defined %}
    {%- set date = strftime_now("%d %b %Y") %}
{%- else %}
    {%- set date = "26 Jul 2024" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date + "\\n\\n<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- elif message.content is mapping %}
        {{- message.content | tojson }}
    {%- endif %}
{%- endfor %}
{%- if tools is not none and tools %}{{- tools | tojson(indent=4) }}{%- endif %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}
{% endif %}{% for message in messages %}
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}
{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}
{% endfor %}
{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"""
MISTRAL = """{%- set ns = namespace(index=0) %}
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == "user" %}
        {%- set ns.index = ns.index + 1 %}
        {{- "[INST]" + (" " if ns.index > 5 else "") + message.content + "[/INST]" }}
    {%- elif message.role == "assistant" %}
        {%- generation %}{{- message.content + eos_token }}{%- endgeneration %}
    {%- endif %}
{%- endfor %}"""
PHI = """{% for message in messages %}
{% if message['role'] == 'tool' %}{% continue %}{% endif %}
{% if message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '<|end|>\n' }}
{% elif message['role'] == 'assistant' %}{{ '<|assistant|>\n' + message['content'] + '<|end|>\n' }}
{% endif %}{% endfor %}
{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"""
SHAPES = {"chatml": CHATML, "llama 2": LLAMA_2, "llama 3": LLAMA_3, "gemma": GEMMA, "mistral": MISTRAL, "phi": PHI}
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>"]
SPECIALS += ["<end_of_turn>", "[INST]", "[/INST]", "<|user|>", "<|assistant|>"]


def folder_with(path: Path, template: Any, *, in_config: bool) -> Path:
    """A tokenizer that puts a beginning in front of every prompt, with a template in one of the two files."""
    made = tokenizer(bos_token="<|begin|>", eos_token="<|end|>")
    made.add_special_tokens({"additional_special_tokens": SPECIALS})
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", 257)]
    )
    made.save_pretrained(path)
    config = path / "tokenizer_config.json"
    if in_config:
        config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | {"chat_template": template}), "utf-8")
    else:
        (path / "chat_template.jinja").write_text(template, "utf-8")
    return path


def theirs_of(speaks: Any, message: str) -> tuple[str, list[int]]:
    chat = [{"role": "user", "content": message}]
    text = speaks.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    return text, speaks.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]


@pytest.mark.parametrize("name", SHAPES)
def test_the_prompt_equals_transformers(name: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, SHAPES[name], in_config=len(name) % 2 == 0)
    theirs, ours = AutoTokenizer.from_pretrained(folder), read_tokenizer(folder)
    assert ours.message_template is not None
    engine = ScriptedEngine()
    engine.vocabulary = Vocabulary(ours)
    engine.vocabulary_size = 300
    for message in (MESSAGES[0], "  \N{PARTY POPPER}\n한국 <|im_end|> [INST] {{ x }} ", MESSAGES[2]):
        text, ids = theirs_of(theirs, message)
        assert ours.message_template.render(message) == text
        assert message_ids(engine, message) == ids
    begins = "bos_token" in SHAPES[name]
    assert (ids.count(257), ids[0] == 257) == (int(begins), begins)  # never two beginnings
    assert ours("x")["input_ids"][0] == 257  # as a plain prompt has one


def test_the_starters_prompts_equal_transformers(starter: LocalEngine) -> None:
    folder = ensure_starter()
    theirs, template = AutoTokenizer.from_pretrained(folder), starter.vocabulary.message_template
    assert template is not None
    for message in [*MESSAGES[:4], *(NASTY[name] for name in ("emoji", "specials typed", "template"))]:
        text, ids = theirs_of(theirs, message)
        assert template.render(message) == text
        assert message_ids(starter, message) == ids
        assert ids.count(1) == 3 + message.count("<|im_start|>")


def test_where_a_template_is_found(tmp_path: Path) -> None:
    both = folder_with(folder_with(tmp_path / "both", "config {{ 1 }}", in_config=True), "file", in_config=False)
    assert read_tokenizer(both).message_template.template == "file"
    listed = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    assert (
        make_chat_template(listed, {}) == make_chat_template({"default": "d", "tool_use": "t"}, {}) == ChatTemplate("d")
    )
    for none in (None, "", 7, {"rag": "r"}, [1], [{"name": "rag", "template": "r"}]):
        assert make_chat_template(none, {}) is None
    named = make_chat_template("x", {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": None})
    assert named == ChatTemplate("x", (("bos_token", "<s>"), ("eos_token", "</s>")))


HOSTILE = {
    "{% for i in range(10**9) %}{% endfor %}": "Range too big",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}": "did not end within 2 seconds",
    "{{ ('a' * 2**30) | length }}": "more than 512 MB of memory",
    "{{ '%99999999999d' | format(1) }}": "more than 512 MB of memory",
    "{% for i in range(99999) %}aaaaaaaaaaaaaaaa{% endfor %}": "more than 50,000 characters of this message",
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}": "recursion",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}": "'__class__' of 'str' object is unsafe",
    "{{ messages.append(1) }}": "unsafe",
    "{{ namespace(__class__=1) }}": "of this message: __class__.",
    "{{ raise_exception('No user here.') }}": "of this message: No user here. Send it as it is",
    "{% if %}": "Expected an expression",
    "{% include '/etc/passwd' %}": "no loader",
    "a" * 200_001: "has 200,001 characters, and at most 200,000 are read",
}


@pytest.mark.parametrize("template", HOSTILE, ids=lambda text: text[:40])
def test_a_hostile_template_ends_with_one_sentence(template: str) -> None:
    with pytest.raises(ModelError) as caught:
        ChatTemplate(template).render("Hello")
    assert HOSTILE[template] in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_keeps_that_it_was_a_message() -> None:
    engine = ScriptedEngine(chat_template="<|begin|>U: {{ messages[0].content }}\nA:")
    run = decoding.trace(engine, "Hi", max_new_tokens=3, top_k=2, as_message=True)
    assert (run.prompt, run.as_message) == ("Hi", True)
    assert run.text == "<|begin|>U: Hi\nA:" + run.generated_text
    assert run.remarks == ()
    assert Trace.from_jsonl(run.to_jsonl()) == run
    assert json.loads(run.to_jsonl().splitlines()[0])["as_message"] is True
    plain = decoding.trace(engine, "Hi", max_new_tokens=3, top_k=2)
    assert "as_message" not in plain.to_jsonl()
    assert plain.prompt_token_ids != run.prompt_token_ids
    # Everything that is asked about a run reads the same tokens.
    other = run.steps[1].candidates[1].token_id
    asked = [decoding.branch(engine, run, 1, other, max_new_tokens=3)]
    how: Any = {"max_new_tokens": 3, "top_k": 2, "as_message": True}
    asked += [decoding.sample(engine, "Hi", sampling=decoding.Sampling(), **how)]
    asked += [decoding.draws(engine, "Hi", sampling=decoding.Sampling(), count=2, **how).runs[1]]
    asked += [decoding.beam_search(engine, "Hi", num_beams=2, **how)]
    asked += [decoding.score(engine, "Hi", " most", top_k=2, as_message=True)]
    asked += [decoding.score_prompt(engine, run)]
    assert all((each.as_message, each.prompt_token_ids) == (True, run.prompt_token_ids) for each in asked)
    assert [token.text for token in decoding.probability(engine, run, 0, " most").tokens] == [" most"]
    assert "Input" in str(run)
    assert "U&#58; Hi↵A" in run.to_markdown()


@pytest.mark.parametrize(
    ("template", "message", "error", "said"),
    [
        ("", "Hi", RequestError, "scripted has no chat template"),
        ("hello", "Hi", ModelError, "leaves out a part of this message"),
        ("{{ messages[0].content }} and more", "a" * 50_000, ModelError, "more than 50,000 characters of this message"),
        ("{{ messages[0].content }}" + " a" * 1100, "Hi", RequestError, "has room for"),
    ],
)
def test_what_is_refused(template: str, message: str, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        decoding.trace(ScriptedEngine(chat_template=template), message, max_new_tokens=3, top_k=2, as_message=True)


def test_true_or_false_and_nothing_else() -> None:
    with pytest.raises(RequestError, match="message to the assistant has to be true or false, not “yes”"):
        decoding.trace(ScriptedEngine(chat_template="x"), "x", max_new_tokens=1, top_k=1, as_message="yes")  # type: ignore[arg-type]


def test_a_file_that_contradicts_itself_is_refused() -> None:
    run = decoding.trace(
        ScriptedEngine(chat_template="U: {{ messages[0].content }}"), "Hi", max_new_tokens=1, top_k=2, as_message=True
    )
    for change, said in (({"prompt": "Ho"}, "not the text of its prompt_tokens"), ({"as_message": 1}, "true or false")):
        header, *rest = run.to_jsonl().splitlines()
        with pytest.raises(FormatError, match=said):
            Trace.from_jsonl("\n".join([json.dumps(json.loads(header) | change), *rest]))


@pytest.mark.parametrize("name", ["~0", "~0/model", "~nobody-of-that-name/model.gguf", "\ud800", "a" * 5_000])
def test_a_folder_that_cannot_be_has_no_template(name: str) -> None:
    assert not has_chat_template(Entry(name, ""))
