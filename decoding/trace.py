"""The record of a run, and JSON Lines both ways.

Owns `Candidate`, `Step`, `Trace` and the one format in which runs are streamed, stored, exported and replayed. Knows no
model, no tokenizer and no page. Reading is strict, because a run may come from anybody: pydantic checks the types,
`_check_step` the arithmetic.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError

from decoding.errors import FormatError
from decoding.tokens import Hex, Token, join, visible

if TYPE_CHECKING:
    import pandas as pd

FORMAT: Literal["greedyscope"] = "greedyscope"
VERSION: Literal[1] = 1
NO_ID = -1
"""The `token_id` in a record whose source printed no ids."""

StopReason = Literal["steps", "end_of_text", "context_full", "stopped", "error"]

# JSON has no infinity and no NaN, so both are null there: a log-probability of zero probability is minus infinity, and
# an entropy that a record's source did not give is NaN.
_WRITTEN = PlainSerializer(lambda x: x if math.isfinite(x) else None, when_used="json")


def _null(meaning: float) -> BeforeValidator:
    def read(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("NaN and Infinity are no JSON")
        return meaning if value is None else value

    return BeforeValidator(read)


Probability = Annotated[float, Field(ge=0, le=1)]
Logprob = Annotated[float, Field(le=0), _null(-math.inf), _WRITTEN]
Entropy = Annotated[float, _null(math.nan), _WRITTEN]


@dataclass(frozen=True, slots=True)
class Readout:
    """What one forward pass says: the top ids with their log-probabilities (nats), most probable first, lower id first
    in a tie, and the entropy (nats) of the whole distribution.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropy: float


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model made a run, and how. `engine` is where its logits came from."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    id: str
    revision: str
    dtype: str
    device: str
    engine: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that the model could have written. `rank` 0 is the most probable; `logprob` is in nats.

    `bytes` is given where the token is no whole character (see `decoding.tokens.Token`).
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    token_id: Annotated[int, Field(ge=NO_ID)]
    text: str
    probability: Probability
    logprob: Logprob
    rank: Annotated[int, Field(ge=0)]
    bytes: Hex = None

    @property
    def token(self) -> Token:
        return Token(self.token_id, self.text, self.bytes)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run.

    `candidates` are the top ones, most probable first; `rest` is the probability of all others, so both sum to 1.
    `forced` says that a person picked, not argmax. `entropy` is in nats, over the whole vocabulary; `margin` is the
    first probability minus the second.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    index: Annotated[int, Field(ge=0)]
    picked: Candidate
    forced: bool
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    rest: Probability
    entropy: Entropy
    margin: Probability

    def to_json(self) -> str:
        """The step as one line of JSON Lines, without the line end."""
        return _line(_STEP, self)


