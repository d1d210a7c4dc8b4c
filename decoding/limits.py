"""Limits: how large a request, a file or a link from outside may be.

Owns the numbers, all in one place. The reader of files, the requests, the exports and the browser (as `LIMITS` in front
of the panel's scripts, see decoding/assets.py) take them from here. Knows no run and no sentence.
"""

from collections.abc import Mapping

# ---- what a person may ask for

MAX_PROMPT_CHARACTERS = 50_000
MAX_STEPS = 256
MAX_CHOICES = 50
MAX_TEXT_TOKENS = 1_000
"""Tokens of a pasted text. Each becomes a step, so no run has more steps than this."""
MIN_BEAMS, MAX_BEAMS = 2, 8
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
MAX_SEED = 2**32 - 1
MIN_DRAWS, MAX_DRAWS = 2, 20
"""Runs that are drawn at once."""
LEFT_OUT, MAX_LEFT_OUT = 64, 256
"""Tokens before a step of which each is left out in turn: as a rule, and at most. Each part takes a pass or less."""
MAX_FOLLOWED = 16
"""Tokens that a caller may name for a lens, beside those that lead at some layer."""
MAX_LENS_TOKENS = 256
MAX_LENS_NUMBERS = 8_000
"""Tokens that a lens follows, alone and times its layers: it is a line of a file, no longer than a step's."""
MAX_LAYERS = 255
MAX_LENS_LOGITS = 2**26
"""Layers times vocabulary of a lens: 268 MB of logits."""

# ---- what a file may hold

MAX_RUN_BYTES = 8 * 2**20
"""A run of 256 steps with 50 choices each, after 50,000 characters, is smaller."""
MAX_PROMPT_TOKENS = 131_072
MAX_WHY_LINES = 2 * MAX_STEPS
"""Lines about why a step picked its token: a lens and a leave-one-out of each step of the longest run made here."""
MAX_RUN_LINES = MAX_TEXT_TOKENS + MAX_WHY_LINES + 3
"""The steps, what was asked about them, the scores of the prompt, and the first and the last line."""
MAX_STEP_CHARACTERS = 2**18
"""For each line but the first. A step of 50 choices takes about 8,000 characters."""
MAX_TOKEN_CHARACTERS = 1_000
"""For the text of one token. Vocabularies hold runs of 128 spaces, and hardly anything longer."""
MAX_NOTE_CHARACTERS = 4_000
"""For every other text: the model's names, the note, the message of an error."""
MAX_REMARKS = 8
"""At most this many remarks about a prompt's ids; a run has three."""
MAX_VOCABULARY = 2**24
"""Every token id and every rank is below this. The largest vocabularies have a million tokens."""
MAX_LOG_SUMS = 16
MAX_POWER = 100
MAX_LOG_SUM = 10.0**9

# ---- what a link may hold

MAX_LINK_CHARACTERS = 8_000
MAX_LINK_BYTES = 300_000
"""The most bytes that a link may decompress to: a short link could be made to expand to gigabytes."""

# ---- whom a limit counts for

PROXY_FACTOR = 8
"""Limits of one address are this many times as high for an address that everybody shares."""

# ---- what a class that votes may send

MAX_VOTE_SESSIONS, MAX_VOTE_SESSIONS_PER_ADDRESS = 32, 8
MAX_VOTE_STUDENTS = 100
MAX_VOTE_QUESTIONS = 100
"""Questions of one session: one in 72 seconds, for two hours."""
MAX_VOTE_CHANGES = 20
"""How often a student may change an answer before it is revealed."""
MAX_VOTE_BODY_BYTES = 2**16
MAX_VOTE_TEXT_CHARACTERS = 4_000
"""The end of the text so far, as the phones show it."""
MAX_VOTE_ANSWER_CHARACTERS = 80
"""For a typed answer, and for the label of a candidate."""
MAX_VOTE_SECONDS = 600
"""The longest time that a teacher may set for a question."""

# ---- what may be made of a run

MAX_TABLE_CHARACTERS = 4_000_000
"""The notebook's table repeats the text in every row, so a long run of a long prompt would take hundreds of MB."""


def for_browser() -> Mapping[str, float]:
    """The limits that the panel's scripts check a run against before they draw it."""
    return {
        "bytes": MAX_RUN_BYTES,
        "steps": MAX_STEPS,
        "choices": MAX_CHOICES,
        "beams": MAX_BEAMS,
        "textTokens": MAX_TEXT_TOKENS,
        "usuallyLeftOut": LEFT_OUT,
        "leftOut": MAX_LEFT_OUT,
        "lensTokens": MAX_LENS_TOKENS,
        "layers": MAX_LAYERS,
        "whyLines": MAX_WHY_LINES,
        "lines": MAX_RUN_LINES,
        "promptCharacters": MAX_PROMPT_CHARACTERS,
        "promptTokens": MAX_PROMPT_TOKENS,
        "stepCharacters": MAX_STEP_CHARACTERS,
        "tokenCharacters": MAX_TOKEN_CHARACTERS,
        "noteCharacters": MAX_NOTE_CHARACTERS,
        "remarks": MAX_REMARKS,
        "vocabulary": MAX_VOCABULARY,
        "logSums": MAX_LOG_SUMS,
        "linkCharacters": MAX_LINK_CHARACTERS,
        "linkBytes": MAX_LINK_BYTES,
        "voteText": MAX_VOTE_TEXT_CHARACTERS,
        "voteAnswer": MAX_VOTE_ANSWER_CHARACTERS,
        "voteSeconds": MAX_VOTE_SECONDS,
        "leastTemperature": MIN_TEMPERATURE,
        "mostTemperature": MAX_TEMPERATURE,
        "seed": MAX_SEED,
    }
