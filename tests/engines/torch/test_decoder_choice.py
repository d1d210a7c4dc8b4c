"""Which engines decode with captured steps, and the reason that a run's header gives where one does not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from decoding import assets
from decoding.engines.torch import cuda_graph_decoder
from decoding.engines.torch.cuda_graph_decoder import CudaGraphDecoder
from decoding.engines.torch.engine import engine_of
from decoding.messages import Message
from decoding.models.loading import load_model
from tests import tiny_models
from tests.engines.torch.captured_engines import steps

Folder = Callable[[str], Path]


def test_never_on_a_cpu(tiny_folder: Folder) -> None:
    engine = engine_of(load_model(str(tiny_folder("llama")), device="cpu", dtype="float32"))
    assert not isinstance(engine.network, CudaGraphDecoder)
    assert cuda_graph_decoder.NAME not in engine.info.engine
    assert "plain loop" not in engine.info.why


def test_the_header_says_which_way_and_why(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(architecture: str) -> tuple[bool, bool, str]:
        loaded = load_model(str(tiny_folder(architecture)), device="cpu", dtype="float32")
        engine = engine_of(loaded, graphs_on="cpu")
        assert len(steps(engine, count=3)) == 3
        reason = next((part for part in engine.info.why.split("; ") if "plain loop" in part), "")
        return isinstance(engine.network, CudaGraphDecoder), engine.info.engine.endswith(", CUDA graph"), reason

    assert chosen("gpt2") == (True, True, "")
    assert chosen("mamba") == (False, False, "the plain loop, because this architecture has no CUDA graph")
    assert chosen("falcon") == (False, False, "the plain loop, because the CUDA graph could not be captured")
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    network, plain = tiny_models.network("gpt2").eval(), object()
    assert cuda_graph_decoder.decoder_or_plain(network, plain) == (  # type: ignore[arg-type]
        plain,
        "the plain loop, because a lent GPU keeps no CUDA graph",
    )


@pytest.mark.parametrize("language", assets.texts())
def test_the_reasons_are_translated_into_every_language(language: str) -> None:
    english, theirs = assets.texts()["en"], assets.texts()[language]
    for reason in (
        Message("why.loop.lent"),
        Message("why.loop.family"),
        Message("why.loop.captured"),
    ):
        key = next(key for key, text in english.items() if text == reason)
        assert key.startswith("server.why.")
        assert "CUDA" in theirs[key]
