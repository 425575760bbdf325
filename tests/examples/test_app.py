"""The demo in a real browser: Debian's chromium, headless, driven by selenium."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from small_models import CANDIDATES, save_small_checkpoint
from started_scripts import run_script

SCRIPT = Path(__file__).parents[2] / "examples" / "app.py"
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1300,1050"),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The app on a small random checkpoint; its answers are among `CANDIDATES`."""
    checkpoint = save_small_checkpoint(tmp_path_factory.mktemp("app") / "amif-vqa")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(SCRIPT), "--model", str(checkpoint), "--port", str(port)]
    command += ["--allowed_host", "other.example.org", "--allowed_host", "Demo.example.org"]
    temporary = tmp_path_factory.mktemp("temporary")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TMPDIR": str(temporary)}
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    said = next((line for line in app.stdout if "AMiF answers at" in line), None)
    assert said is not None, f"the app ended with {app.wait()}"
    yield said.split()[3].rstrip(".")
    app.terminate()
    app.wait(timeout=60)
    assert not [path for path in temporary.rglob("*") if path.is_file()], "no upload outlives the app"


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("gradio")
    spec = importlib.util.spec_from_file_location("app", SCRIPT)
    module = sys.modules["app"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["app"]


@pytest.fixture
def browser(tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


def wait_for(browser, selector):
    """The first element that a CSS selector finds, as soon as there is one."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 60).until(lambda page: page.find_elements("css selector", selector))[0]


def drop(browser, path):
    wait_for(browser, "#file input[type=file]").send_keys(str(path))


def requested(browser):
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def test_drop_an_image_ask_read_the_answer_and_see_the_maps(browser, url, tmp_path):
    Image.linear_gradient("L").resize((120, 80)).save(tmp_path / "image.png")
    browser.get(url)
    assert "research only" in wait_for(browser, "header").text
    drop(browser, tmp_path / "image.png")
    assert wait_for(browser, ".viewer img.image").get_property("naturalWidth") == 120
    wait_for(browser, "#question textarea, #question input").send_keys("is there a mass?")
    wait_for(browser, "#ask").click()
    answers = wait_for(browser, ".answers table").text
    assert sum(candidate in answers for candidate in CANDIDATES) == len(CANDIDATES)
    whole = wait_for(browser, ".viewer img.map").get_attribute("src")
    words = browser.find_elements("css selector", "#map label")
    assert [word.text for word in words] == ["whole question", "is", "there", "a", "mass"]
    words[-1].click()
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda _: wait_for(browser, ".viewer img.map").get_attribute("src") != whole)
    assert "mass" in wait_for(browser, ".note").text
    fetched = [address for address in requested(browser) if address.startswith("http")]
    assert fetched
    assert all(address.startswith(url) for address in fetched), "nothing from elsewhere"


def test_an_example_is_one_click(browser, url):
    browser.get(url)
    wait_for(browser, "#examples .thumbnail-item").click()
    assert wait_for(browser, ".answers table")
    assert wait_for(browser, ".viewer img.map")


def test_the_keyboard_alone_chooses_an_example_and_a_screen_reader_is_told(browser, url):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.get(url)
    first = wait_for(browser, "#examples button[aria-label^='Example 1: ']")
    assert wait_for(browser, "#map").get_attribute("aria-label") == "Map of"
    for _ in range(20):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.switch_to.active_element == first:
            break
    assert first.value_of_css_property("outline-style") == "solid", "it is seen where the keyboard is"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert wait_for(browser, "[aria-live=polite] .answers table[aria-label]")
    assert {meter.get_attribute("aria-hidden") for meter in browser.find_elements("css selector", "meter")} == {"true"}


def test_a_bad_file_gives_a_message(browser, url, tmp_path):
    (tmp_path / "letter.png").write_text("no image")
    browser.get(url)
    drop(browser, tmp_path / "letter.png")
    message = wait_for(browser, ".viewer [role=alert]").text
    assert "the file" in message
    assert str(tmp_path) not in message


def test_after_a_bad_file_nothing_of_the_question_before_is_shown(browser, url, tmp_path):
    (tmp_path / "letter.png").write_text("no image")
    browser.get(url)
    wait_for(browser, "#examples .thumbnail-item").click()
    assert wait_for(browser, ".answers table")
    drop(browser, tmp_path / "letter.png")
    assert wait_for(browser, ".viewer [role=alert]")
    assert [word.text for word in browser.find_elements("css selector", "#map label")] == ["whole question"]
    assert not browser.find_elements("css selector", ".answers, .note, .viewer img")


def answered(url, path="/", headers=None, method="GET", body=None):
    """Status and body of a request with exactly these headers, `Host` included."""
    server = urlsplit(url)
    connection = HTTPConnection(server.hostname, server.port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in ({"Host": server.netloc} | (headers or {})).items():
        if value is not None:
            connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders(body)
    response = connection.getresponse()
    try:
        return response.status, response.read().decode()
    finally:
        connection.close()


def upload_and_open(url, name, content, session=None):
    """What the page does with a dropped file: (the event's success, everything that it changes)."""
    status, body = answered(
        url,
        "/gradio_api/upload",
        {"Content-Type": "multipart/form-data; boundary=edge"},
        "POST",
        b'--edge\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n--edge--\r\n'
        % (name.encode(), content),
    )
    assert status == 200, body
    file = {"path": json.loads(body)[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}
    return happen(url, session or uuid.uuid4().hex, "upload", [file])


def happen(url, session, kind, data):
    """What the page of a session does when something happens: (the event's success, everything that it changes)."""
    _, body = answered(url, "/config")
    number = next(event["id"] for event in json.loads(body)["dependencies"] if event["targets"][0][1] == kind)
    event = {"data": data, "fn_index": number, "session_hash": session}
    status, body = answered(
        url, "/gradio_api/queue/join", {"Content-Type": "application/json"}, "POST", json.dumps(event).encode()
    )
    assert status == 200, body
    _, stream = answered(url, f"/gradio_api/queue/data?session_hash={session}")
    messages = [json.loads(line.removeprefix("data:")) for line in stream.splitlines() if line.startswith("data:")]
    done = next(message for message in messages if message["msg"] == "process_completed")
    return done["success"], json.dumps(done["output"])


def test_several_people_upload_the_same_file_at_once(url, tmp_path):
    Image.linear_gradient("L").resize((120, 80)).save(tmp_path / "image.png")
    content = (tmp_path / "image.png").read_bytes()

    def open_and_ask(person):
        opened = upload_and_open(url, "doe^jane.png", content, f"person{person}")
        return opened, happen(url, f"person{person}", "click", [None, "is there a mass?", None])

    with ThreadPoolExecutor(6) as people:
        done = list(people.map(open_and_ask, range(18)))
    assert [success and 'alt=\\"The image' in changes for (success, changes), _ in done] == [True] * 18
    for _, (success, changes) in done:
        assert success
        assert all(answer in changes for answer in CANDIDATES)


def test_why_a_dicom_file_cannot_be_read_is_said_without_its_name(url):
    success, changes = upload_and_open(url, "doe^jane.dcm", b"no image")
    assert success
    assert "the file holds no DICOM image" in changes
    assert "jane" not in changes


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:7860", "Origin": "http://localhost:7860"}, 200),
        ({"Host": "[::1]:7860"}, 200),
        ({"Host": "demo.example.org", "Origin": "https://demo.example.org"}, 200),
        ({"Host": "evil.example.org"}, 403),
        ({"Host": "demo.example.org.evil.net"}, 403),
        ({"Host": "localhost.evil.net:7860"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "["}, 403),
        ({"Origin": "https://evil.example.org"}, 403),
        ({"Origin": "http://127.0.0.1.evil.net"}, 403),
        ({"Origin": "http://127.0.0.1@evil.net"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_other_hosts_and_pages_are_refused(url, headers, status):
    assert answered(url, "/gradio_api/info", headers)[0] == status
    assert answered(url, "/gradio_api/upload", headers, "POST")[0] == (403 if status == 403 else 400)


def test_an_uploaded_file_stays_for_whoever_uploads_the_same(script, tmp_path):
    uploaded = tmp_path / "doe^jane.png"
    Image.new("L", (8, 8), 9).save(uploaded)
    (image,) = script.read_images(str(uploaded)).values()
    assert image.getpixel((0, 0)) == (9, 9, 9)
    assert list(tmp_path.iterdir()) == [uploaded]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("doe^jane.dcm", b"no image", "the file"), ("doe^jane.png", b"", "the file"), ("jane.png", None, "drop it again")],
)
def test_a_bad_uploaded_file_is_not_named(script, tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as refused:
        script.read_images(str(tmp_path / name))
    assert "jane" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_uploads_are_deleted_after_a_while_read_or_not(script, tmp_path, monkeypatch):
    paths = [tmp_path / "hash" / "jane.png", tmp_path / "tmpbrokenoff", tmp_path / "example.png"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    kept = {paths[-1]}
    script.delete_old_uploads(tmp_path, kept)
    assert all(path.exists() for path in paths)
    monkeypatch.setattr(script, "UPLOADS_KEPT", -1)
    script.delete_old_uploads(tmp_path, kept)
    assert [path.exists() for path in paths] == [False, False, True]


def test_examples_are_labelled_by_answer_and_by_where_the_map_goes(script):
    weights = np.full((4, 4), 0.01)
    weights[0, 0] = 1.0
    answered = script.Answered([("yes", -0.1)], [script.WHOLE_QUESTION], [weights], 0.1)
    row = {"answer": "yes", "question_type": "presence", "box": [0, 0, 8, 8], "image": Image.new("L", (32, 32))}
    assert script.verdict_on(answered, row) == script.LOOKED_THERE
    assert script.verdict_on(answered, row | {"box": [24, 24, 32, 32]}) == script.RIGHT
    assert script.verdict_on(answered, row | {"box": None}) == script.RIGHT
    assert script.verdict_on(answered, row | {"question_type": "modality"}) == script.RIGHT
    assert script.verdict_on(answered, row | {"answer": "no"}) == script.WRONG


def test_a_file_that_cannot_be_read_takes_the_question_away_too(script, tmp_path):
    import gradio as gr

    (tmp_path / "image.png").write_bytes(b"")
    with gr.Blocks():
        page = script.Page(Unanswering(), [])
    assert page.on_upload(str(tmp_path / "image.png"))[page.question] == ""


class Unanswering:
    """A model for which a question is too much."""

    def __call__(self, image, question):
        raise ValueError(f"{question} is too long")


def test_a_question_that_is_refused_takes_the_answer_before_away(script):
    import gradio as gr

    with gr.Blocks():
        page = script.Page(Unanswering(), [])
    for image, question, said in [(None, "is it?", "an image"), ("image", " ", "a question"), ("image", "x<", "x&lt;")]:
        shown = None if image is None else Image.new("L", (8, 8))
        changes = page.on_ask(shown, question, {})
        assert said in changes[page.panel]
        assert changes[page.answered] is None
        assert changes[page.map].choices == [("whole question", 0)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--allowed_host", "https://demo.example.org"], "is no name of a host"),
        (["--allowed_host", "demo.example.org:80"], "is no name of a host"),
        (["--allowed_host", ""], "is no name of a host"),
        (["--port", "99999"], "--port 99999: give one from 1 to 65535"),
        (["--port", "-1"], "--port -1: give one from 1 to 65535"),
    ],
)
def test_hosts_are_names_and_ports_numbers(script, monkeypatch, capsys, words, said):
    monkeypatch.setattr(sys, "argv", ["app.py", *words])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_checkpoint_that_is_none_is_named(tmp_path):
    done = run_script("app.py", "--model", tmp_path, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("app.py: error: ")
    assert str(tmp_path) in done.stderr
