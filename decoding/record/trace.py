"""The trace: the record of a run, and its JSON Lines in both directions.

Owns `Trace` and the format in which runs are streamed, stored, exported and replayed. Knows no model, no tokenizer and
no page. Reading is strict, because a run may come from anybody: `decoding.record.fields` checks the fields,
`decoding.record.consistency` how they fit together.
"""

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import TypeAdapter

from decoding import export
from decoding.errors import FormatError
from decoding.messages import Message
from decoding.record import json_lines
from decoding.record.beams import BeamTree
from decoding.record.json_lines import FORMAT, VERSION
from decoding.record.json_types import json_type_of
from decoding.record.pick_rule import Sampling
from decoding.record.prompt_scores import PromptScore, prompt_scores_line
from decoding.record.repetition import Loop, find_loops
from decoding.record.step import NO_ID, Candidate, ScoredToken, Step, StepScores, json_line
from decoding.record.tokens import Token, join_tokens
from decoding.record.why import LeaveOneOut, Lens

if TYPE_CHECKING:
    import pandas as pd

    class Printer(Protocol):
        """The method of IPython's printer that is used."""

        def text(self, text: str, /) -> None: ...


__all__ = ["NO_ID", "Candidate", "ModelInfo", "ScoredToken", "Step", "StepScores", "StopReason", "Trace"]

StopReason = Literal["steps", "end_of_text", "context_full", "stopped", "error"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model of a run.

    `engine` is what computed its logits; `why` says in a few words why this device, dtype and engine were chosen.
    """

    id: str
    revision: str
    dtype: str
    device: str
    engine: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Header:
    format: Literal["greedyscope"]
    version: Literal[1]
    model: ModelInfo
    prompt: str
    prompt_token_ids: tuple[int, ...]
    prompt_tokens: tuple[Token, ...]
    max_new_tokens: int
    top_k: int
    note: str = ""
    remarks: tuple[str, ...] = ()
    past_end: bool = False
    sampling: Sampling | None = None
    as_message: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    stop_reason: StopReason
    message: str = ""
    loops: tuple[Loop, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole run: the request, every step, and why it ended.

    `max_new_tokens` and `top_k` are as requested. `message` is the error's sentence if `stop_reason` is "error". `note`
    names the source of a recorded run. `remarks` are sentences about tokenization, if the model read something else
    than what was typed. `past_end` says that the run goes on past the end of the text; `sampling` how its tokens were
    drawn (None: argmax picked). With `as_message` the model's chat template made the prompt: `prompt` is the message,
    and `prompt_tokens` are all that the model read. `beams` is the tree of the beam search that found the run, if one
    did. `prompt_scores` are those of the prompt's last tokens, if they were asked for. `why` holds the lenses and
    leave-one-outs that were made of its steps.
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
    remarks: tuple[str, ...] = ()
    past_end: bool = False
    sampling: Sampling | None = None
    as_message: bool = False
    beams: BeamTree | None = None
    prompt_scores: tuple[PromptScore, ...] = ()
    why: tuple[Lens | LeaveOneOut, ...] = ()

    @property
    def prompt_token_ids(self) -> tuple[int, ...]:
        return tuple(token.token_id for token in self.prompt_tokens)

    @property
    def generated_token_ids(self) -> tuple[int, ...]:
        return tuple(step.picked.token_id for step in self.steps)

    @property
    def generated_text(self) -> str:
        return join_tokens([step.picked.token for step in self.steps])

    @property
    def prompt_text(self) -> str:
        """The text that the model read before the first step: the prompt, or what the chat template made of it."""
        return join_tokens(self.prompt_tokens) if self.as_message else self.prompt

    @property
    def text(self) -> str:
        return self.prompt_text + self.generated_text

    @property
    def how(self) -> dict[str, Any]:
        """What a request says beside the prompt and its numbers, for this run to be written again."""
        return {"past_end": self.past_end, "sampling": self.sampling, "as_message": self.as_message}

    @property
    def logprob(self) -> float:
        """The log-probability (nats) of the generated tokens given the prompt: the sum over the picks."""
        return math.fsum(step.picked.logprob for step in self.steps)

    @property
    def perplexity(self) -> float:
        """exp(−logprob / N) over the N picks (Jelinek et al. 1977); NaN for a run without steps."""
        return math.exp(-self.logprob / len(self.steps)) if self.steps else math.nan

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The repetitions of the generated ids; () for a record without ids."""
        ids = self.generated_token_ids
        return () if NO_ID in ids else tuple(find_loops(ids))

    def to_frame(self) -> "pd.DataFrame":
        """The notebook's table, one row per step: Input, then Choice 1 … Choice k as "most (8.53%)".

        The space in front of a word is omitted, as in the notebook, unless two choices of a row differ in nothing else.
        """
        return export.to_frame(self)

    def to_csv(self) -> str:
        """One row per step and candidate. Write it as UTF-8 with a byte order mark ("utf-8-sig") for a spreadsheet."""
        return export.to_csv(self)

    def to_markdown(self) -> str:
        """The notebook's table in Markdown. Markup in the prompt or the generated text is escaped."""
        return export.to_markdown(self)

    def to_html(self, *, plotly: bool = False) -> str:
        """The run as one HTML file that needs no server and no network. `plotly` embeds plotly.js (4.8 MB)."""
        return export.to_html(self, plotly=plotly)

    def __str__(self) -> str:
        """The notebook's table and the run's totals, for a terminal; `repr` shows every field."""
        return export.to_table(self)

    def _repr_pretty_(self, printer: "Printer", cycle: bool) -> None:
        """The same table, for IPython and Jupyter in plain text."""
        printer.text("Trace(…)" if cycle else str(self))

    def _repr_html_(self) -> str:
        """The panel, for Jupyter; it needs no server."""
        return export.to_frame_html(self)

    def header_line(self) -> str:
        """The first line of the run's JSON Lines, without the newline."""
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
            remarks=self.remarks,
            past_end=self.past_end,
            sampling=self.sampling,
            as_message=self.as_message,
        )
        return json_line(_HEADER, header)

    def end_line(self) -> str:
        """The last line of the run's JSON Lines, without the newline."""
        return json_line(_END, _End(self.stop_reason, self.message, self.loops))

    def to_jsonl(self) -> str:
        """The run as JSON Lines: a header, one line per step, one per step of its beams, one of its prompt's scores,
        one per lens and leave-one-out, an end; each line ends in a newline.
        """
        more = self.beams.lines() if self.beams else []
        more += [prompt_scores_line(self.prompt_scores)] if self.prompt_scores else []
        between = (line.to_json() for line in self.steps), more, (line.to_json() for line in self.why)
        return "".join(f"{line}\n" for line in (self.header_line(), *chain(*between), self.end_line()))

    @classmethod
    def from_jsonl(cls, text: str) -> "Trace":
        """Parse what `to_jsonl` wrote.

        Raises FormatError, naming the line, if the text is cut, altered, of another version of the format, or not a
        run.
        """
        if not isinstance(text, str):
            raise FormatError(Message("read.text", type=json_type_of(text)))
        fields = json_lines.read_fields(text)
        return cls(model=ModelInfo(**fields.pop("model")), **fields)


_HEADER = TypeAdapter(_Header)
_END = TypeAdapter(_End)
