"""The catalogue, and the operator's list of models."""

import re
from pathlib import Path

import pytest

from app import entries_of, settings
from decoding.command_line import options
from decoding.errors import RequestError
from decoding.models.catalogue import (
    CATALOGUE,
    Entry,
    describe_models,
    describe_served,
    format_bytes,
    format_count,
    memory_needed,
    parse_model_list,
)


def test_the_catalogues_models():
    assert [*CATALOGUE] == [
        "starter",
        "distilgpt2",
        "gpt2",
        "gpt2-medium",
        "gpt2-large",
        "gpt2-xl",
        "SmolLM2-360M",
        "Qwen3-0.6B",
        "polyglot-ko-1.3b",
    ]


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_every_entry_says_all_there_is_to_say(entry: Entry):
    assert all((entry.parameters, entry.download_bytes, entry.context, entry.licence, entry.revision))
    if entry.name != "starter":
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.repository)
        assert re.fullmatch("[0-9a-f]{40}", entry.revision)  # a commit: a branch or a tag can be moved
        # What is fetched is the parameters in float32 or in 16 bit, and little else.
        assert 1.9 < entry.download_bytes / entry.parameters < 4.5
    assert entry.memory_unpacked("float32") > entry.memory_unpacked("bfloat16") > 2 * entry.parameters
    assert (entry.memory_needed("float32") < 4 * entry.parameters) == (entry.name == "starter")


def test_memory_by_dtype():
    assert memory_needed(1_000_000_000, "float32") == 4_900_000_000
    assert memory_needed(1_000_000_000, "bfloat16") == memory_needed(1_000_000_000, "float16") == 2_600_000_000
    assert Entry("a folder").memory_needed("float32") == 0  # nobody knows


def test_a_line_about_each():
    facts = describe_models([CATALOGUE["gpt2-xl"], Entry("folder"), CATALOGUE["starter"]])
    assert {name: " · ".join(each) for name, each in facts.items()} == {
        "starter": (
            "135 M parameters · context 8,192 · Apache-2.0 · download 93 MB · memory 428 MB in four bits, 919 MB in "
            "float32, 609 MB in bfloat16"
        ),
        "gpt2-xl": (
            "1.56 B parameters · context 1,024 · MIT · download 6.4 GB · memory 7.5 GB in float32, 3.9 GB in bfloat16"
            " · openai-community/gpt2-xl at 15ea56d"
        ),
        "folder": "",
    }


def test_a_line_about_one_that_a_server_computes():
    starter = CATALOGUE["starter"]
    assert " · ".join(describe_served(starter, 1024)) == "135 M parameters · context 1,024 · Apache-2.0"
    assert " · ".join(describe_served(starter, None)) == "135 M parameters · Apache-2.0"  # not asked yet


@pytest.mark.parametrize(
    ("count", "said"),
    [(81_912_576, "82 M"), (999_400_000, "999 M"), (999_600_000, "1.00 B"), (1_557_611_200, "1.56 B")],
)
def test_counts_as_people_say_them(count: int, said: str):
    assert format_count(count) == said


@pytest.mark.parametrize(("count", "said"), [(0, "0 MB"), (92_871_040, "93 MB"), (6_430_000_000, "6.4 GB")])
def test_bytes_as_people_say_them(count: int, said: str):
    assert format_bytes(count) == said


# ---- the operator's list


def names(models: str) -> list[str]:
    return [entry.name for entry in parse_model_list(models)]


def test_a_list_narrows_the_catalogue():
    assert names("starter, gpt2,, starter ") == ["starter", "gpt2"]
    assert parse_model_list("gpt2-xl")[0] is CATALOGUE["gpt2-xl"]


def test_a_plus_adds_to_the_catalogue():
    assert names("+") == [*CATALOGUE]
    assert names("+./my-model, gpt2") == [*CATALOGUE, "./my-model"]


def test_the_hubs_repositories_by_the_operator_alone():
    assert parse_model_list("hub:org/name, hub:org/other@v1.2") == (
        Entry("org/name", "org/name"),
        Entry("org/other", "org/other", "v1.2"),
    )


