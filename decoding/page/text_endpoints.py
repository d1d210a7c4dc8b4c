"""The endpoints about a text: one that is read, one that beams find, a run's own prompt, and one that is looked up.

Owns these endpoints and their descriptions, which Gradio shows; `api` registers them. Knows no component.
"""

from collections.abc import Callable, Iterator

from decoding.generator_results import result_of
from decoding.page import panel_actions as actions
from decoding.page.gradio_endpoints import CHOICES, PROMPT, STEPS, Endpoint, named_parts
from decoding.record.trace import Trace
from decoding.serving.model_registry import ModelRegistry

BEAMS = 4
NONE_PICKED: list[int] = []


def text_endpoints(registry: ModelRegistry, read: Callable[[object], Trace]) -> list[Endpoint]:
    """The endpoints; `read` makes a run of the text that a caller sent."""
    first = registry.names[0]

    def score(
        prompt: str = PROMPT, text: str = " robots in disguise", choices: int = CHOICES, model: str = first
    ) -> Iterator[str]:
        """Read a text that is already there: how probable each of its tokens is after the prompt, and what the model
        would have written instead. The answer is a run as JSON Lines.

        Parameters:
            prompt: The text before it, at most 50,000 characters.
            text: The text to read, at most 1,000 tokens.
            choices: How many candidates to show at each step, 1 to 50.
            model: One of the models that this page offers.
        """
        asked = {"prompt": prompt, "text": text, "steps": 1, "choices": choices, "model": model}
        return named_parts(actions.score(registry, asked))

    def beam_search(
        prompt: str = PROMPT, steps: int = STEPS, beams: int = BEAMS, choices: int = CHOICES, model: str = first
    ) -> Iterator[str]:
        """The text that beam search finds, as transformers' generate(num_beams=…) does, to compare with the greedy one.
        The answer is a run as JSON Lines; after its steps come the beams of each step, as a tree: a beam's "parent" is
        its place in the step before, and one that no beam of the next step has as its parent was dropped there.

        Parameters:
            prompt: The text to go on from, at most 50,000 characters.
            steps: How many tokens to write at most, 1 to 256.
            beams: How many texts are kept in view, 2 to 8.
            choices: How many candidates to show at each step, 1 to 50.
            model: One of the models that this page offers.
        """
        asked = {"prompt": prompt, "steps": steps, "beams": beams, "choices": choices, "model": model}
        return named_parts(actions.beam(registry, asked))

    def score_prompt(run: str) -> Iterator[str]:
        """How probable each token of a run's prompt is after those before it, with its rank and the entropy there. The
        answer is the same run as JSON Lines, with a line "prompt_scores" for the prompt's last tokens.

        Parameters:
            run: A run as JSON Lines, as the other endpoints write it, at most 8 MB.
        """
        trace = read(run)
        engine = result_of(actions.wait_for_engine(registry, trace.model.id))
        yield from named_parts(actions.scored_prompt(registry, engine, trace))

    def probability(
        prompt: str = PROMPT,
        text: str = " popular",
        picked: list[int] = NONE_PICKED,
        model: str = first,
        as_message: bool = False,
    ) -> Iterator[str]:
        """The probability of any text at a place, without a run: of each of its tokens, with its rank in the whole
        vocabulary, and of all. The answer is a JSON object.

        Parameters:
            prompt: The text before it, at most 50,000 characters.
            text: The text to look up, at most 1,000 tokens.
            picked: The ids of the tokens that were written since the prompt.
            model: One of the models that this page offers.
            as_message: Whether the prompt is a message to the assistant; see /as_message.
        """
        asked = {"prompt": prompt, "text": text, "picked": picked, "model": model, "as_message": as_message}
        return named_parts(actions.named(registry, asked), "named")

    return [score, beam_search, score_prompt, probability]
