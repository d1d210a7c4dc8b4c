"""Why a server cannot be used at the address that the operator gave, said before the first run.

Owns these sentences. They name the address, so they are AddressErrors: a page does not show them to its visitors.
"""

from decoding.engines.vllm.responses import BrokenAnswerError
from decoding.errors import AddressError, ModelError
from decoding.messages import Message, message_of

_OTHER_SERVER = ("engine.refused", "address.no_model", "engine.why.garbled")
"""What the first answer of a server that is no vLLM server amounts to."""


def address_error(address: str, error: ModelError) -> ModelError:
    """What `error`, which ended the first question to the server at `address`, means for the operator."""
    broken = error.__cause__
    why = message_of(broken) if isinstance(broken, BrokenAnswerError) else error.message
    code = why.code if isinstance(why, Message) else ""
    if code in _OTHER_SERVER:
        return AddressError(Message("address.not_vllm", address=address))
    if code == "engine.why.refused":
        return AddressError(Message("address.refused", address=address))
    if code == "engine.why.host":
        return AddressError(Message("address.host", address=address))
    if code == "engine.why.tls":
        return AddressError(Message("address.tls", address=address))
    if why is error.message:  # the key is refused: the sentence is the operator's already
        return error
    return AddressError(Message("address.silent", address=address, why=why))
