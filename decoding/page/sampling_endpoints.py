"""The endpoints of runs that do not pick by argmax alone: drawn ones, and those past the end of the text.

Owns these endpoints and their descriptions, which Gradio shows; `api` registers them. Knows no component.
"""

from collections.abc import Iterator

from decoding.page import panel_actions as actions
from decoding.page.gradio_endpoints import CHOICES, PROMPT, STEPS, Endpoint, named_parts
from decoding.serving.model_registry import ModelRegistry

DRAWS = 20
MESSAGE = "What is a transformer?"


def single_runs(registry: ModelRegistry) -> list[Endpoint]:
    """The endpoints that stream one run. /greedy takes no more parameters: its callers pass them by position."""
    first_model = registry.names[0]

    def sample(
        prompt: str = PROMPT,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        first: int = 0,
        steps: int = STEPS,
        choices: int = CHOICES,
        model: str = first_model,
        past_end: bool = False,
        as_message: bool = False,
    ) -> Iterator[str]:
        """Draw each token instead of taking the most probable one; streams the run as /greedy does. Its probabilities
        are the model's own, at temperature 1; each step's "draw" says what it was drawn from.

        Parameters:
            prompt: The text to go on from, at most 50,000 characters.
            temperature: The logits are divided by it, 0.01 to 100.
            top_k: Only so many of the most probable tokens stay; 0 keeps all.
            top_p: Of these, only the fewest that sum to it stay, 0 to 1.
            seed: The same seed gives the same text, 0 to 4294967295.
            first: The first step that is drawn, counted from 0.
            steps: How many tokens to write, 1 to 256.
            choices: How many candidates to show at each step, 1 to 50.
            model: One of the models that this page offers.
            past_end: Whether to go on past the end of the text.
            as_message: Whether the prompt is a message to the assistant; see /as_message.
        """
        how = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "first": first}
        asked = {"prompt": prompt, "forced": [], "steps": steps, "choices": choices, "model": model}
        options = {"sampling": how, "past_end": past_end, "as_message": as_message}
        return named_parts(actions.branch(registry, asked | options))

    def past_end(
        prompt: str = PROMPT, steps: int = STEPS, choices: int = CHOICES, model: str = first_model
    ) -> Iterator[str]:
        """Decode greedily as /greedy does, but go on past the end of the text: the next candidate is taken there.

        Parameters:
            prompt: The text to go on from, at most 50,000 characters.
            steps: How many tokens to write, 1 to 256.
            choices: How many candidates to show at each step, 1 to 50.
            model: One of the models that this page offers.
        """
        asked = {"prompt": prompt, "forced": [], "steps": steps, "choices": choices, "model": model}
        return named_parts(actions.branch(registry, asked | {"past_end": True}))

    def as_message(
        prompt: str = MESSAGE, steps: int = STEPS, choices: int = CHOICES, model: str = first_model
    ) -> Iterator[str]:
        """Decode greedily as /greedy does, but send the prompt as a message to the assistant: the model's chat template
        makes the text that the model reads, and its tokens are the run's "prompt_tokens".

        Parameters:
            prompt: The message, at most 50,000 characters, with all that the template adds.
            steps: How many tokens to write, 1 to 256.
            choices: How many candidates to show at each step, 1 to 50.
            model: One of the models that this page offers; it has to have a chat template.
        """
        asked = {"prompt": prompt, "forced": [], "steps": steps, "choices": choices, "model": model}
        return named_parts(actions.branch(registry, asked | {"as_message": True}))

    return [sample, past_end, as_message]


def many_draws(registry: ModelRegistry) -> Endpoint:
    """The endpoint that draws many texts, which takes long."""
    first_model = registry.names[0]

    def draws(
        prompt: str = PROMPT,
        count: int = DRAWS,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        steps: int = STEPS,
        choices: int = CHOICES,
        model: str = first_model,
        past_end: bool = False,
        as_message: bool = False,
    ) -> Iterator[str]:
        """Draw many texts at once, beside the greedy one. The answer is a JSON object: each text with its seed and its
        log-probability, and how often each next token came.

        Parameters:
            prompt: The text to go on from, at most 50,000 characters.
            count: How many texts to draw, 2 to 20; each has the seed after the one before.
            temperature: The logits are divided by it, 0.01 to 100.
            top_k: Only so many of the most probable tokens stay; 0 keeps all.
            top_p: Of these, only the fewest that sum to it stay, 0 to 1.
            seed: The first text's seed, 0 to 4294967295.
            steps: How many tokens to write, 1 to 256.
            choices: How many candidates to read at each step, 1 to 50.
            model: One of the models that this page offers.
            past_end: Whether to go on past the end of the text.
            as_message: Whether the prompt is a message to the assistant; see /as_message.
        """
        how = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
        asked = {"prompt": prompt, "forced": [], "steps": steps, "choices": choices, "model": model, "count": count}
        options = {"sampling": how, "past_end": past_end, "as_message": as_message}
        return named_parts(actions.draw(registry, asked | options), "draws")

    return draws
