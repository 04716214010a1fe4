"""The report in a real browser: no word on the console, every plot drawn.

Chromium comes from the system's packages; without it the tests are skipped, unless
``CI`` is set.  Screenshots go to ``CI_ARTEFACTS``, or to pytest's temporary folder.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from steadyrank.pipeline import report
from steadyrank.pipeline.report import write_report
from tests.helpers.report_page import HOSTILE, recorded

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000",
    "--hide-scrollbars",
]  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
VIEWS = {  # Chromium's narrowest window is 500
    "desk": ["--window-size=1280,4000"],
    "phone": ["--window-size=500,6000"],
    "dark": ["--window-size=1280,4000", DARK],
    "dark_phone": ["--window-size=500,6000", DARK],
}


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("Chromium is missing: CI must install it (apt-get install chromium)")
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    folder = os.environ.get("CI_ARTEFACTS")
    path = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="module", params=["is_click", HOSTILE], ids=["plain", "hostile"])
def page(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, **recorded(request.param))
    return path


def browse(chromium, page, profile, *flags):
    """What Chromium prints, and its console's messages."""
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, errors="replace"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)


def test_every_plot_is_drawn_and_the_console_is_silent(chromium, page, tmp_path):
    dom, console = browse(chromium, page, tmp_path / "profile", "--dump-dom")
    assert console == []
    wanted = len(re.findall(r'class="plot["\s]', page.read_text(encoding="utf-8")))
    drawn = re.findall(r'<svg[^>]*class="drawn"', dom)
    assert len(drawn) == wanted > 3
    paths = re.findall(r" d=\"([^\"]*)\"", dom)
    assert paths and not any("NaN" in d or "undefined" in d for d in paths)


@pytest.mark.parametrize("view", VIEWS)
def test_a_screenshot_is_kept(chromium, page, artefacts, tmp_path, view, request):
    name = request.node.callspec.id.replace("-", "_")
    image = artefacts / f"report_{name}.png"
    flags = [*VIEWS[view], f"--screenshot={image}"]
    _, console = browse(chromium, page, tmp_path / "profile", *flags)
    assert console == []
    assert image.read_bytes().startswith(b"\x89PNG") and image.stat().st_size > 30_000
    corner = tf.io.decode_png(image.read_bytes())[0, 0, :3].numpy()
    assert corner.max() < 60 if DARK in VIEWS[view] else corner.min() > 240


@pytest.mark.parametrize(("window", "scrolls"), [(1300, "false"), (900, "true")])
def test_a_wide_table_takes_the_room_that_there_is(chromium, tmp_path, window, scrolls):
    page, css = tmp_path / "page.html", Path(report.__file__).with_name("report.css")
    page.write_text(
        f"<style>{css.read_text()}</style><body><div class=scroll>"
        "<table><td style='min-width: 76rem'></table></div><script>"
        "const box = document.querySelector('.scroll');"
        "document.title = 'scrolls: ' + (box.scrollWidth > box.clientWidth)</script>"
    )
    flags = [f"--window-size={window},900", "--dump-dom"]
    dom, _ = browse(chromium, page, tmp_path / "profile", *flags)
    assert f"scrolls: {scrolls}" in dom


def test_the_console_would_be_heard(chromium, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('ouch'); nothing()</script>")
    _, console = browse(chromium, page, tmp_path / "profile", "--dump-dom")
    assert len(console) == 2 and "ouch" in console[0]
