"""The tables of why a step picked its token: what was left out, a row a part; and a lens, a row a layer.

Owns their columns. They stand behind the run's own table, in the order of the steps. Knows no model and no page;
`tables` writes the files.
"""

import math
from collections.abc import Iterator

from decoding.export.escaping import markdown_text, spreadsheet_text
from decoding.export.labels import bytes_before, joined_label, label, one_line
from decoding.export.run_protocol import Record
from decoding.i18n import translate
from decoding.record.step import Candidate
from decoding.record.tokens import Token, join_tokens
from decoding.record.why import LeaveOneOut, LeftOut, Lens

LEFT_OUT_COLUMNS = (
    "step", "left_out", "position", "part", "pick_id", "pick", "probability", "probability_without",
    "logprob_without", "rank_without", "change", "instead_id", "instead", "instead_probability", "against_id",
    "against", "against_logprob_without", "tokens_tried", "tokens_asked",
)  # fmt: skip
LENS_COLUMNS = ("step", "layer", "leader_id", "leader", "leader_probability")
_SHOWN_TOKENS = 64
"""Tokens of a part that are written: a file may hold parts of any length, and repeat them."""


def csv_tables(run: Record, language: str = "en") -> Iterator[list[object]]:
    """The rows of the answers' tables, each with its header after an empty row; none for a run without answers.

    Everything that was left out is one table, in which `change` is that of the pick's probability, or of the lead in
    log-probabilities (nats) over the other candidate. `tokens_tried` is less than `tokens_asked` in an answer that was
    stopped. Each lens is a table of its own: a row a layer, where 0 is the embedding, and a column for each token that
    it follows, with its probability in that layer. Steps, positions and ranks count from 1.
    """
    if left_out := [one for one in _in_order(run) if isinstance(one, LeaveOneOut)]:
        yield []
        yield [translate(f"csv.{name}", language) for name in LEFT_OUT_COLUMNS]
        for answer in left_out:
            text = _text_before(run, answer.step)
            yield from (_left_out_row(text, answer, part) for part in answer.parts)
    for lens in _in_order(run):
        if isinstance(lens, Lens):
            yield []
            before = bytes_before(_text_before(run, lens.step))
            names = [spreadsheet_text(f"{_name(token, before)} ({token.token_id})") for token in lens.tokens]
            yield [*(translate(f"csv.{name}", language) for name in LENS_COLUMNS), *names]
            for number, layer in enumerate(lens.layers):
                yield [lens.step + 1, number, *_named(layer.leader), layer.leader.probability, *_shares(layer.logprobs)]


def markdown_tables(run: Record, language: str = "en") -> str:
    """The answers as a section a step, with the sentence that names the layer; "" for a run without answers."""
    sections, section_of = [], -1
    for found in _in_order(run):
        text = _text_before(run, found.step)
        if found.step != section_of:
            section_of, picked = found.step, run.steps[found.step].picked
            name, probability = _cell(_name(picked.token, bytes_before(text))), _percent(picked.probability)
            values = {"step": found.step + 1, "token": name, "probability": probability}
            sections.append(f"\n## {translate('why.step', language, **values)}\n")
        if isinstance(found, Lens):
            sections.append(_lens_section(found, bytes_before(text), language))
        else:
            sections.append(_left_out_section(text, found, language))
    return "".join(sections)


def _in_order(run: Record) -> list[Lens | LeaveOneOut]:
    return sorted(run.why, key=lambda found: found.step)  # stable: the answers to one step keep their order


def _left_out_row(text: list[Token], answer: LeaveOneOut, part: LeftOut) -> list[object]:
    pick, other = answer.picked, answer.against
    left_out = spreadsheet_text(join_tokens(_tokens(text, part)))
    numbers = (pick.probability, part.probability, _finite(part.logprob), part.rank + 1, _finite(answer.change(part)))
    against: list[object] = ["", "", ""]
    if other is not None and part.against_logprob is not None:
        against = [*_named(other), _finite(part.against_logprob)]
    instead = (*_named(part.instead), part.instead.probability)
    named = (part.first + 1, left_out, *_named(pick))
    return [answer.step + 1, answer.by, *named, *numbers, *instead, *against, *answer.progress(len(text))]


