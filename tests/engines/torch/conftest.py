"""The engines that the tests of captured steps share."""

from typing import Any

import pytest

from tests import tiny_models
from tests.engines.torch.captured_engines import engines


@pytest.fixture
def llama() -> tuple[Any, Any]:
    return engines(tiny_models.network("llama"))
