"""The engine of a server: vLLM computes, and here its ids become readouts.

Owns the runs: which ids are sent, what is forced, and going on by ids where a stream broke. Greedy decoding is
deterministic, so any replica goes on with the same tokens. Knows no HTTP and no text.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import takewhile
from typing import Any

from decoding.engines import NO_PICKS, UNKNOWN_DTYPE
from decoding.engines.vllm.client import Wire
from decoding.engines.vllm.handshake import GREEDY, Served, check_served, models_at, name_here, patiently
from decoding.engines.vllm.responses import BrokenAnswerError, Reader, with_pick
from decoding.errors import ModelError, RequestError
from decoding.models.catalogue import Entry
from decoding.models.devices import check_dtype
from decoding.models.loading import Words, load_words
from decoding.models.sources import entry_of
from decoding.models.starter import Report, silent
from decoding.record.step import StepScores
from decoding.record.trace import ModelInfo

Readouts = Generator[StepScores, None, None]

WHY = "computed by a server, which gives only the top candidates: no logits, no entropy"


def connect(url: str, *, model: str | Entry = "", dtype: str = "auto", report: Report = silent) -> "ServerEngine":
    """See `decoding.connect`. `model` may be an entry of one's own; `report` hears of progress."""
    check_dtype(dtype)
    wire = Wire(url)
    try:
        report("Asking the model's server …", None)
        models = models_at(wire)
        entry = model if isinstance(model, Entry) else entry_of(model or name_here(models))
        words = load_words(entry, report)
        return ServerEngine(wire, words, check_served(wire, models, words), dtype=dtype)
    except BaseException:
        wire.close()
        raise


class ServerEngine:
    """See `decoding.engines.Engine`. Many threads may use it at once."""

    def __init__(self, wire: Wire, words: Words, served: Served, *, dtype: str = "auto") -> None:
        self.info = ModelInfo(
            id=words.model,
            revision="",  # whose weights the server has, nobody can see
            dtype=UNKNOWN_DTYPE if dtype == "auto" else dtype,
            device="server",
            engine=f"vLLM {served.version}".strip(),
            why="; ".join(filter(None, (WHY, words.note))),
        )
        self.vocabulary = words.vocabulary
        self.vocabulary_size = words.vocabulary_size
        self.end_ids = words.end_ids
        self.beginning_id = words.beginning_id
        self.context_length = served.context_length
        self.max_top_k: int | None = served.most_choices
        self._wire, self._name = wire, served.name

    def steps(
        self, token_ids: Sequence[int], *, max_new_tokens: int, top_k: int, forced: Mapping[int, int] = NO_PICKS
    ) -> Iterator[StepScores]:
        text, room = [*token_ids], max_new_tokens
        if self.context_length is not None:
            room = max(0, min(room, self.context_length - len(text)))
        end = len(text) + room
        picks = {len(text) + step: token_id for step, token_id in forced.items() if step < room}  # by place in the text
        while len(text) < end:
            with closing(self._stretch(text, end, top_k, picks)) as readouts:
                for readout in readouts:
                    yield readout
                    text.append(readout.picked.token_id if readout.picked else readout.token_ids[0])
                    if text[-1] in self.end_ids:
                        return

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        text = [*token_ids, *continuation_ids]
        if self.context_length is not None and len(text) >= self.context_length:
            raise RequestError(
                f"The text is {len(text):,} tokens long with its prompt, and the server of {self.info.id} reads at "
                f"most {self.context_length - 1:,}. Shorten it.",
                field="text",
            )
        body = self._body(text, max_tokens=1, prompt_logprobs=top_k)

        def ask() -> list[StepScores]:
            answer = self._wire.ask(body)
            try:
                choice = answer["choices"][0]
                read, said = choice["prompt_token_ids"], choice["prompt_logprobs"]
            except (KeyError, IndexError, TypeError) as error:
                raise BrokenAnswerError("its answer cannot be read") from error
            _check_read(read, text)
            return self._reader(top_k).given(said, [*continuation_ids])

        return iter(patiently(self._wire, ask))

    def _stretch(self, text: Sequence[int], end: int, top_k: int, picks: Mapping[int, int]) -> Readouts:
        """The readouts from here to the next place where something is forced, that one included; or of several places
        that are forced one after another. What is read of it is added to `text` meanwhile.
        """
        start = len(text)
        given = [picks[place] for place in takewhile(picks.__contains__, range(start, end))]
        if len(given) > 1:
            yield from self.score(text, given, top_k=top_k)
            return
        forced = min((place for place in picks if place >= start), default=end)
        until = forced if forced == end or forced + 1 in picks else forced + 1
        with closing(self._written(text, until - start, top_k)) as readouts:
            for place, readout in enumerate(readouts, start=start):
                if place in picks:
                    readout = with_pick(readout, picks[place]) or next(self.score(text, [picks[place]], top_k=top_k))
                yield readout

    def _written(self, token_ids: Sequence[int], count: int, top_k: int) -> Readouts:
        """The readouts of `count` greedy steps. What was said of a step is said once: another stream goes on after it,
        from the ids that there are.
        """
        text, reader, patience = [*token_ids], self._reader(top_k), self._wire.patience()
        end = len(text) + count
        while len(text) < end:
            body = self._body(text, max_tokens=end - len(text), logprobs=top_k, stream=True)
            try:
                with closing(self._wire.stream(body)) as events:
                    for readout in self._read(events, text, reader):
                        patience.renew()
                        yield readout
                        text.append(readout.token_ids[0])
                        if len(text) == end:
                            return
                raise BrokenAnswerError("it ended too early")
            except BrokenAnswerError as error:
                patience.spend(error)

    def _read(self, events: Iterable[Any], text: Sequence[int], reader: Reader) -> Iterator[StepScores]:
        """The readouts of a stream that goes on from `text`."""
        sent = [*text]
        for event in events:
            try:
                choices = event["choices"]
                choice = choices[0] if choices else {"logprobs": None}  # the last event may be of usage alone
                read, reason = choice.get("prompt_token_ids"), choice.get("finish_reason")
            except (KeyError, TypeError, AttributeError) as error:
                raise BrokenAnswerError("its answer cannot be read") from error
            if read is not None:
                _check_read(read, sent)
            yield from reader.written(choice)
            if reason in ("length", "stop"):
                raise ModelError(
                    "The model's server ended the text before it was told to: it was started with a shorter context, "
                    "or with settings of its own. Its run ends here."
                )

    def _body(self, token_ids: Sequence[int], **options: Any) -> dict[str, Any]:
        return GREEDY | {"model": self._name, "prompt": [*token_ids]} | options

    def _reader(self, top_k: int) -> Reader:
        return Reader(self.info.id, self.vocabulary_size, top_k)


def _check_read(read: Any, sent: Sequence[int]) -> None:
    if read != [*sent]:
        raise ModelError(
            "The model's server did not read the token ids that it was sent: it cuts long prompts, or has another "
            "vocabulary."
        )
