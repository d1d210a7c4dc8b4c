"""A run as a video, made by a real Chromium: as many pictures as steps, each another, each as long as the rate says."""

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Download, Page, expect

import app as application
from tests.browser import Visit, served
from tests.fakes import ScriptedEngine

STEPS, RATE = 4, 2  # a busy machine has half a second to take a step's picture
# Plays the file: its size, its length, how much two steps differ, and how much one picture does within its step.
PLAYED = """async ([bytes, type, steps, rate]) => {
    const video = Object.assign(document.createElement("video"), { muted: true });
    document.body.append(video);
    const file = new Blob([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], { type });
    video.src = URL.createObjectURL(file);
    await new Promise((onloadeddata, failed) => {
        Object.assign(video, { onloadeddata, onerror: () => failed(video.error.message) });
    });
    if (video.duration === Infinity) {
        video.currentTime = 1e6;
        await new Promise((done) => { video.ondurationchange = done; });
    }
    const [width, height] = [video.videoWidth, video.videoHeight];
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    const at = async (seconds) => {
        const shown = new Promise((done) => { video.requestVideoFrameCallback(done); }); // "seeked" comes before it
        video.currentTime = seconds;
        await shown;
        pen.drawImage(video, 0, 0);
        return pen.getImageData(0, 0, canvas.width, canvas.height).data;
    };
    const differing = (a, b) => a.reduce((sum, value, n) => sum + (Math.abs(value - b[n]) > 48), 0);
    const middles = [];
    for (let step = 0; step < steps; step++) middles.push((await at((step + 0.5) / rate)).slice());
    const early = await at(0.2 / rate);
    const within = differing(early, middles[0]);
    const between = middles.slice(1).map((picture, n) => differing(picture, middles[n]));
    const white = middles.map((picture) => picture[4 * (10 * canvas.width + 10)]);
    return { size: [canvas.width, canvas.height], duration: video.duration, within, between, white };
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(application.build_app(lambda name, report: ScriptedEngine(), ["scripted"])) as address:
        yield address


FRAME_TAKERS = {
    "track": "",
    "stream": """() => {  // as in Firefox
        const { prototype } = CanvasCaptureMediaStreamTrack, { requestFrame } = prototype;
        delete prototype.requestFrame;
        MediaStream.prototype.requestFrame = function () { requestFrame.call(this.getVideoTracks()[0]); };
    }""",
}


def open_keep_tab(page: Page) -> Page:
    page.fill("#prompt textarea", "A video")
    page.fill("#steps input", str(STEPS))
    page.click("#run")
    expect(page.locator(".gs-text > .gs-chip")).to_have_count(STEPS)
    page.locator("#gs-tab-keep").press("Enter")
    return page


@pytest.mark.parametrize("taker", FRAME_TAKERS)
def test_a_video_has_the_picture_of_each_step(url: str, visit: Visit, taker: str) -> None:
    page = open_keep_tab(visit(url))
    if FRAME_TAKERS[taker]:
        page.evaluate(FRAME_TAKERS[taker])
    record, cancel, status = (page.locator(f".gs-video-{name}") for name in ("record", "cancel", "status"))
    expect(page.locator(".gs-video-length")).to_have_text("4 s")

    # Cancelled, nothing is saved, and it can be begun again.
    page.select_option(".gs-video-rate", "0.5")
    expect(page.locator(".gs-video-length")).to_have_text("8 s")
    record.press("Enter")
    expect(status).to_have_text("Step 1 of 4 …")
    cancel.press("Enter")
    expect(status).to_have_text("Nothing was saved.")
    expect(cancel).to_be_hidden()

    page.select_option(".gs-video-rate", str(RATE))
    with page.expect_download() as saved:
        record.press("Enter")
    expect(status).to_have_text(f"{saved.value.suggested_filename} is in your downloads.")
    name, _, ending = saved.value.suggested_filename.rpartition(".")
    assert (name, ending in ("mp4", "webm")) == ("greedyscope-a-video", True)
    data = base64.b64encode(saved.value.path().read_bytes()).decode()
    seen = page.evaluate(PLAYED, [data, f"video/{ending}", STEPS, RATE])
    assert seen["size"] == [1280, 720]
    # Each picture lasts at least as long as it should; a machine that is busy may make it longer.
    assert seen["duration"] > (STEPS - 0.5) / RATE
    assert seen["within"] < min(seen["between"]) / 5, seen  # within a step nothing moves but the coding's own noise
    assert min(seen["between"]) > 500, seen
    assert all(value > 240 for value in seen["white"]), "light, whatever the page is"


def test_a_video_of_no_bytes_is_not_saved(url: str, visit: Visit) -> None:
    page = open_keep_tab(visit(url))
    page.evaluate("""() => {  // as WebKitGTK's recorder may
        MediaRecorder.prototype.addEventListener = function (name, ...rest) {
            if (name !== "dataavailable") EventTarget.prototype.addEventListener.call(this, name, ...rest);
        };
    }""")
    downloads: list[Download] = []
    page.on("download", lambda saved: downloads.append(saved))
    page.select_option(".gs-video-rate", str(RATE))
    page.locator(".gs-video-record").press("Enter")
    expect(page.locator(".gs-video-status")).to_contain_text("This browser did not make the video.")
    assert downloads == []