def test_one_gguf_file_of_a_repository():
    assert parse_model_list("hub:org/name/tiny.Q4_K_M.gguf, hub:org/name/Q8_0/tiny+1.GGUF@v1.2") == (
        Entry("org/name/tiny.Q4_K_M.gguf", "org/name", file="tiny.Q4_K_M.gguf"),
        Entry("org/name/Q8_0/tiny+1.GGUF", "org/name", "v1.2", file="Q8_0/tiny+1.GGUF"),
    )
    assert parse_model_list("hub:org/name.gguf") == (
        Entry("org/name.gguf", "org/name.gguf"),
    )  # a repository of that name


def test_a_gguf_files_memory_follows_from_its_size():
    assert Entry("a/b/c.gguf", "a/b", file="c.gguf").memory_needed("float32") == 0  # nobody knows
    assert Entry("a/b/c.gguf", "a/b", download_bytes=10**9, file="c.gguf").memory_needed("bfloat16") == 1_600_000_000


@pytest.mark.parametrize(
    "name",
    [
        "a/b/c",
        "a/b/c.bin",
        "a/b/.gguf",
        "a/b/c.gguf@",
        "a/b@v1/c.gguf",
        "a/b/c.gguf@..",
        "a/b/../c.gguf",
        "a/b/../../../../etc/c.gguf",
        "../b/c.gguf",
        "a/../c.gguf",
        "/a/b/c.gguf",
        "a/b//c.gguf",
        "a/b//etc/c.gguf",
        "a/b/./c.gguf",
        "a/b/.git/c.gguf",
        "a/b/c*.gguf",
        "a/b/[c].gguf",
        "a/b/c?.gguf",
        "a/b/c#x.gguf",
        "a/b/%2e%2e/c.gguf",
        "a/b/d\\..\\c.gguf",
        "a/b/C:/c.gguf",
        "a/b/c d.gguf",
        "a/b/c\n.gguf",
        "a/b/c.gguf/",
        "https://host/a/b/c.gguf",
    ],
)
def test_no_file_of_a_repository(name: str):
    with pytest.raises(RequestError) as refused:
        parse_model_list(f"starter,hub:{name}")
    assert str(refused.value) == (
        f'"hub:{name}" is no GGUF file of a repository: write hub:owner/name/file.gguf, with its folders before it '
        "where it lies in some, and @revision after it."
    )


def test_a_part_of_a_file():
    with pytest.raises(RequestError) as refused:
        parse_model_list("hub:a/b/Q8/c-00001-of-00003.gguf@v1")
    assert str(refused.value) == (
        '"hub:a/b/Q8/c-00001-of-00003.gguf@v1" is no whole GGUF file: it is one of several parts. Name a file that is '
        "whole."
    )


@pytest.mark.parametrize("models", ["", " , ", ","])
def test_an_empty_list(models: str):
    with pytest.raises(RequestError, match=r"names no model. Name at least one of starter, distilgpt2, .*folder\.$"):
        parse_model_list(models)


@pytest.mark.parametrize("name", ["hub:", "hub:name", "hub:../x", "hub:a/b@", "hub:a/b@x y", "hub:a/b@..", "hub:/b"])
def test_no_repository(name: str):
    with pytest.raises(RequestError) as refused:
        parse_model_list(f"starter,{name}")
    assert str(refused.value) == f'"{name}" is no repository: write hub:owner/name, or hub:owner/name@revision.'


def test_a_path_with_commas_is_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "my model, v1.GGUF").write_bytes(b"GGUF")
    (tmp_path / "a,b").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in (str(path), str(tmp_path / "a,b"), "~/my model, v1.GGUF"):
        assert [entry.name for entry in parse_model_list(named)] == [named]
    assert options.models(str(path)) == str(path)
    for engine in ("auto", "http://127.0.0.1:8000"):
        assert [*entries_of(settings(["--model", str(path), "--engine", engine]))] == [str(path)]
    assert [entry.name for entry in parse_model_list(f"gpt2,{tmp_path / 'x'}")] == ["gpt2", str(tmp_path / "x")]