def _left_out_section(text: list[Token], answer: LeaveOneOut, language: str) -> str:
    change, before = "table.change.points", bytes_before(text)
    values = {"token": _cell(_name(answer.picked.token, before))}
    if answer.against is not None:
        change, values["other"] = "table.change.lead", _cell(_name(answer.against.token, before))
    head = [translate(f"why.without.{name}", language) for name in ("part", "after")]
    head += [translate(change, language, **values), translate("why.without.instead", language)]
    rows = []
    for part in answer.parts:
        moved = answer.change(part) * (1 if answer.against else 100)
        end = part.first + part.count
        before = bytes_before([*text[max(0, part.first - 3) : part.first], *text[max(end, len(text) - 3) :]])
        instead = f"{_name(part.instead.token, before)} ({_percent(part.instead.probability)})"
        rows.append([_cell(_part_name(text, part)), _percent(part.probability), f"{moved:+.2f}", _cell(instead)])
    tried, asked = answer.progress(len(text))
    stopped = f"\n{translate('why.without.stopped', language, number=tried, most=asked)}\n" if tried < asked else ""
    return _title("without", language) + stopped + _table(head, rows)


def _lens_section(lens: Lens, before: bytes, language: str) -> str:
    start, last = lens.leads_from, len(lens.layers) - 1
    key = "why.lens.never" if start is None else "why.lens.leads"
    followed = [_cell(_name(token, before)) for token in lens.tokens]
    leader = lens.layers[last].leader
    values = {"other": _cell(_name(leader.token, before)), "probability": _percent(leader.probability)}
    sentence = translate(key, language, token=followed[0], layer=start, count=last, **values)
    head = [translate(f"why.lens.{name}", language) for name in ("layer", "column")]
    rows = []
    for number, layer in reversed([*enumerate(lens.layers)]):
        leads = f"{_name(layer.leader.token, before)} ({_percent(layer.leader.probability)})"
        rows.append([str(number), _cell(leads), *map(_percent, _shares(layer.logprobs))])
    lead = translate("why.lens.lead", language)
    return f"{_title('lens', language)}\n{sentence} {lead}\n{_table([*head, *followed], rows)}"


def _title(part: str, language: str) -> str:
    return f"\n### {translate(f'why.{part}.title', language)}\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))
    return f"\n{lines}"


def _text_before(run: Record, step: int) -> list[Token]:
    """The tokens of the prompt and of the picks before a step."""
    return [*run.prompt_tokens, *(one.picked.token for one in run.steps[:step])]


def _tokens(text: list[Token], part: LeftOut) -> list[Token]:
    """The part's tokens, no more than are written."""
    return text[part.first : part.first + min(part.count, _SHOWN_TOKENS)]


def _part_name(text: list[Token], part: LeftOut) -> str:
    return joined_label(_tokens(text, part), bytes_before(text[max(0, part.first - 3) : part.first]))


def _name(token: Token, before: bytes) -> str:
    return label(token.text, token.bytes, before)


def _named(candidate: Candidate) -> tuple[int, str]:
    return candidate.token_id, spreadsheet_text(candidate.text)


def _shares(logprobs: tuple[float, ...]) -> list[float]:
    return [math.exp(logprob) for logprob in logprobs]


def _percent(probability: float) -> str:
    """With two digits after the point, or as many as show two digits of a small one."""
    return f"{probability:.2%}" if probability == 0 or probability >= 1e-4 else f"{100 * probability:.2g}%"


def _finite(number: float) -> object:
    """A number for a cell; the minus sign of an infinity would be taken for a formula."""
    return number if math.isfinite(number) else ""


def _cell(text: str) -> str:
    return markdown_text(one_line(text))
