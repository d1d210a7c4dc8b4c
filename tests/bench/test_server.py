"""The benchmark of a model's server, over a fake one: what it prints, and that both engines wrote all of it."""

import json

import pytest

import decoding
from decoding.bench import crowd as crowd_bench
from decoding.bench import server as bench
from tests import tiny_models
from tests.fake_vllm import FakeVllm
from tests.fakes import ScriptedEngine


@pytest.mark.usefixtures("drives_server")
def test_a_crowd_over_both_engines(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_models.save(tmp_path_factory.mktemp("model"), tiny_models.network("llama"))
    fake = FakeVllm(decoding.load(str(folder), device="cpu"), root=str(folder), context=96)
    arguments = ["--model", str(folder), "--runs", "1,3", "--steps", "4", "--repeats", "1"]
    with fake.served() as url:
        assert bench.main(["--engine", url, *arguments, "--json"]) == 0
        measured = json.loads(capsys.readouterr().out)["measured"]
        assert bench.main(["--engine", url, *arguments]) == 0
    assert [(row["runs"], row["engine"].split(" ")[0]) for row in measured] == [
        (1, "torch"), (1, "vLLM"), (3, "torch"), (3, "vLLM")
    ]  # fmt: skip
    assert all(0 < row["first"] <= row["slowest_first"] and row["step"] > 0 for row in measured)
    assert capsys.readouterr().out.count("| vLLM 0.0.fake |") == 2


def test_what_was_counted_was_written() -> None:
    engine = ScriptedEngine(end_ids=())
    crowd = crowd_bench.measure_crowd(engine, runs=5, steps=6, at_once=2)
    assert engine.begun == 30
    assert crowd.tokens_per_second > 0
    assert len({*crowd_bench.prompts(100), *crowd_bench.prompts(100, 1)}) == 200  # equal ones would be written once


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["--engine", "nowhere"])
    assert ended.value.code == 2
    assert 'as http://127.0.0.1:8000, not "nowhere"' in capsys.readouterr().err
