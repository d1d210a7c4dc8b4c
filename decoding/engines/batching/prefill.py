"""Prompts that wait at the same time, read in one pass.

Owns that pass, who may share it, and the proof that sharing changes nothing. Each prompt is a row, filled up behind its
end: what stands there comes later, so attention to what came before never sees it, and neither masks nor positions are
needed. A row's logits are those after its own last id, and its cache is cut to its own length, so nothing of the others
stays. One by one, short prompts leave the cores idle: thirty took 1.5 s, and 0.3 together. Knows no thread and no
person; a text that was not read here is read alone.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from decoding.engines.batching.batched_cache import can_share
from decoding.engines.batching.running_batch import PassAlone, prove
from decoding.engines.batching.sequence import Text
from decoding.engines.prefix_cache import copy_cropped
from decoding.engines.torch.names import cache_name
from decoding.errors import ModelError

MOST_IDS = 128
"""In one pass, filled up: so many take about 0.2 s on two cores, and whoever is being served waits for it."""
FILLER = 0
"""The id behind a prompt's end; nothing that is read depends on it."""


class Prompts:
    """The prompts of one network. `pass_alone` is a pass for one of them, see `decoding.greedy.Forward`; `is_plain`
    is whether ids and a cache are all that it needs.
    """

    def __init__(self, network: PreTrainedModel, pass_alone: PassAlone, *, is_plain: bool = True) -> None:
        self._network, self._pass_alone = network, pass_alone
        self._may_share = is_plain and can_share(network) and _keeps_all(network)
        self._proved, self._failed = False, False

    def choose(self, texts: Sequence[Text]) -> list[Text]:
        """Those to read in one pass, shortest first: whole prompts, as many as fit, and none where only one would."""
        if not self._may_share or self._failed:
            return []
        chosen: list[Text] = []
        for text in sorted(filter(self.is_short, texts), key=lambda text: len(text.unread)):
            if (len(chosen) + 1) * len(text.unread) <= MOST_IDS:
                chosen.append(text)
        return chosen if len(chosen) > 1 else []

    @staticmethod
    def is_short(text: Text) -> bool:
        """Whether a text may be one of several: none of it is read, and another would fit beside it."""
        return text.cache is None and 2 * len(text.unread) <= MOST_IDS

    def read(self, texts: Sequence[Text]) -> list[tuple[Text, torch.Tensor]]:
        """One pass for all: each text with its logits, shape (vocabulary,). Where it fails there is none, and all are
        to be read alone.
        """
        if not texts:
            return []
        prompts = [list(text.unread) for text in texts]
        try:
            read = read_together(self._network, prompts)
            if not self._proved:
                self._proved = True
                for row in (0, -1):  # the shortest and the longest
                    prove(read[row][0], self._pass_alone(prompts[row], None)[0])
        except ModelError:
            logging.getLogger(__name__).warning("reading prompts together changes them; each is read alone")
            self._may_share = False
            return []
        except Exception:
            logging.getLogger(__name__).warning("a pass over several prompts failed; each is read alone", exc_info=True)
            self._failed = True
            return []
        for text, (_, cache) in zip(texts, read, strict=True):
            text.cache, text.unread = cache, []
        return [(text, logits) for text, (logits, _) in zip(texts, read, strict=True)]

    def forgive(self) -> None:
        """Nobody is here: what failed may be tried again."""
        self._failed = False


@torch.inference_mode()
def read_together(network: Any, prompts: Sequence[Sequence[int]]) -> list[tuple[torch.Tensor, DynamicCache]]:
    """Each prompt's logits after its last id, shape (vocabulary,), and its cache, as if it had been read alone."""
    longest = max(map(len, prompts))
    filled = [[*prompt, *[FILLER] * (longest - len(prompt))] for prompt in prompts]
    ends = sorted({len(prompt) - 1 for prompt in prompts})  # the others' logits nobody asks for
    cache = DynamicCache(config=network.config)
    logits = network(
        input_ids=torch.tensor(filled, device=network.device),
        use_cache=True,
        logits_to_keep=torch.tensor(ends, device=network.device),
        **{str(cache_name(network)): cache},
    ).logits  # (prompts, ends, vocabulary)
    return [
        (logits[row, ends.index(len(prompt) - 1)], copy_cropped(cache, len(prompt), row=row))
        for row, prompt in enumerate(prompts)
    ]


def _keeps_all(network: Any) -> bool:
    """Whether no layer forgets: a window would lose a short prompt's beginning for what stands behind its end."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=network.config).layers)
