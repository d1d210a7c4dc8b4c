"""How to draw, as a request says it."""

import math

import pytest

from decoding.errors import RequestError
from decoding.requests.run_request import check_request


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        ({"temperature": 0}, "The temperature has to be a number from 0.01 to 100, not 0."),
        ({"temperature": math.nan}, "The temperature has to be a number from 0.01 to 100, not one that is not finite."),
        ({"temperature": "1"}, "The temperature has to be a number from 0.01 to 100, not “1”."),
        ({"top_k": 1.5}, "The top-k has to be a whole number from 0 to 16,777,216, not 1.5."),
        ({"top_p": 2}, "The top-p has to be a number from 0 to 1, not 2."),
        ({"seed": 2**32}, "The seed has to be a whole number from 0 to 4,294,967,295, not 4,294,967,296."),
        ({"first": 4}, "The first step to draw has to be a whole number from 0 to 3, not 4."),
        ({"beams": 4}, "How to draw has no “beams”; it has temperature, top_k, top_p, seed, first."),
        ([], "How to draw has to be an object, not a list."),
    ],
)
def test_a_draw_outside_its_limits_is_refused(sampling: object, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_request("x", 4, 3, sampling=sampling)
    assert (str(caught.value), caught.value.field) == (said, "sampling")