@dataclass(frozen=True, slots=True)
class _Header:
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    format: Literal["greedyscope"]
    version: Literal[1]
    model: ModelInfo
    prompt: str
    prompt_token_ids: tuple[int, ...]
    prompt_tokens: tuple[Token, ...]
    max_new_tokens: Annotated[int, Field(ge=0)]
    top_k: Annotated[int, Field(ge=1)]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _End:
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    stop_reason: StopReason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole run: what was asked, every step, and why it ended.

    `max_new_tokens` and `top_k` are what was asked for; `message` is the sentence shown where `stop_reason` is "error";
    `note` says where a recorded run comes from.
    """

    model: ModelInfo
    prompt: str
    prompt_tokens: tuple[Token, ...]
    max_new_tokens: int
    top_k: int
    steps: tuple[Step, ...] = ()
    stop_reason: StopReason = "stopped"
    message: str = ""
    note: str = ""

    @property
    def prompt_token_ids(self) -> tuple[int, ...]:
        return tuple(token.token_id for token in self.prompt_tokens)

    @property
    def generated_token_ids(self) -> tuple[int, ...]:
        return tuple(step.picked.token_id for step in self.steps)

    @property
    def generated_text(self) -> str:
        return join([step.picked.token for step in self.steps])

    @property
    def text(self) -> str:
        return self.prompt + self.generated_text

    @property
    def logprob(self) -> float:
        """The log-probability (nats) of the generated tokens given the prompt: the sum over the picks."""
        return math.fsum(step.picked.logprob for step in self.steps)

    @property
    def perplexity(self) -> float:
        """exp(−logprob / N) over the N picks (Jelinek et al. 1977); NaN for a run of no steps."""
        return math.exp(-self.logprob / len(self.steps)) if self.steps else math.nan

    def to_frame(self) -> "pd.DataFrame":
        """The notebook's table, a row a step: Input, then Choice 1 … Choice k as "most (8.53%)".

        The space in front of a word is not printed, as in the notebook, except where two choices of a row differ in
        nothing else.
        """
        import pandas as pd  # here: pandas takes 0.3 s to import, and only tables need it

        columns = ["Input", *(f"Choice {n}" for n in range(1, self.top_k + 1))]
        inputs = (self.prompt + join([s.picked.token for s in self.steps[:n]]) for n in range(len(self.steps)))
        rows = [[text, *_cells(step)] for text, step in zip(inputs, self.steps, strict=True)]
        width = max((len(row) for row in rows), default=1)
        return pd.DataFrame(rows, columns=columns[:width])

    def header_line(self) -> str:
        """The first line of the run's JSON Lines, without the line end."""
        header = _Header(
            format=FORMAT,
            version=VERSION,
            model=self.model,
            prompt=self.prompt,
            prompt_token_ids=self.prompt_token_ids,
            prompt_tokens=self.prompt_tokens,
            max_new_tokens=self.max_new_tokens,
            top_k=self.top_k,
            note=self.note,
        )
        return _line(_HEADER, header)

    def end_line(self) -> str:
        """The last line of the run's JSON Lines, without the line end."""
        return _line(_END, _End(self.stop_reason, self.message))

    def to_jsonl(self) -> str:
        """The run as JSON Lines: a header, a line a step, an end; every line ends in a newline."""
        return "".join(
            f"{line}\n" for line in (self.header_line(), *(s.to_json() for s in self.steps), self.end_line())
        )

    @classmethod
    def from_jsonl(cls, text: str) -> "Trace":
        """The run that `to_jsonl` wrote.

        Raises FormatError, naming the line, where the text is cut, altered, of another version, or no run at all.
        """
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        if len(lines) < 2:
            raise FormatError(f"A run has a first and a last line at least; this text has {len(lines)}.")
        header = _read(_HEADER, lines[0], 1)
        if header.prompt_token_ids != tuple(token.token_id for token in header.prompt_tokens):
            raise FormatError("Line 1 of the run: prompt_token_ids and prompt_tokens name different ids.")
        steps = []
        for number, line in enumerate(lines[1:-1], start=2):
            step: Step = _read(_STEP, line, number)
            _check_step(step, number, header.top_k)
            steps.append(step)
        end = _read(_END, lines[-1], len(lines))
        if len(steps) > header.max_new_tokens or (end.stop_reason == "steps" and len(steps) < header.max_new_tokens):
            raise FormatError(f"The run cannot be right: of {header.max_new_tokens} steps it has {len(steps)}.")
        return cls(
            model=header.model,
            prompt=header.prompt,
            prompt_tokens=header.prompt_tokens,
            max_new_tokens=header.max_new_tokens,
            top_k=header.top_k,
            steps=tuple(steps),
            stop_reason=end.stop_reason,
            message=end.message,
            note=header.note,
        )


_HEADER = TypeAdapter(_Header)
_STEP = TypeAdapter(Step)
_END = TypeAdapter(_End)


def _cells(step: Step) -> list[str]:
    """A step's candidates as the notebook prints them."""
    plain = [visible(c.text.removeprefix(" "), c.bytes) for c in step.candidates]
    full = [visible(c.text, c.bytes) for c in step.candidates]
    labels = [p if p and plain.count(p) == 1 else f for p, f in zip(plain, full, strict=True)]
    return [f"{label} ({c.probability:.2%})" for label, c in zip(labels, step.candidates, strict=True)]


def _line(adapter: TypeAdapter[Any], record: Any) -> str:
    # Inside a page, no text of a run may look like a tag, and JSON has another way to write "<".
    return adapter.dump_json(record, exclude_defaults=True).decode().replace("<", "\\u003c")


def _read(adapter: TypeAdapter[Any], line: str, number: int) -> Any:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the line"
        raise FormatError(f"Line {number} of the run cannot be read: {place}: {first['msg']}.") from None


def _check_step(step: Step, number: int, top_k: int) -> None:
    """Refuse a step whose numbers contradict each other."""
    probabilities = [c.probability for c in step.candidates]
    margin = probabilities[0] - probabilities[1] if len(probabilities) > 1 else step.margin
    checks = {
        f"its index is {step.index}, not {number - 2}": step.index == number - 2,
        f"it has more than {top_k} candidates": len(probabilities) <= top_k,
        "its ranks are not 0, 1, 2, …": [c.rank for c in step.candidates] == list(range(len(probabilities))),
        "its candidates are not ordered by probability": probabilities == sorted(probabilities, reverse=True),
        "candidates and rest do not sum to 1": abs(math.fsum([*probabilities, step.rest]) - 1) < 1e-6,
        "a logprob is not the logarithm of its probability": all(map(_agrees, (*step.candidates, step.picked))),
        "its margin is not the first probability minus the second": abs(margin - step.margin) < 1e-6,
        "its entropy is negative": not step.entropy < 0,  # NaN is none
        "it is not forced and did not pick the first candidate": step.forced or step.picked == step.candidates[0],
    }
    for complaint, holds in checks.items():
        if not holds:
            raise FormatError(f"Line {number} of the run cannot be right: {complaint}.")


def _agrees(candidate: Candidate) -> bool:
    return math.isclose(math.exp(candidate.logprob), candidate.probability, rel_tol=1e-6, abs_tol=1e-300)
