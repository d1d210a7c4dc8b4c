"""The model and the run that the library's functions are given. Owns the refusal of anything else in their place."""

from decoding.errors import RequestError
from decoding.messages import Message
from decoding.record.json_types import python_type_of
from decoding.record.trace import Trace


def check_model(model: object) -> None:
    """Raises RequestError for anything but an engine, such as a model's name."""
    if not (hasattr(model, "steps") and hasattr(model, "vocabulary")):
        raise RequestError(Message("given.model", type=python_type_of(model)), field="model")


def check_trace(trace: object) -> None:
    """Raises RequestError for anything but a run."""
    if not isinstance(trace, Trace):
        raise RequestError(Message("given.trace", type=python_type_of(trace)))
