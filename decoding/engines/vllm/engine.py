"""The engine of a vLLM server: vLLM computes, and here its ids become scores.

Owns the runs: which ids are sent, the forced picks, and resuming by ids when a stream broke. Greedy decoding is
deterministic, so any replica continues with the same tokens. Knows no HTTP and no text.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import Any

from decoding.beam import BeamStep, beam_loop, scores_needed
from decoding.engines import NO_PICKS
from decoding.engines.model_facts import EngineOfModel, ModelFacts
from decoding.engines.vllm.beam_rows import ServedRows
from decoding.engines.vllm.client import ServerClient
from decoding.engines.vllm.handshake import (
    GREEDY,
    ServedModel,
    check_may_serve,
    check_served,
    list_models,
    local_name,
    with_retries,
)
from decoding.engines.vllm.responses import BrokenAnswerError, ResponseParser, with_pick
from decoding.errors import ModelError, RequestError
from decoding.messages import Message
from decoding.models.catalogue import Entry
from decoding.models.devices import check_dtype
from decoding.models.loading import ModelWithoutWeights, load_without_weights
from decoding.models.model_paths import entry_of
from decoding.models.progress import Report, no_report
from decoding.record.pick_rule import ARGMAX, PickRule
from decoding.record.step import StepScores
from decoding.record.trace import ModelInfo
from decoding.sampling import pass_over

ScoresIterator = Generator[StepScores, None, None]


def connect(url: str, *, model: str | Entry = "", dtype: str = "auto", report: Report = no_report) -> "ServerEngine":
    """See `decoding.connect`. `model` may also be an entry; `report` is called with the progress."""
    check_dtype(dtype)
    client = ServerClient(url)
    try:
        report(Message("engine.asking"), None)
        models = list_models(client)
        entry = model if isinstance(model, Entry) else entry_of(model or local_name(models))
        check_may_serve(models, entry)
        model_facts = load_without_weights(entry, report)
        return ServerEngine(client, model_facts, check_served(client, models, model_facts), dtype=dtype)
    except BaseException:
        client.close()
        raise


class ServerEngine(EngineOfModel):
    """See `decoding.engines.Engine`. Thread-safe. Every step's `entropy` is NaN and its `log_sums` is empty."""

    def __init__(
        self, client: ServerClient, model_facts: ModelWithoutWeights, served: ServedModel, *, dtype: str = "auto"
    ) -> None:
        info = ModelInfo(
            id=model_facts.model,
            revision="",  # a server does not report which weights it has
            dtype=Message("engine.dtype") if dtype == "auto" else dtype,
            device="server",
            engine=f"vLLM {served.version}".strip(),
            why="; ".join(filter(None, (Message("engine.why_unknown"), model_facts.note))),
        )
        facts = ModelFacts(
            info,
            model_facts.vocabulary,
            model_facts.vocabulary_size,
            served.context_length,
            model_facts.end_ids,
            model_facts.beginning_id,
            served.most_choices,
        )
        super().__init__(facts)
        self._client, self._name = client, served.name

    def steps(
        self,
        token_ids: Sequence[int],
        *,
        max_new_tokens: int,
        top_k: int,
        forced: Mapping[int, int] = NO_PICKS,
        rule: PickRule = ARGMAX,
    ) -> Iterator[StepScores]:
        if rule.sampling:
            raise RequestError(Message("draw.engine", model=self.info.id), field="sampling")
        text, room = [*token_ids], max_new_tokens
        asked = (
            top_k + len(rule.passed_ids)
            if self.max_top_k is None
            else min(top_k + len(rule.passed_ids), self.max_top_k)
        )
        if self.context_length is not None:
            room = max(0, min(room, self.context_length - len(text)))
        end = len(text) + room
        picks = {
            len(text) + step: token_id for step, token_id in forced.items() if step < room
        }  # by position in the text
        while len(text) < end:
            with closing(self._steps_to_pick(text, end, asked, picks)) as run:
                for scores in run:
                    passed = len(text) not in picks and scores.token_ids[0] in rule.passed_ids
                    if passed and (other := pass_over(scores, rule.passed_ids)) is None:
                        raise ModelError(Message("draw.left"))
                    scores = other if passed and other else scores
                    yield replace(scores, token_ids=scores.token_ids[:top_k], logprobs=scores.logprobs[:top_k])
                    text.append(scores.picked_id)
                    if text[-1] in self.end_ids:
                        return
                    if passed:  # the server wrote the end: ask it to go on after the other token
                        break

    def score(self, token_ids: Sequence[int], continuation_ids: Sequence[int], *, top_k: int) -> Iterator[StepScores]:
        text = [*token_ids, *continuation_ids]
        if self.context_length is not None and len(text) >= self.context_length:
            raise RequestError(
                Message("engine.text", count=f"{len(text):,}", model=self.info.id, most=f"{self.context_length - 1:,}"),
                field="text",
            )
        body = self._body(text, max_tokens=1, prompt_logprobs=top_k)

        def ask() -> list[StepScores]:
            answer = self._client.complete(body)
            try:
                choice = answer["choices"][0]
                read, scores = choice["prompt_token_ids"], choice["prompt_logprobs"]
            except (KeyError, IndexError, TypeError) as error:
                raise BrokenAnswerError(Message("engine.why.garbled")) from error
            _check_read(read, text)
            return self._parser(top_k).parse_prompt(scores, [*continuation_ids])

        with self._noting_failure():
            return iter(with_retries(self._client, ask))

    def beams(self, token_ids: Sequence[int], *, num_beams: int, max_new_tokens: int, top_k: int) -> Iterator[BeamStep]:
        needed = scores_needed(num_beams, self.end_ids)
        if self.max_top_k is not None and needed > self.max_top_k:
            raise RequestError(
                Message("engine.beams", model=self.info.id, most=self.max_top_k, beams=num_beams, needed=needed),
                field="beams",
            )
        rows = ServedRows(self._read_next, token_ids)
        options: Any = {"num_beams": num_beams, "max_new_tokens": max_new_tokens, "top_k": top_k}
        return beam_loop(rows, end_ids=self.end_ids, **options)

    def _read_next(self, token_ids: Sequence[int], top_k: int) -> StepScores:
        """The scores of the token after these ids."""
        with closing(self._greedy_steps(token_ids, 1, top_k)) as run:
            return next(run)

    def _steps_to_pick(self, text: Sequence[int], end: int, top_k: int, picks: Mapping[int, int]) -> ScoresIterator:
        """The scores up to and including the next forced pick, or of several adjacent forced picks.

        The caller appends the ids that it reads to `text` meanwhile.
        """
        start = len(text)
        given = [picks[place] for place in takewhile(picks.__contains__, range(start, end))]
        if self.context_length is not None:  # a server reads a whole text only if one more id fits
            given = given[: max(0, self.context_length - 1 - start)]
        if len(given) > 1:
            yield from self.score(text, given, top_k=top_k)
            return
        forced = min((place for place in picks if place >= start), default=end)
        until = forced if forced == end or (forced + 1 in picks and forced > start) else forced + 1
        with closing(self._greedy_steps(text, until - start, top_k)) as run:
            for place, scores in enumerate(run, start=start):
                if place in picks:
                    scores = with_pick(scores, picks[place]) or next(self.score(text, [picks[place]], top_k=top_k))
                yield scores

    def _greedy_steps(self, token_ids: Sequence[int], count: int, top_k: int) -> ScoresIterator:
        """The scores of `count` greedy steps, each yielded once: if a stream breaks, another one continues after the
        ids so far.
        """
        text, parser, budget = [*token_ids], self._parser(top_k), self._client.new_retry_budget()
        end = len(text) + count
        while len(text) < end:
            body = self._body(text, max_tokens=end - len(text), logprobs=top_k, stream=True)
            try:
                with self._noting_failure(), closing(self._client.stream(body)) as events:
                    for scores in self._read(events, text, parser):
                        budget.reset()
                        yield scores
                        text.append(scores.token_ids[0])
                        if len(text) == end:
                            return
                raise BrokenAnswerError(Message("engine.why.early"))
            except BrokenAnswerError as error:
                with self._noting_failure():
                    budget.wait_or_raise(error)

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except ModelError:
            self.is_outdated = True
            raise

    def _read(self, events: Iterable[Any], text: Sequence[int], parser: ResponseParser) -> Iterator[StepScores]:
        """The scores of a stream that continues `text`. Raises BrokenAnswerError for an answer that cannot be read,
        ModelError for one that is wrong.
        """
        sent = [*text]
        for event in events:
            try:
                choices = event["choices"]
                choice = choices[0] if choices else {"logprobs": None}  # the last event may hold only the usage
                read, reason = choice.get("prompt_token_ids"), choice.get("finish_reason")
            except (KeyError, TypeError, AttributeError) as error:
                raise BrokenAnswerError(Message("engine.why.garbled")) from error
            if read is not None:
                _check_read(read, sent)
            yield from parser.parse_stream(choice)
            if reason in ("length", "stop"):
                raise ModelError(Message("engine.ended"))

    def _body(self, token_ids: Sequence[int], **options: Any) -> dict[str, Any]:
        return GREEDY | {"model": self._name, "prompt": [*token_ids]} | options

    def _parser(self, top_k: int) -> ResponseParser:
        return ResponseParser(self.info.id, self.vocabulary_size, top_k)


def _check_read(read: Any, sent: Sequence[int]) -> None:
    """Raises ModelError if the server read other ids than it was sent."""
    if read != [*sent]:
        raise ModelError(Message("engine.reads"))
