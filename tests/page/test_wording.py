"""What the page shows of a model is the model's own: one label a token, no verdict on what does not compare, no
sentence glued to another, nothing for a browser to translate.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import app as application
import decoding
from decoding import assets
from decoding.record.trace import Trace
from tests.browser import Visit, frames_later, open_settings, served
from tests.fakes import ScriptedEngine

NAN = np.full(271, np.nan, np.float32)
LONG = {"long": " incomprehensibilities", "shorter": " misunderstood"}
"""Words as long as half of a chart holds, on a screen and on a phone."""
ENGINES = {
    "scripted": ScriptedEngine(),
    "broken": ScriptedEngine([{" most": 0.5}, {" only": 0.5}, NAN], name="broken"),
    "split": ScriptedEngine(
        [
            {2 + 0xEC: 0.9, " most": 0.05},
            {2 + 0x9E: 0.9, 2 + 0x9F: 0.05},
            {2 + 0x90: 0.8, 2 + 0x91: 0.1, " most": 0.05},
            {" 한국": 0.9},
        ],
        name="split",
    ),
} | {
    name: ScriptedEngine([{word: 0.5, " most": 0.3, " only": 0.1}], words=(word, " most", " only"), name=name)
    for name, word in LONG.items()
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ENGINES[name], [*ENGINES])) as address:
        yield address


def run(page: Page, prompt: str = "a", steps: str = "3", choices: str = "3", model: str = "scripted") -> None:
    if open_settings(page).locator("#model input").input_value() != model:
        page.click("#model input")
        page.get_by_role("option", name=model).click()
    page.fill("#prompt textarea", prompt)
    page.fill("#steps input", steps)
    page.fill("#choices input", choices)
    page.click("#run")
    expect(page.locator(".gs-model")).to_contain_text(model)
    expect(page.locator(".gs-prompt")).to_have_text(prompt)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator(".gs")).to_have_attribute("aria-busy", "false")


# ---- what does not compare is not compared


def opened(page: Page, trace: Trace) -> None:
    page.click("#gs-tab-keep")
    file = {"name": "run.jsonl", "mimeType": "", "buffer": trace.to_jsonl().encode()}
    page.set_input_files(".gs [type=file]", files=[file])
    expect(page.locator(".gs-badge")).to_have_text("Replayed")


def traced(prompt: str = "a", steps: int = 3, **changes: object) -> Trace:
    trace = decoding.trace(ScriptedEngine(), prompt, max_new_tokens=steps, top_k=3)
    return replace(trace, model=replace(trace.model, **changes)) if changes else trace  # type: ignore[arg-type]


OTHERS: dict[str, tuple[Callable[[], Trace], str]] = {
    "other prompts": (lambda: traced("b"), "Different prompts: their probabilities cannot be compared."),
    "other lengths": (lambda: traced("a", 2), "Totals of different lengths cannot be compared; per token it is"),
}
"""Two of many: panel/compare.test.mjs has them all."""


@pytest.mark.parametrize("case", OTHERS)
def test_no_verdict_on_what_does_not_compare(case: str, url: str, visit: Visit) -> None:
    make, sentence = OTHERS[case]
    page = visit(url)
    run(page)
    opened(page, make())
    page.click("#gs-tab-compare")
    page.select_option(".gs-left", "2")
    page.select_option(".gs-right", "3")
    verdict = page.locator(".gs-verdict")
    expect(verdict).to_contain_text(sentence)
    expect(verdict).not_to_contain_text("wins")
    expect(verdict).not_to_contain_text("times as probable")
    if "prompts" in case:
        expect(verdict).not_to_contain_text("part at")
        expect(page.locator(".gs-sides .gs-differs")).to_have_count(0)
        expect(page.locator(".gs-list tbody tr").nth(2)).to_contain_text("b")
        expect(page.locator(".gs-of").nth(2)).to_have_text("“b”")
        expect(page.locator(".gs-right option").nth(2)).to_have_text("Run 3 · b")


def test_another_models_text_gets_no_verdict(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page)
    opened(page, traced(id="another"))
    page.click("#gs-tab-compare")
    page.select_option(".gs-left", "2")
    page.select_option(".gs-right", "3")
    expect(page.locator(".gs-verdict")).to_contain_text("Both models write the same")


def test_a_fork_is_compared_and_its_forced_pick_is_said(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page)
    page.locator(".gs-bar").nth(1).click()
    expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    page.click("#gs-tab-compare")
    expect(page.locator(".gs-verdict")).to_contain_text("times as probable")
    page.wait_for_function("history.state.number === 3")
    other = visit(page.url)  # somebody who opens the link
    expect(other.locator(".gs-chip.gs-forced")).to_have_count(1)
    other.click("#gs-tab-compare")
    expect(other.locator(".gs-list tr[aria-current] td").nth(1)).to_contain_text("greedy, 1 pick forced")


# ---- a sentence has a line of its own


def test_why_a_run_broke_off_is_a_sentence_of_its_own(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, model="broken")
    expect(page.locator(".gs-state")).to_contain_text("2 steps, ended by an error · log-probability")
    expect(page.locator(".gs-message")).to_have_text(
        "The model's output is not a number (NaN or infinite), so there is no probability to show. Its files may be "
        "damaged: download them again, or choose another model."
    )
    run(page)
    expect(page.locator(".gs-message")).to_be_hidden()


def test_a_recording_says_nothing_of_this_machine(url: str, visit: Visit, tmp_path: Path) -> None:
    recorded = Trace.from_jsonl(assets.read("recorded/starter.jsonl"))
    asked = replace(recorded, note="", model=replace(recorded.model, why="cpu was asked for; float32 fits"))
    page = visit(url)
    expect(page.locator(".gs-why")).to_be_hidden()
    opened(page, asked)
    expect(page.locator(".gs-why")).to_be_hidden()
    (tmp_path / "run.html").write_text(asked.to_html(), "utf-8")
    expect(visit((tmp_path / "run.html").as_uri()).locator(".gs-why")).to_be_hidden()


# What an engine says of its numbers, and how the page's header says it.
NUMBERS = {
    "ONNX Runtime 1.32.0, four-bit weights, computed in float32": (
        "four-bit weights, computed in float32",
        "4-bit 가중치를 float32 정밀도로 계산",
    ),
    "ONNX Runtime 1.32.0, four-bit and eight-bit weights, computed in float32": (
        "four-bit and eight-bit weights, computed in float32",
        "4-bit·8-bit 가중치를 float32 정밀도로 계산",
    ),
    "ONNX Runtime 1.32.0, six-bit and float16 weights, computed in float32": (
        "six-bit and float16 weights, computed in float32",
        "6-bit·float16 가중치를 float32 정밀도로 계산",
    ),
    "ONNX Runtime 1.32.0, bfloat16 weights, computed in float32": (
        "bfloat16 weights, computed in float32",
        "bfloat16 가중치를 float32 정밀도로 계산",
    ),
    "torch 2.13.0, transformers 5.24.0, eight-bit weights, computed in float32, CUDA graph": (
        "eight-bit weights, computed in float32",
        "8-bit 가중치를 float32 정밀도로 계산",
    ),
    "ONNX Runtime 1.32.0, float32": ("float32", "float32"),
    "torch 2.13.0, transformers 5.24.0": ("float32", "float32"),
    "as printed, heavy weights": ("float32", "float32"),
}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("engine", NUMBERS)
def test_the_header_says_how_the_weights_are_stored(engine: str, width: int, url: str, visit: Visit) -> None:
    page = visit(url, width=width)
    opened(page, traced(engine=engine, id="packed", device="cpu"))
    line = open_settings(page).locator(".gs-model")
    expect(line).to_have_text(f"packed · {NUMBERS[engine][0]} · cpu · exact")
    page.locator('button[data-language="ko"]').first.click()
    expect(line).to_have_text(f"packed · {NUMBERS[engine][1]} · cpu · 정확")
    assert line.evaluate("(line) => line.scrollWidth - line.clientWidth") <= 0
    assert line.evaluate("(line) => line.scrollHeight - line.clientHeight") <= 1
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_every_reason_for_a_device_is_said_in_the_readers_language(visit: Visit) -> None:
    reasons = [
        "no GPU was found",
        "float32 fits",
        "the adapter beside it (adapter_config.json) is not applied",
        "its tokenizer was made by transformers from vocab.txt, because it has no tokenizer.json to be held against",
        "transformers computes it, because ONNX Runtime has no proven graph of it",
        "positions and a mask are given with each id",
        "torch was asked for",
    ]
    why = "; ".join(reasons)
    engine = ScriptedEngine()
    engine.info = replace(engine.info, why=why)
    with served(application.build_app(lambda name, report: engine, ["scripted"])) as url:
        page = visit(url)
        run(page)
        expect(page.locator(".gs-why")).to_have_text(why)
        page.locator('button[data-language="ko"]').first.click()
        said = page.locator(".gs-why")
        expect(said).to_contain_text("torch 지정됨")
        assert not set(reasons) & set(said.inner_text().split("; "))


HELD = {
    "remarks": [
        'The prompt begins with "<s>" twice: the tokenizer of m puts one in front of every prompt. Leave out the typed '
        "one.",
        'The tokenizer of m puts "[SEP]" after every prompt, so the model writes what comes after that token, not '
        "what comes right after the prompt.",
        'The tokenizer of m changes the prompt before the model reads it: it turns 9 characters into 3, "한국어".',
        'The tokenizer of m changes the given text before the model reads it: it turns 9 characters into 3, "한국어".',
    ],
    "message": [
        "The model's output is not a number (NaN or infinite), so there is no probability to show. Its files may be "
        "damaged: download them again, or choose another model.",
        "The text ended after 3 steps, before the pick forced at step 9 (counted from 1). Undo that pick, or one "
        "before it.",
        "This run was stopped after 300 seconds, so that others have their turn. Use fewer steps.",
        "The model ran out of memory. Use a shorter prompt or fewer steps, or wait a little.",
        "The model's server does not answer: the connection was cut. What it has written stays. Try again in a "
        "minute, or tell the server's operator.",
        "The model's server did not pick the most probable token: it does not decode greedily. Its run ends here.",
    ],
    "note": ["Recorded on 2026-11-28; no model was needed to show it."],
    "dtype": ["unknown dtype"],
    "engine": ["ONNX Runtime 1.32.0, four-bit weights, computed in float32"],
}
"""What a run itself may hold in the library's English."""


