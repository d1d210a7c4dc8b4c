"""Exports a run as tables: for a spreadsheet, Markdown, pandas and a terminal.

Owns the columns. Knows no model and no page.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from decoding.export.escaping import markdown_text, spreadsheet_text
from decoding.export.labels import bytes_before, incomplete_bytes, label, one_line, summary, terminal_width
from decoding.export.run_protocol import Record
from decoding.export.why_tables import csv_tables, markdown_tables
from decoding.i18n import translate
from decoding.limits import MAX_TABLE_CHARACTERS
from decoding.record.step import Candidate, Step
from decoding.record.tokens import join_tokens

if TYPE_CHECKING:
    import pandas as pd

CSV_COLUMNS = (
    "step", "rank", "token_id", "text", "bytes", "probability", "logprob", "picked", "forced", "rest", "entropy",
    "margin",
)  # fmt: skip


def to_csv(run: Record, language: str = "en") -> str:
    """One row per step and candidate, and a header row; a pick beyond the candidates has a row of its own.

    Steps and ranks count from 1, as on the page. A text that a spreadsheet would take for a formula gets an apostrophe
    in front. An infinite or unknown number is an empty cell. What was asked about its steps follows in tables of their
    own, each after an empty line, see `decoding.export.why_tables.csv_tables`. The string has no byte order mark; a
    file needs one, see `to_csv_file`.
    """
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(translate(f"csv.{name}", language) for name in CSV_COLUMNS)
    for step in run.steps:
        beyond = (step.picked,) if step.picked.rank >= len(step.candidates) else ()
        rows.writerows(_csv_row(step, candidate) for candidate in (*step.candidates, *beyond))
    rows.writerows(csv_tables(run, language))
    return out.getvalue()


def to_csv_file(run: Record, language: str = "en") -> bytes:
    """`to_csv` as the bytes of a file that spreadsheets open correctly.

    Without a byte order mark Excel reads UTF-8 in the country's old encoding, which garbles Korean. The mark is not in
    the string, because other readers would take it for a part of the first column's name.
    """
    return to_csv(run, language).encode("utf-8-sig")


def _csv_row(step: Step, c: Candidate) -> list[object]:
    data = c.bytes.hex() if c.bytes else ""
    # The minus sign of an infinity would be taken for a formula.
    logprob, entropy = (x if math.isfinite(x) else "" for x in (c.logprob, step.entropy))
    picked = c.rank == step.picked.rank
    numbers = (c.probability, logprob, picked, step.forced, step.rest, entropy, step.margin)
    return [step.index + 1, c.rank + 1, c.token_id, spreadsheet_text(c.text), data, *numbers]


def _rows(run: Record, language: str = "en") -> list[list[str]]:
    """The notebook's table with its header: Input, then Choice 1 … Choice k as "most (8.53%)".

    Where a pick was forced or drawn, and is not Choice 1, there is a column for the picks before the choices. The space
    in front of a word is omitted, as in the notebook, unless two choices of a row differ in nothing else.
    """
    inputs = (run.prompt_text + join_tokens([s.picked.token for s in run.steps[:n]]) for n in range(len(run.steps)))
    rows = [
        [text, *_cells(step.candidates, before)]
        for text, step, before in zip(inputs, run.steps, _before(run), strict=True)
    ]
    # As many columns as there are choices, whatever the run says was requested.
    choices = max((len(row) - 1 for row in rows), default=0)
    columns = [translate("table.choice", language, number=n) for n in range(1, choices + 1)]
    if any(step.picked.rank > 0 for step in run.steps):
        columns.insert(0, translate("table.picked", language))
        for row, step, before in zip(rows, run.steps, _before(run), strict=True):
            picked, is_choice = step.picked, step.picked.rank < len(step.candidates)
            row.insert(1, row[1 + picked.rank] if is_choice else _cells([*step.candidates, picked], before)[-1])
    return [[translate("table.input", language), *columns], *rows]


def _before(run: Record) -> Iterator[bytes]:
    """For each step, the bytes of a character that the text before it has begun and not completed."""
    before = bytes_before(run.prompt_tokens)
    for step in run.steps:
        yield before
        before = incomplete_bytes(before, step.picked.bytes)


def _cells(candidates: Sequence[Candidate], before: bytes) -> list[str]:
    """The candidates of a step as the notebook prints them."""
    plain = [label(c.text.removeprefix(" "), c.bytes, before) for c in candidates]
    full = [label(c.text, c.bytes, before) for c in candidates]
    named = [p if p and plain.count(p) == 1 else f for p, f in zip(plain, full, strict=True)]
    return [f"{name} ({c.probability:.2%})" for name, c in zip(named, candidates, strict=True)]


def to_frame(run: Record) -> "pd.DataFrame":
    """The notebook's table as a DataFrame, one row per step."""
    import pandas as pd  # imported here: pandas takes 0.3 s, and only tables need it

    columns, *rows = _rows(run)
    return pd.DataFrame(rows, columns=columns)


def to_markdown(run: Record, language: str = "en") -> str:
    """The notebook's table in Markdown, then what was asked about its steps. Markup, links and HTML in the run's texts
    are escaped.
    """
    columns, *rows = _rows(run, language)
    lines = [columns, ["---"] * len(columns), *([markdown_text(one_line(cell)) for cell in row] for row in rows)]
    width = len(columns)
    table = "".join(f"| {' | '.join([*line, *[''] * (width - len(line))])} |\n" for line in lines)
    return table + markdown_tables(run, language)


def to_table(run: Record) -> str:
    """The notebook's table as lines of text, then the run's totals and remarks. A table that would repeat the text to
    many MB is left out, and a line says so.
    """
    text = "\n".join(map(one_line, run.text.split("\n")))
    end = "".join(f"{line}\n" for line in (summary(run), *map(one_line, run.remarks)))
    if not run.steps:
        return f"{text}\n\n{end}"
    if (repeated := len(run.steps) * len(run.text)) > MAX_TABLE_CHARACTERS:
        left_out = (
            f"The table is left out: it repeats the text at every step, {repeated:,} characters in all, and at most "
            f"{MAX_TABLE_CHARACTERS:,} are printed. CSV and JSON Lines have every number."
        )
        return f"{text}\n\n{left_out}\n{end}"
    columns, *rows = _rows(run)
    return f"{_aligned(columns, [[one_line(row[0]), *row[1:]] for row in rows])}\n\n{text}\n\n{end}"


def _aligned(columns: list[str], rows: list[list[str]]) -> str:
    """The names of the columns at the left of each, and its cells at the right."""
    table = [columns, *([*row, *[""] * (len(columns) - len(row))] for row in rows)]
    widths = [[terminal_width(cell) for cell in row] for row in table]
    widest = [max(column) for column in zip(*widths, strict=True)]
    spaces = [[" " * (most - width) for most, width in zip(widest, row, strict=True)] for row in widths]
    head = " ".join(map(str.__add__, columns, spaces[0]))
    lines = (" ".join(map(str.__add__, *row)) for row in zip(spaces[1:], table[1:], strict=True))
    return "\n".join((head.rstrip(), *lines))
