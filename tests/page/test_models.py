"""Switching models on the page as a new user would, with the real loading code over a small server that stands for the
Hub: a slow network, none, a model that is too large, and a download that is interrupted in the middle.
"""

import itertools
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

import app as application
from decoding.engines import Engine
from decoding.engines.torch.engine import load as load_engine
from decoding.models import hub
from decoding.models.catalogue import Entry
from decoding.serving import availability
from decoding.serving.model_registry import Report
from tests import local_hub, tiny_models
from tests.browser import Visit, served
from tests.local_hub import COMMIT, Hub
from tests.machines import give_memory
from tests.waiting import until

MEGABYTE = 1_000_000
PARAMETERS = 2_000_000


@dataclass
class Served:
    """The page, the network, and where the network is."""

    url: str
    net: Hub
    here: str
    patience: hub.Patience
    """With the network, while "interrupted" is fetched."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models")
    here = str(tiny_models.save(folder / "here", tiny_models.network("gpt2")))
    large = tiny_models.network("llama", hidden_size=256, intermediate_size=1024)
    there = tiny_models.save(folder / "there", large)
    entries = {here: Entry(here)}
    for name in ("slow", "absent", "distilgpt2"):
        entries[name] = Entry(name, f"org/{name}", COMMIT, PARAMETERS, 7 * MEGABYTE)
    entries["interrupted"] = Entry("interrupted", "org/interrupted", COMMIT)  # of no catalogue: nobody knows its size
    entries["huge"] = Entry("huge", "org/huge", COMMIT, 10**12, 7 * MEGABYTE)
    entries["greedy"] = Entry("greedy", "org/greedy", COMMIT, PARAMETERS, 7 * MEGABYTE)

    def loader(name: str, report: Report) -> Engine:
        if name == "interrupted":
            hub.fetch(entries[name], report, patience=patience)
        return load_engine(entries[name], device="cpu", report=report)

    patience = hub.Patience(silence_seconds=600.0)  # while a test looks at what is said of a fetch that is held
    impatient_clock = itertools.count(step=availability.ASK_AGAIN_SECONDS).__next__
    machine = availability.Machine(clock=impatient_clock)
    repositories = {entry.repository: there for entry in entries.values() if entry.repository}
    with (
        pytest.MonkeyPatch.context() as patch,
        local_hub.as_the_hub(repositories, folder / "cache", patch) as net,
    ):
        look = availability.local_offers([*entries.values()], dtype="auto", machine=machine)
        with served(application.build_app(loader, [*entries], look)) as url:
            yield Served(url, net, here, patience)


@pytest.fixture
def page(server: Served, visit: Visit) -> Page:
    page: Page = visit(server.url)
    expect(page.locator("#notice")).to_be_hidden()  # the first model is there
    return page


def listed(page: Page, label: str) -> None:
    """A label that begins so stands in the list. It is looked at again when it is opened, unless a look is under way,
    perhaps since before what the test changed.
    """
    option = page.get_by_role("option", name=re.compile(f"^{re.escape(label)}"))

    def is_shown() -> bool:
        page.click("#model input")
        try:
            expect(option).to_be_visible(timeout=10_000)
        except AssertionError:
            return False
        finally:
            page.locator("#model input").blur()
        return True

    until(is_shown, f"the list never had {label!r}")


def choose(page: Page, name: str) -> None:
    page.click("#model input")
    page.get_by_role("option", name=name).click()
    expect(page.locator("#model input")).to_have_value(re.compile(f"^{re.escape(name)}"))


def run(page: Page, steps: int = 4) -> None:
    page.fill("#prompt textarea", "Transformers are the")
    page.fill("#steps input", str(steps))
    page.click("#run")


def ran(page: Page, name: str) -> None:
    """A run of this model stands on the page, to its end."""
    expect(page.locator(".gs-model")).to_contain_text(f"{name} · float32 · cpu · exact")
    expect(page.locator(".gs-state")).to_contain_text("4 steps, done")
    expect(page.locator("#run")).to_be_enabled()


def test_a_slow_network(page: Page, server: Served):
    listed(page, "slow · 2 M · 7 MB to fetch")
    run(page)
    ran(page, server.here)
    server.net.hold, server.net.hold_after = threading.Event(), 3 * MEGABYTE
    choose(page, "slow")
    expect(page.locator("#facts")).to_be_hidden()  # nothing is known of it but its size
    run(page)
    expect(page.locator("#notice")).to_have_text(re.compile(r"Fetching slow: [23] of 7 MB.* \([34]\d%\)"))
    expect(page.locator(".gs-model")).to_contain_text(server.here)  # what was on screen stays
    expect(page.locator("#stop")).to_be_enabled()
    server.net.hold.set()
    ran(page, "slow")
    expect(page.locator(".gs-why")).to_have_text("cpu was asked for; float32 fits")
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#model input")).to_have_value("slow · 2 M · ready")  # the closed list, too
    listed(page, "slow · 2 M · ready")
    expect(page.locator(".gs-model")).to_have_attribute("title", re.compile(f"^{COMMIT}"))


def test_what_is_known_of_a_model_stands_below_the_list(page: Page, server: Served):
    expect(page.locator("#facts")).to_be_hidden()
    choose(page, "distilgpt2")
    expect(page.locator("#facts")).to_have_text(
        "82 M parameters · context 1,024 · Apache-2.0 · download 353 MB · memory 677 MB in float32, 488 MB in bfloat16 "
        "· distilbert/distilgpt2 at 2290a62"
    )


def test_no_network(page: Page, server: Served, monkeypatch: pytest.MonkeyPatch):
    local_hub.disconnect(monkeypatch)
    listed(page, "absent — not on disk, and no network")
    page.click("#model input")
    grey, black = (
        page.get_by_role("option", name=name).evaluate("each => getComputedStyle(each).color")
        for name in ("absent", server.here)
    )
    assert grey != black
    page.locator("#model input").blur()
    choose(page, "absent")
    run(page)
    expect(page.locator("#problem-model")).to_have_text(
        "absent is not on this machine yet, and the Hugging Face Hub cannot be reached. Go online once to fetch it, or "
        "choose another model."
    )
    expect(page.locator(".gs-badge")).to_have_text("Recorded")  # nothing on screen is lost
    choose(page, server.here)
    expect(page.locator("#problem-model")).to_be_hidden()  # it was of another model
    run(page)
    ran(page, server.here)


def test_the_network_goes_after_the_list_was_opened(page: Page, monkeypatch: pytest.MonkeyPatch):
    choose(page, "absent")
    expect(page.locator("#model input")).to_have_value("absent · 2 M · 7 MB to fetch")
    local_hub.disconnect(monkeypatch)
    run(page)
    expect(page.locator("#problem-model")).to_contain_text("the Hugging Face Hub cannot be reached")
    expect(page.locator("#model input")).to_have_value("absent — not on disk, and no network")


def test_too_large_for_the_machine_or_for_this_moment(page: Page, server: Served, monkeypatch: pytest.MonkeyPatch):
    listed(page, "huge — needs 2300.3 GB of memory, there is ")
    choose(page, "huge")
    run(page)
    expect(page.locator("#problem-model")).to_contain_text("huge needs 2300.3 GB of memory in bfloat16, and ")
    give_memory(monkeypatch, 100 * MEGABYTE)
    choose(page, "greedy")
    run(page)
    expect(page.locator("#problem-model")).to_have_text(
        "greedy needs 305 MB of memory in bfloat16, and 100 MB is free. Choose a smaller model, or free some memory."
    )
    assert "/api/models/org/greedy" not in "".join(server.net.asked)  # refused before anything is fetched
    choose(page, server.here)
    run(page)
    ran(page, server.here)


def test_interrupted_in_the_middle(page: Page, server: Served):
    net = server.net
    net.hold, net.hold_after = threading.Event(), 3 * MEGABYTE
    net.ranges.clear()
    choose(page, "interrupted")
    run(page)
    expect(page.locator("#notice")).to_have_text(re.compile(r"Fetching interrupted: [23] of 7 MB"))
    page.click("#stop")
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#model input")).to_have_value("interrupted · 2 M · 7 MB to fetch")  # as the Hub has said
    for load in (thread for thread in threading.enumerate() if thread.name == "load interrupted"):
        load.join(300)  # nobody waits for it any more
        assert not load.is_alive()
    run(page)
    expect(page.locator("#notice")).to_have_text(re.compile(r"Fetching interrupted: [56] of 7 MB"))
    server.patience.silence_seconds = 2.0  # only now: how long a process takes to start, nobody knows
    expect(page.locator("#problem-model")).to_have_text(
        "The download of interrupted broke off: nothing arrived for 2 seconds. What has arrived is kept; try again to "
        "continue from there."
    )
    server.patience.silence_seconds = 600.0
    net.hold.set()
    choose(page, server.here)  # the model from before is as good as ever
    run(page)
    ran(page, server.here)
    listed(page, "interrupted · 2 M · 7 MB to fetch")  # what is half here is not trusted
    choose(page, "interrupted")
    run(page)
    ran(page, "interrupted")
    assert net.ranges[0] == 0
    assert len(net.ranges) == 3
    assert min(net.ranges[1:]) >= 2 * MEGABYTE  # each went on from where the last had come to
