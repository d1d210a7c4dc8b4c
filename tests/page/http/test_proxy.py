"""Two replicas behind HAProxy, and one behind nginx, with the configurations of decoding/page/README.md."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

import app as application
from decoding.serving.admission import AdmissionQueue
from tests.browser import drawn, one_installs, served, tab
from tests.fakes import ScriptedEngine
from tests.readmes import block

ASKED = {"data": ["a", 1, 2, "scripted"]}


def installed(program: str) -> str:
    """The path of a proxy, installed first where there is none."""
    with one_installs():
        if not (path := shutil.which(program)):
            root = "" if os.geteuid() == 0 else "sudo -n "
            command = f"{root}apt-get update && {root}apt-get install -y {program}"
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=600, check=False)
            path = shutil.which(program)
            assert path, f"The proxy's test needs {program}, and it could not be had: {done.stderr[-300:]}"
    return path


def in_nginx(server: str, folder: Path) -> str:
    """A whole configuration of nginx, which writes nowhere but into this folder."""
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in temporary)
    return f"daemon off;\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{server}}}\n"


@contextmanager
def proxied(configuration: str, file: Path, *, ready: str) -> Iterator[str]:
    """The address of a proxy with this configuration, once the page behind it is ready at `ready`."""
    front = f"http://127.0.0.1:{application.free_port('127.0.0.1')}"
    file.write_text(configuration.replace("8080", front.rpartition(":")[2]))
    command = (
        [installed("nginx"), "-e", "stderr", "-c"] if "nginx" in file.name else [installed("haproxy"), "-db", "-f"]
    )
    process = subprocess.Popen([*command, str(file)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(6000):
            assert process.poll() is None, "the proxy refused the configuration"
            with suppress(httpx.TransportError):
                if httpx.get(f"{front}{ready}", timeout=60).status_code == 200:
                    break
            threading.Event().wait(0.02)
        else:
            pytest.fail("nobody is ready behind the proxy")
        yield front
    finally:
        process.terminate()
        process.wait(60)


def configuration() -> str:
    return block("decoding/page", "haproxy", "haproxy")


@pytest.fixture
def proxy(drives_process: None, tmp_path: Path) -> Iterator[tuple[str, list[ScriptedEngine]]]:
    written, engines = configuration(), [ScriptedEngine(), ScriptedEngine()]
    with ExitStack() as stack:
        for engine, port in zip(engines, ("7861", "7862"), strict=True):
            page = application.build_app(lambda name, report, engine=engine: engine, ["scripted"])
            url = stack.enter_context(served(page))
            httpx.post(f"{url}gradio_api/call/greedy", json=ASKED, timeout=60)  # so that it is ready
            written = written.replace(port, httpx.URL(url).netloc.decode().split(":")[1])
        yield f"{stack.enter_context(proxied(written, tmp_path / 'haproxy.cfg', ready='/readyz'))}/", engines


def test_twelve_of_twelve_visitors_are_served_by_two_replicas(proxy: tuple[str, list[ScriptedEngine]]) -> None:
    url, engines = proxy
    before = [engine.begun for engine in engines]
    replicas = set()
    for number in range(200):
        if number >= 12 and len(replicas) == 2:  # a busy machine's check may have missed one for a while
            break
        with httpx.Client(base_url=url, timeout=60) as visitor:  # with cookies of its own
            assert visitor.get("/").status_code == 200
            replicas.add(visitor.cookies["GREEDYSCOPE"])
            data = {"data": [f"visitor {number}", 4, 2, "scripted"]}
            event = visitor.post("gradio_api/call/greedy", json=data).json()["event_id"]
            answer = visitor.get(f"gradio_api/call/greedy/{event}").text
            assert answer.rsplit("event: ", 1)[1].startswith("complete"), answer
    assert replicas == {"one", "two"}
    assert all(engine.begun > count for engine, count in zip(engines, before, strict=True))


def test_every_phone_of_a_class_finds_the_replica_of_its_vote(proxy: tuple[str, list[ScriptedEngine]]) -> None:
    url, _ = proxy
    for _ in range(6):  # three votes on each
        with httpx.Client(base_url=url, timeout=60) as teacher:
            opened = teacher.post("vote/open", json={}).json()
        for number in range(4):
            with httpx.Client(base_url=url, timeout=60) as phone:  # with no cookie
                phone.headers["x-vote-id"] = f"{number}" * 24
                assert phone.get(f"vote/{opened['code']}").status_code == 200
                for code in (opened["code"], opened["code"].lower()):
                    assert phone.post(f"vote/{code}/join", json={}).status_code == 200
        counted = httpx.get(
            f"{url}vote/{opened['code']}/class", headers={"x-vote-secret": opened["secret"]}, timeout=60
        )
        assert counted.json()["students"] == 4


@pytest.mark.parametrize("program", ["haproxy", "nginx"])
def test_under_a_path_prefix_the_page_runs_and_asks_for_nothing_outside(
    tmp_path: Path, browser: Browser, program: str
) -> None:
    engine, prefix = ScriptedEngine(), "/greedyscope"
    app = application.build_app(lambda name, report: engine, ["scripted"])
    with served(app, root_path=prefix) as url, ExitStack() as stack:
        httpx.post(f"{url}gradio_api/call/greedy", json=ASKED, timeout=60)
        one_server = re.sub(r"\n    server two.*", "", configuration().replace("7861", str(httpx.URL(url).port)))
        # The prefix is the proxy's: what it hands on begins at the root.
        stripped = one_server.replace(
            "    balance", f"    http-request replace-path {prefix}(/.*)?$ \\1 if {{ path_beg {prefix} }}\n    balance"
        )
        stripped = stripped.replace(
            "default_backend greedyscope", f"use_backend greedyscope if {{ path_beg {prefix} }}"
        )
        if program == "nginx":
            written = block("decoding/page", "nginx", "nginx").replace("7861", str(httpx.URL(url).port))
            stripped = in_nginx(written, tmp_path)
        front = stack.enter_context(proxied(stripped, tmp_path / f"{program}.cfg", ready=f"{prefix}/readyz"))
        html = httpx.get(f"{front}{prefix}/", timeout=60).text
        for name, file in (("icon", "favicon.ico"), ("manifest", "manifest.json")):
            assert f'<link rel="{name}" href="{file}"' in html
            assert httpx.get(f"{front}{prefix}/{file}", timeout=60).status_code == 200
        context = stack.enter_context(closing(browser.new_context()))
        page, asked, bad = tab(context), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("response", lambda answer: bad.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{front}{prefix}/")
        drawn(page).wait_for_selector(".gs-plotted")
        page.fill("#prompt textarea", "a")
        page.fill("#steps input", "3")
        page.click("#run")
        expect(page.locator("#panel .gs-state")).to_contain_text("3 steps, done")
        page.wait_for_url(re.compile(r"run="))
        link = page.url
        page.goto("about:blank")
        page.goto(link)
        expect(page.locator("#panel .gs-state")).to_contain_text("3 steps, done")
    assert link.startswith(f"{front}{prefix}/")
    assert not [
        address for address in asked if not address.startswith((f"{front}{prefix}", "data:", "blob:", "about:"))
    ]
    assert not bad


def test_the_proxy_says_who_a_visitor_is_and_no_visitor_does(proxy: tuple[str, list[ScriptedEngine]]) -> None:
    url, _ = proxy
    seen: list[str | None] = []
    with pytest.MonkeyPatch.context() as patch:
        enter = AdmissionQueue.enter
        patch.setattr(
            AdmissionQueue, "enter", lambda line, who, **more: seen.append(who.address) or enter(line, who, **more)
        )
        for address, forged in (("127.0.0.5", "8.8.8.8"), ("127.0.0.6", "127.0.0.1, 9.9.9.9")):
            told = {"x-forwarded-for": forged, "x-forwarded-host": "evil.example"}
            transport = httpx.HTTPTransport(local_address=address)
            with httpx.Client(base_url=url, headers=told, transport=transport, timeout=60) as visitor:
                assert "evil.example" not in visitor.get("/").text
                event = visitor.post("gradio_api/call/greedy", json=ASKED).json()["event_id"]
                answer = visitor.get(f"gradio_api/call/greedy/{event}").text
                assert answer.rsplit("event: ", 1)[1].startswith("complete"), answer
    assert seen == ["127.0.0.5", "127.0.0.6"]