@pytest.mark.parametrize(("field", "said"), [(field, said) for field, some in HELD.items() for said in some])
def test_an_exported_file_says_all_of_a_run_in_the_readers_language(
    field: str, said: str, visit: Visit, tmp_path: Path
) -> None:
    trace = traced()
    if field in ("dtype", "engine"):
        trace = replace(trace, model=replace(trace.model, **{field: said}))
    else:
        changed = {"remarks": {"remarks": (said,)}, "message": {"message": said, "stop_reason": "error"}}
        trace = replace(trace, **changed.get(field, {field: said}))
    (tmp_path / "run.html").write_text(trace.to_html(), "utf-8")
    page = visit((tmp_path / "run.html").as_uri(), locale="ko-KR")
    place = {"message": ".gs-message", "dtype": ".gs-model", "engine": ".gs-model"}.get(field, ".gs-note")
    expect(page.locator(".gs-message" if field == "message" else place)).to_be_visible()
    shown = page.locator(place).inner_text()
    assert any("가" <= letter <= "힣" for letter in shown.replace("한국어", "")), shown


# ---- what a browser may do to a text

UNTRANSLATED = """(words) => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const { textContent, parentElement: parent } = walker.currentNode;
        if (parent.closest("script, style, noscript, textarea, option") || !parent.checkVisibility()) continue;
        if (!words.some((word) => textContent.includes(word)) || !parent.translate) continue;
        found.push(parent.outerHTML.slice(0, 200));
    }
    return found;
}"""
TABS = ("table", "lesson", "whatif", "compare", "keep", "reading")


