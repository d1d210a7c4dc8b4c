"""Keys and values of one text: buffers with room to spare, and how much of them it has read.

Owns how wide buffers are. Knows no ids and no scheduler.
"""

from decoding.engines.onnx.session import BoundPass, Floats, Session

_WIDTH_MULTIPLE = 64  # buffers are multiples of so many positions wide


class OnnxCache:
    def __init__(self, session: Session, buffers: Floats, length: int = 0) -> None:
        self._session, self.buffers, self.length = session, buffers, length
        self._bound: BoundPass | None = None

    def reserve(self, length: int) -> None:
        """Make room for a text of so many ids. A step copies seldom: the room grows by a quarter."""
        if length > self.buffers.shape[3]:
            self.buffers, self._bound = (
                resized(self._session, self.buffers, self.length, padded_width(length)),
                None,
            )

    def bound(self) -> BoundPass:
        if self._bound is None:
            self._bound = BoundPass(self._session, self.buffers)
        return self._bound


def padded_width(length: int) -> int:
    """The width of buffers for a text of so many ids that goes on. What is not written to takes no memory."""
    return -(-(length + max(_WIDTH_MULTIPLE, length // 4)) // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE


def resized(session: Session, buffers: Floats, length: int, width: int) -> Floats:
    """The first `length` positions of one row's buffers, in buffers of another width."""
    made = session.new_buffers(1, width)
    made[..., :length, :] = buffers[..., :length, :]
    return made
