"""The KV cache of one sequence: buffers of keys and values with spare room, and how many positions are filled.

Owns the width of the buffers. Knows no ids and no scheduler.
"""

from decoding.engines.onnx.session import BoundPass, Floats, Session

_WIDTH_MULTIPLE = 64


class OnnxCache:
    """`buffers` hold keys and values, of which the first `length` positions are filled.

    Shape: (2 · layers, 1, kv heads, width, head width), float32. Not thread-safe.
    """

    def __init__(self, session: Session, buffers: Floats, length: int = 0) -> None:
        self._session, self.buffers, self.length = session, buffers, length
        self._bound: BoundPass | None = None

    def reserve(self, length: int) -> None:
        """Make room for `length` positions. Steps rarely copy, because the width grows by a quarter."""
        if length > self.buffers.shape[3]:
            self.buffers = resized(self._session, self.buffers, self.length, padded_width(length))
            self._bound = None

    def bound(self) -> BoundPass:
        if self._bound is None:
            self._bound = BoundPass(self._session, self.buffers)
        return self._bound


def padded_width(length: int) -> int:
    """The width of buffers for a sequence of `length` ids that grows. Pages that are never written take no memory."""
    return -(-(length + max(_WIDTH_MULTIPLE, length // 4)) // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE


def resized(session: Session, buffers: Floats, length: int, width: int) -> Floats:
    """A copy of the first `length` positions of one row's buffers, in buffers of another width."""
    made = session.new_buffers(1, width)
    made[..., :length, :] = buffers[..., :length, :]
    return made
