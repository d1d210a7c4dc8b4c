"""What several of the page's tests do as a visitor would, and what they wait for."""

import pytest
from playwright.sync_api import Page, expect

from decoding.record.permalink import from_link


def wait_for_first_run(page: Page) -> None:
    """Wait until a run stands in the place of the recorded one and has ended. That Run can be pressed does not say so:
    it is disabled a little after the click, and the recorded run has ended and has eight steps, too.
    """
    expect(page.locator(".gs-badge")).to_be_hidden()
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#run")).to_be_enabled()


def run_of_three(page: Page) -> None:
    """Run three steps with three choices, and wait until they are there."""
    page.fill("#steps input", "3")
    page.fill("#choices input", "3")
    page.click("#run")
    expect(page.locator(".gs-chip")).to_have_count(3)
    expect(page.locator("#run")).to_be_enabled()


def wait_for_link(page: Page, **expected: object) -> None:
    """Wait until the address names a run whose picks are made so: a Sampling's fields, or the two switches."""
    for _ in range(100):
        value = page.evaluate("new URLSearchParams(location.search).get('run')")
        if value and dict(from_link(value).how) == expected:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"the address names {value and from_link(value)}")
