"""Layer reading: the logits that transformers' network would give from the state of each of its layers (logit lens).

Owns how the states are gathered, how the last norm is found, and the proof that the last of them gives the step's own
logits. Knows ids alone. The network's own code makes logits of the states, so whatever a family does behind its head
(soft caps, scales) is done to every layer. A network is not searched by names: its last norm is the module whose output
is what the head reads.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoding.engines.torch.cached_network import CachedNetwork
from decoding.errors import RequestError
from decoding.messages import Message

TOLERANCE, COARSE_TOLERANCE = 1e-5, 5e-2
"""By how much a probability of the last row may differ from the step's own, in float32 and in 16 bits."""


class _Watch:
    """Keeps what a pass goes through: each norm's input and output, and what the embedding, the base model and the
    network give.
    """

    def __init__(self) -> None:
        self.norms: list[tuple[Any, torch.Tensor, torch.Tensor]] = []
        self.embedded: torch.Tensor | None = None
        self.base: tuple[Any, Any] | None = None
        self.output: Any = None
        self.head_input: torch.Tensor | None = None

    def norm(self, module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(output, torch.Tensor) and output.shape == inputs[0].shape:
            self.norms.append((module, inputs[0], output))

    def last_norm(self) -> tuple[Any, torch.Tensor] | None:
        """The norm whose output the head reads, and its input; None if there is none."""
        if self.head_input is None:
            return None
        place = self.head_input.untyped_storage().data_ptr()
        found = (one for one in reversed(self.norms) if one[2].untyped_storage().data_ptr() == place)
        return next(((module, state) for module, state, _ in found), None)


@torch.inference_mode()
def read_layers(cached: CachedNetwork, token_ids: Sequence[int], cache: Any, *, model: str) -> NDArray[np.float32]:
    """The logits after the last id as each layer's state gives them: of the embedding, then after each layer. Shape
    (layers + 1, vocabulary). The cache must not be used again. Raises RequestError for a network without such layers.
    """
    network, layers = cached.network, layer_count(cached.network)
    with _watching(network) as watch:
        own, _ = cached.with_states().read(token_ids, cache)  # (1, vocabulary)
    found, states = watch.last_norm(), [*(getattr(watch.output, "hidden_states", None) or ())]
    if found is None or watch.base is None or len(states) != layers + 1:
        raise RequestError(Message("why_token.layers", model=model), field="model")
    norm, last = found
    # The recurrent families return no state of the embedding, which they read as it is, and the last one twice.
    if states[-2] is last:
        states = [watch.embedded, *states[:-1]]
    before = torch.stack([*(state[0, -1] for state in states[:-1]), last[0, -1]])[None]  # (1, layers + 1, width)
    logits = _logits_of(network, *watch.base, norm(before), token_ids[-1])  # (layers + 1, vocabulary)
    difference = (logits[-1].float().softmax(-1) - own[0].float().softmax(-1)).abs().max().item()
    if not difference <= (TOLERANCE if network.dtype == torch.float32 else COARSE_TOLERANCE):
        raise RequestError(Message("why_token.layers", model=model), field="model")
    rows: NDArray[np.float32] = logits.float().cpu().numpy()
    return rows


def layer_count(network: Any) -> int:
    """The layers of a network; 0 if its configuration does not say."""
    return int(getattr(network.config.get_text_config(decoder=True), "num_hidden_layers", 0) or 0)


@contextmanager
def _watching(network: Any) -> Iterator[_Watch]:
    watch = _Watch()

    def keep_embedded(module: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        watch.embedded = output

    def keep_base(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if "last_hidden_state" in output:
            watch.base = module, output

    def keep_output(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        watch.output = output

    def keep_head_input(module: Any, inputs: tuple[Any, ...]) -> None:
        watch.head_input = inputs[0]

    norms = [one for one in network.modules() if _is_norm(one)]
    handles = [one.register_forward_hook(watch.norm) for one in norms]
    handles.append(network.get_input_embeddings().register_forward_hook(keep_embedded))
    handles.append(network.get_output_embeddings().register_forward_pre_hook(keep_head_input))
    decoder = getattr(network, "get_decoder", lambda: network.base_model)()
    handles += [one.register_forward_hook(keep_base) for one in {network.base_model, decoder} - {network}]
    handles.append(network.register_forward_hook(keep_output))
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def _is_norm(module: Any) -> bool:
    """Whether a module has no parts and no matrix."""
    return not any(True for _ in module.children()) and all(one.dim() == 1 for one in module.parameters())


def _logits_of(network: Any, base: Any, base_output: Any, normed: torch.Tensor, token_id: int) -> torch.Tensor:
    """What the network's own code makes of normed states, shape (1, rows, width): its base model, whose work they are,
    is passed over.  (rows, vocabulary)
    """
    output = copy.copy(base_output)
    output["last_hidden_state"] = normed
    kept = base.__dict__.get("forward")
    base.forward = lambda *_, **__: output
    try:
        ids = torch.full((1, normed.shape[1]), token_id, device=normed.device)
        logits: torch.Tensor = network(input_ids=ids).logits[0]
        return logits
    finally:
        if kept is None:
            del base.forward
        else:
            base.forward = kept
