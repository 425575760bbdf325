"""The demo in a real browser: Debian's chromium, headless, driven by selenium."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from small_models import CANDIDATES, save_small_checkpoint

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
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    said = next((line for line in app.stdout if "AMiF answers at" in line), None)
    assert said is not None, f"the app ended with {app.wait()}"
    yield said.split()[3].rstrip(".")
    app.terminate()
    app.wait(timeout=60)


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


def test_a_bad_file_gives_a_message(browser, url, tmp_path):
    (tmp_path / "letter.png").write_text("no image")
    browser.get(url)
    drop(browser, tmp_path / "letter.png")
    message = wait_for(browser, ".viewer [role=alert]").text
    assert "the file" in message
    assert str(tmp_path) not in message


def test_an_uploaded_file_is_deleted_once_it_is_read(script, tmp_path):
    uploaded = tmp_path / "doe^jane.png"
    Image.new("L", (8, 8), 9).save(uploaded)
    (image,) = script.read_images(str(uploaded)).values()
    assert image.getpixel((0, 0)) == (9, 9, 9)
    assert not list(tmp_path.iterdir())


def test_a_bad_uploaded_file_is_deleted_and_its_name_not_said(script, tmp_path):
    uploaded = tmp_path / "doe^jane.dcm"
    uploaded.write_text("no image")
    with pytest.raises(ValueError, match="the file") as refused:
        script.read_images(str(uploaded))
    assert "jane" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_none_is_named(tmp_path):
    command = [sys.executable, str(SCRIPT), "--model", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("app.py: ")
    assert str(tmp_path) in done.stderr