@pytest.mark.parametrize("surface", ["page", "file"])
def test_what_is_the_models_own_is_not_translated(surface: str, url: str, visit: Visit, tmp_path: Path) -> None:
    if surface == "page":
        page = visit(url)
        run(page, "quixotic", "9")
        page.locator(".gs-bar").nth(1).click()
        expect(page.locator(".gs-chip.gs-forced")).to_have_count(1)
    else:
        greedy = decoding.trace(ScriptedEngine(), "quixotic", max_new_tokens=9, top_k=3)
        (tmp_path / "run.html").write_text(greedy.to_html(), "utf-8")
        page = visit((tmp_path / "run.html").as_uri())
    words = ["·most", "·only", "·popular", "·toy", "·line", "quixotic", "argmax\\n"]
    seen = 0
    for tab in TABS:
        if not page.locator(f"#gs-tab-{tab}").count():
            continue
        page.click(f"#gs-tab-{tab}")
        frames_later(page)
        for part in page.locator(f"#gs-page-{tab} button.gs-part").all():
            part.focus()
            assert page.evaluate(UNTRANSLATED, words) == [], tab
            seen += 1
        assert page.evaluate(UNTRANSLATED, words) == [], tab
    assert seen > 5
    assert page.evaluate("[...document.querySelectorAll('math')].every((node) => !node.translate)")
    assert page.evaluate("document.querySelector('#gs-tab-table').translate"), "the page's own words may be"


FORMULA_FIELDS = ("#prompt textarea", ".gs-own", ".gs-named-text", ".gs-score", ".gs-guess")


def test_texts_run_the_way_their_letters_run_and_stay_as_typed(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "שלום עולם")
    for name in FORMULA_FIELDS:
        field = page.locator(name)
        assert field.get_attribute("dir") == "auto", name
        assert field.evaluate("(field) => [field.spellcheck, field.autocapitalize]") == [False, "none"], name
        assert field.get_attribute("autocorrect") == "off", name
    direction = "(node) => getComputedStyle(node).direction"
    assert page.locator("#prompt textarea").evaluate(direction) == "rtl"
    expect(page.locator(".gs-text")).to_have_css("direction", "rtl")
    expect(page.locator(".gs-table tbody th").first).to_have_css("direction", "rtl")
    page.click("#gs-tab-compare")
    expect(page.locator(".gs-list .gs-of").last).to_have_css("direction", "rtl")
    assert page.locator("meta[name=format-detection]").get_attribute("content", timeout=5000)


# ---- one token, one label


def test_a_token_is_what_it_completes_in_chips_bars_and_table_alike(url: str, visit: Visit) -> None:
    page = visit(url)
    run(page, "b", "4", "3", "split")
    assert page.locator(".gs-chip .gs-chip-text").all_inner_texts() == ["⟨EC⟩", "⟨9E⟩", "자⟨+90⟩", "·한국"]
    page.locator(".gs-chip").nth(2).click()
    expect(page.locator(".gs-step-title")).to_have_text("Step 3 of 4: 자⟨+90⟩")
    bars = page.locator(".gs-column .gs-bars .gs-bar-label")
    assert bars.all_inner_texts() == ["▸ 자⟨+90⟩", "작⟨+91⟩", "·most", "everything else"]
    row = page.locator(".gs-table tbody tr").nth(2).locator("td .gs-chip-text")
    expect(row).to_have_text(["자⟨+90⟩", "작⟨+91⟩", "·most"])  # the table is drawn after what is in sight
    expect(page.locator(".gs-table tbody tr").nth(3).locator("th")).to_have_text("b자")
    page.click("#gs-tab-lesson")
    expect(page.locator(".gs-logits tbody th")).to_have_text(["▸ 자⟨+90⟩", "작⟨+91⟩", "·most"])
    assert page.locator(".gs-growing tbody .gs-chip-text .gs-chip-text").last.inner_text() == "자⟨+90⟩"
    page.locator(".gs-heat").focus()
    page.keyboard.press("ArrowRight")
    assert frames_later(page).locator(".gs-column .gs-bars .gs-bar-label").all_inner_texts()[0] == "▸ 자⟨+90⟩"


@pytest.mark.parametrize("example", json.loads(assets.read("examples.json")), ids=lambda example: example["name"])
def test_every_example_explains_itself(example: dict[str, str]) -> None:
    for language in ("en", "ko"):
        assert assets.texts()[language].get(f"point.{example['name']}"), language


# ---- formulas and labels


def test_the_formula_of_argmax_is_set_as_one_writes_it(url: str, visit: Visit) -> None:
    page = visit(url)
    page.click("#gs-tab-lesson")
    boxes = page.evaluate("""() => {
        const [, formula] = document.querySelectorAll(".gs-formula math");
        const box = (node) => node.getBoundingClientRect().toJSON();
        return ["msup > mi", "msup > mo", "munder > mi", "msub > mi"].map((name) => box(formula.querySelector(name)));
    }""")
    letter, star, name, p = boxes
    assert star["left"] - letter["right"] < 3  # i* is one sign
    assert star["top"] < letter["top"] + 4
    assert p["left"] - name["right"] > 2  # and a space before p


@pytest.mark.parametrize(("width", "model"), [(1280, "long"), (390, "shorter")])
def test_labels_of_bars_are_whole_also_after_a_guess(url: str, visit: Visit, width: int, model: str) -> None:
    page = visit(url, width=width)
    run(page, "whole", "2", "3", model)
    whole = """() => [...document.querySelectorAll(".gs-column .gs-bar-label")].map(
        (node) => [node.textContent, node.scrollWidth - node.clientWidth])"""

    def cut() -> list[list[object]]:
        labels = frames_later(page).evaluate(whole)
        assert len(labels) == 4
        return [label for label in labels if label[1] > 0]

    assert cut() == []
    page.click("#gs-tab-lesson")
    page.click('.gs-lesson-start [data-predict="start"]')
    page.keyboard.type("most")
    page.keyboard.press("Enter")
    expect(page.locator(".gs-tally")).to_be_visible()
    assert cut() == []
