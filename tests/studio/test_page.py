"""The page in a real browser, by mouse and by keyboard alone.

The browser is one that is installed, such as Debian's package `chromium`; none is downloaded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import nibabel
import numpy as np
import pytest

from sautomed.scans import read_labels

from ..conftest import make_case, write_scan
from ..scans.dicom.build import make_series
from .conftest import running
from .stand_in import StandInSession

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra [test])")
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
PATIENCE_MS = 120_000  # on a machine that does much else
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        # Without its sandbox, which needs rights that containers lack; the page is our own.
        opened = engine.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


class Page:
    """A page, and where things are on its planes."""

    def __init__(self, page):
        self.page = page
        self.status = page.locator("#status")

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, button):
        self.page.locator("header button", has_text=button).click()

    def says(self, words):
        playwright.expect(self.status).to_contain_text(words, timeout=PATIENCE_MS)

    def wait_until_open(self):
        playwright.expect(self.page.locator("#cover")).to_be_hidden(timeout=PATIENCE_MS)

    def shows(self, what):
        """Return an expression of the page's state, such as `studio.t`."""
        return self.page.evaluate(f"import(location.href + 'main.js').then(({{ studio }}) => {what})")

    def becomes(self, what, value):
        """Wait until an expression of the page's state has a value."""
        for _ in range(PATIENCE_MS // 50):
            if self.shows(what) == value:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{what} is {self.shows(what)}, not {value}")

    def point(self, x, y, plane=0):
        """Return where a place of a slice is on the screen."""
        return self.page.evaluate(
            """async ([x, y, plane]) => {
                const { studio } = await import(location.href + 'main.js');
                await new Promise(requestAnimationFrame);
                const { canvas, place } = studio.drawing.planes[plane];
                const box = canvas.getBoundingClientRect();
                const [left, top] = [place.x + x * place.sx, place.y + y * place.sy];
                return [box.left + left / place.scale, box.top + top / place.scale];
            }""",
            [x, y, plane],
        )

    def drag(self, start, end):
        mouse = self.page.mouse
        mouse.move(*self.point(*start))
        mouse.down()
        mouse.move(*self.point(*[(a + b) / 2 for a, b in zip(start, end, strict=True)]))
        mouse.move(*self.point(*end))
        mouse.up()


@contextmanager
def page_of(browser, url, **options):
    """Open the page; at the end nothing may have gone wrong in it, and nothing may have been asked of others."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    page, wrong, asked = context.new_page(), [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    context.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield Page(page)
    context.close()
    assert wrong == []
    assert asked
    assert [other for other in asked if not other.startswith(url)] == []


@pytest.fixture
def page(browser, studio):
    with page_of(browser, studio.address.url) as found:
        found.page.select_option("#scans", "block_0")
        found.wait_until_open()
        yield found


def session_of(studio) -> StandInSession:
    return studio.workspace._opened.session


def test_by_mouse(page, studio, tmp_path):
    session = session_of(studio)
    automatic = session.label_slice(3).copy()
    page.page.click("#strip", position={"x": 500, "y": 5})
    t = page.shows("studio.t")
    assert t == 3

    # A box is moved by one of its sides, resized by a corner, and both are undone.
    x0, y0, x1, y1 = page.shows("studio.box")
    page.drag((x1, y1), (x1 - 4, y1 - 6))
    page.says("bright on slice 4: box")
    assert session.given[3, "bright"] == pytest.approx((x0, y0, x1 - 4, y1 - 6))
    page.drag(((3 * x0 + x1 - 4) / 4, y0), ((3 * x0 + x1 - 4) / 4 + 2, y0 + 3))
    playwright.expect(page.page.locator("#here")).to_contain_text(f"{x0 + 2:.0f}, {y0 + 3:.0f}")
    for _ in range(2):
        page.click("Undo")
        page.says("Undone")
    playwright.expect(page.page.locator("#here")).to_contain_text("automatic")
    assert np.array_equal(session.label_slice(3), automatic)

    # The other organ is chosen by a click on it; it is deleted from the slice, and drawn again.
    rows, columns = np.nonzero(session.label_slice(3) == 5)
    middle = np.argsort(np.hypot(rows - rows.mean(), columns - columns.mean()))[0]
    page.page.mouse.click(*page.point(columns[middle] + 0.5, rows[middle] + 0.5))
    assert page.shows("studio.organ") == 5
    page.click("Not here")
    page.says("dark on slice 4: not here")
    assert not (session.label_slice(3) == 5).any()
    page.click("Box")
    page.drag((20, 10), (30, 22))
    page.says("dark on slice 4: box")
    assert session.given[3, "dark"] == (20, 10, 30, 22)

    # Brush and eraser.
    page.click("Brush")
    page.drag((4, 28), (12, 28))
    page.says("painted")
    assert (session.label_slice(3) == 5)[27, 5:12].all()
    page.click("Eraser")
    page.drag((4, 28), (12, 28))
    page.says("erased")
    assert not (session.label_slice(3) == 5)[27, 5:12].any()
    page.click("Eraser")

    # Between two painted slices the organ is filled; on the first there is nothing to fill yet.
    fill = page.page.locator("header button", has_text="Fill")
    playwright.expect(fill).to_be_disabled()
    page.press("Home")
    page.click("Brush")
    page.drag((4, 28), (12, 28))
    page.says("painted")
    page.click("Brush")
    page.click("Fill")
    page.says("filled from there to slice 4")
    assert all((session.label_slice(t) == 5)[27, 5:12].all() for t in (1, 2))
    playwright.expect(fill).to_be_disabled()
    for _ in range(2):
        page.click("Undo")
        page.says("Undone")
    page.press(*["ArrowUp"] * 3)

    # A locked slice cannot be drawn on.
    page.click("Lock")
    page.says("locked")
    before = session.label_slice(3).copy()
    page.drag((20, 10), (24, 14))
    assert np.array_equal(session.label_slice(3), before)
    page.click("Release")
    page.says("released")

    # One way only, then reload: all is as it was.
    page.page.click("#directions >> text=Up")
    page.page.click("#walk")
    page.says("Walked again: 2 slices changed")
    shown = session.state.labels.copy()
    page.page.reload()
    page.wait_until_open()
    assert page.shows("studio.t") == 3
    assert page.shows("[...studio.scan.labels]") == shown.ravel().tolist()

    page.click("Save")
    page.page.check("#save-formats input[value='.seg.nrrd']")
    page.page.click("#save button[value=save]")
    page.says("Saved: block_0.nii.gz, block_0.seg.nrrd")
    import SimpleITK

    written = np.asarray(nibabel.load(tmp_path / "out" / "block_0.nii.gz").dataobj)
    assert np.array_equal(written[::-1, ::-1].transpose(2, 1, 0), shown)
    assert SimpleITK.ReadImage(str(tmp_path / "out" / "block_0.seg.nrrd")).GetSize() == (40, 32, 6)


def test_by_keyboard_alone(page, studio, tmp_path):
    session = session_of(studio)
    page.press("n")
    page.says("presence 62 %")
    assert page.shows("studio.t") in (0, 3)
    page.press("Home", "ArrowUp", "ArrowUp", "2")
    assert page.shows("[studio.t, studio.organ]") == [2, 5]
    box = page.shows("studio.box")
    page.press("b", *["Shift+ArrowLeft"] * 3, "Shift+ArrowUp", "ArrowRight", "ArrowRight", "Enter")
    page.says("dark on slice 3: box")
    assert session.given[2, "dark"] == pytest.approx((box[0] + 2, box[1], box[2] - 1, box[3] - 1))
    page.press("x")
    page.says("not here")
    assert not (session.label_slice(2) == 5).any()
    page.press("p", "+", "+", "Enter", "Escape")
    page.says("painted")
    assert (session.label_slice(2) == 5)[16, 20]
    page.press("i")
    page.says("nothing to fill")
    page.press("ArrowUp", "ArrowUp", "ArrowUp", "p", "Enter", "Escape")
    page.says("dark on slice 6: painted")
    page.press("ArrowDown", "i")
    page.says("dark on slice 3: filled from there to slice 6")
    assert (session.label_slice(4) == 5)[16, 20]
    page.press("u")
    page.says("Undone")
    page.press("u", "ArrowDown", "ArrowDown")
    page.becomes("studio.scan.prompts[5][5].source", "auto")
    page.press("l")
    page.says("locked")
    page.press("l")
    page.says("released")
    page.press("d", "d", "w")
    page.says("Walked again: 2 slices changed")
    assert (session.label_slice(0) == 5)[16, 20]
    while session.can_undo:
        revision = page.shows("studio.scan.revision")
        page.press("u")
        page.becomes(f"studio.scan.revision > {revision}", True)
    assert np.array_equal(session.state.labels, np.stack(session.automatic))
    page.press("r")
    page.says("Redone")
    page.press(" ", "o", "v", "v", "0", "?")
    playwright.expect(page.page.locator("#help")).to_be_visible()
    page.press("Escape", "s")
    playwright.expect(page.page.locator("#save")).to_be_visible()
    page.page.focus("#save button[value=save]")
    page.press("Enter")
    page.says("Saved: block_0.nii.gz")
    assert (tmp_path / "out" / "block_0.nii.gz").is_file()


class WaitingSession(StandInSession):
    """Walks on only when it is let."""

    go_on = threading.Event()

    def propagate(self, t, direction="both", until=None):
        for part in super().propagate(t, direction, until):
            yield part
            assert self.go_on.wait(30)


def test_slices_change_as_they_are_done_and_a_walk_is_cancelled(browser, scans, tmp_path):
    with running(scans, tmp_path / "out", WaitingSession) as studio, page_of(browser, studio.address.url) as page:
        page.page.select_option("#scans", "block_0")
        page.wait_until_open()
        page.press("Home", "b", "Shift+ArrowRight", "Enter")
        page.says("box")
        page.press("w")
        playwright.expect(page.page.locator("#cancel")).to_be_enabled()
        page.becomes("studio.editor.walking?.done", 1)
        first = session_of(studio).label_slice(1)
        assert page.shows("[...studio.scan.slice(studio.scan.labels, 1)]") == first.ravel().tolist()
        page.press("ArrowUp")  # one can look while it walks
        assert page.shows("studio.t") == 1
        page.page.click("#cancel")
        while not studio.workspace._stop.is_set:
            page.page.wait_for_timeout(20)
        WaitingSession.go_on.set()
        page.says("Walked again: 2 slices changed")  # of five; the one that was being done is finished
        playwright.expect(page.page.locator("#cancel")).to_be_disabled()


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def test_the_least_sure_slice_is_that_where_most_of_an_organ_is_in_doubt(page):
    """A thin end of an organ is less sure, and matters less."""
    page.shows("""(() => {
        const { prompts, counts } = studio.scan;
        prompts.forEach((slice) => Object.values(slice).forEach((prompt) => { prompt.confidence = 0.95; }));
        prompts[3][5].confidence = 0.6;
        counts[2].set(5, 1);
        prompts[2][5].confidence = 0.2;
    })()""")
    assert page.shows("studio.scan.leastSure().map(({ t, value }) => [t, value])[0]") == [3, 5]
    page.press("n")
    page.says("dark on slice 4: confidence 60 %")


def test_a_fill_does_not_go_past_what_is_given_between(page):
    painted, boxed = '{ source: "given", painted: true }', '{ source: "given", painted: false }'
    page.shows(f"[1, 5].forEach((t) => Object.assign(studio.scan.prompts[t][5], {painted}))")
    assert [page.shows(f"studio.scan.gap({t}, 5)") for t in (2, 3, 4)] == [[1, 5]] * 3
    page.shows(f"Object.assign(studio.scan.prompts[3][5], {boxed})")
    assert [page.shows(f"studio.scan.gap({t}, 5)") for t in (2, 3, 4)] == [None] * 3


def test_names_are_text_and_never_script(browser, tmp_path):
    name = "<img src=x onerror=alert(3)>"
    write_scan(tmp_path / "scans" / f"{name}.nii.gz", np.round(make_case(0)[0]))
    organs = {1: HOSTILE, 5: "'\"><svg onload=alert(4)>"}
    open_session = lambda path, edits, report: StandInSession(path, edits, report, organs)  # noqa: E731
    with (
        running(tmp_path / "scans", tmp_path / "out", open_session) as studio,
        page_of(browser, studio.address.url) as page,
    ):
        page.wait_until_open()
        page.press("x")
        page.says(HOSTILE)
        assert HOSTILE in page.page.inner_text("#organs")
        assert name in page.page.inner_text("#scans")
        assert page.page.locator("img, svg, script:not([src])").count() == 0


def test_the_list_shows_the_least_sure_scan_first_and_what_to_look_at(browser, scans, tmp_path):
    """By keyboard alone; texts from files are text."""
    (tmp_path / "out").mkdir()
    for case, least_sure in (("block_0", 0.914), ("block_1", 0.384)):
        content = {"schema": "sautomed case 1", "least_sure": least_sure, "review": [f"{HOSTILE} {case}"]}
        (tmp_path / "out" / f"{case}.json").write_text(json.dumps(content))
    with running(scans, tmp_path / "out") as studio, page_of(browser, studio.address.url) as page:
        shown = page.page.locator("#list")
        playwright.expect(shown).to_be_visible()
        rows = page.page.locator("#list-rows tr").all_inner_texts()
        assert [row.split() for row in rows] == [
            ["block_1", "0.38", *f"{HOSTILE} block_1".split()],
            ["block_0", "0.91", *f"{HOSTILE} block_0".split()],
        ]
        faint = page.page.evaluate(CONTRASTS)
        assert [text for text, ratio in faint if ratio < 4.5] == []
        page.press("Shift+Tab", "Space", "Tab", "Enter")  # done, and open
        page.wait_until_open()
        playwright.expect(shown).to_be_hidden()
        assert page.shows("studio.scan.name") == "block_1"
        assert page.page.inner_text("#review") == f"To look at\n{HOSTILE} block_1"
        playwright.expect(page.page.locator("#done")).to_be_checked()
        assert studio.workspace.folder.notes.done == ["block_1"]
        page.press("a")
        playwright.expect(shown).to_be_visible()
        focused = "document.activeElement.textContent"
        assert page.page.evaluate(focused) == "block_0"  # the first that is not done
        page.press("x", "Escape")  # no key reaches the scan behind it
        assert session_of(studio).given == {}
        page.page.select_option("#scans", "")
        playwright.expect(shown).to_be_visible()
        assert page.page.locator("img, svg, script:not([src])").count() == 0


def test_text_can_be_read_and_everything_has_its_place(browser, studio):
    """Contrast of at least 4.5 (WCAG 2.2, AA), light and dark; nothing sticks out at 1280 and 3840 pixels."""
    for scheme in ("light", "dark"):
        with page_of(browser, studio.address.url, color_scheme=scheme) as page:
            page.page.select_option("#scans", "block_0")
            page.wait_until_open()
            page.press("?")
            faint = page.page.evaluate(CONTRASTS)
            assert [text for text, ratio in faint if ratio < 4.5] == []
            assert len(faint) > 60
            page.press("Escape")
            for width, height in ((1280, 800), (3840, 2160)):
                page.page.set_viewport_size({"width": width, "height": height})
                assert page.page.evaluate("document.documentElement.scrollWidth") == width
                assert page.page.evaluate("document.documentElement.scrollHeight") == height
                boxes = [page.page.locator(f"#plane-{i}").bounding_box() for i in range(3)]
                assert boxes[0]["width"] > 0.4 * width
                assert min(box["height"] for box in boxes) > 0.25 * height


CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((x) => x / 255)
    .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter((e) => e.offsetParent && !e.closest(':disabled')
      && [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((e) => {
      const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))];
      return [e.textContent.slice(0, 40), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
}"""


@contextmanager
def command(*options):
    """Run `sautomed studio` as people do; yields the process and the address."""
    order = [sys.executable, "-m", "sautomed", "studio", *options, "--no-browser"]
    process = subprocess.Popen(
        [*map(str, order)], stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()


def test_a_killed_server_loses_no_edit(browser, trained_run, dataset_folder, tmp_path):
    """The whole command with a model: an edit, kill -9, another start, DICOM SEG, a clean end."""
    make_series(tmp_path / "scans" / "series")
    shutil.copy(dataset_folder / "imagesTr" / "block_0_0000.nii.gz", tmp_path / "scans")
    order = "-m", trained_run, "-i", tmp_path / "scans", "-o", tmp_path / "out"
    with command(*order) as (process, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", url), url
        with page_of(browser, url) as page:
            page.page.select_option("#scans", "block_0")
            page.wait_until_open()
            page.press("1", "p", "Enter", "Escape")
            page.says("painted")
            labels = page.shows("[...studio.scan.labels]")
            assert 1 in labels
            process.send_signal(signal.SIGKILL)
            process.wait(20)
    with command(*order) as (process, url), page_of(browser, url) as page:
        page.page.select_option("#scans", "block_0")
        page.wait_until_open()
        assert page.shows("[...studio.scan.labels]") == labels
        page.page.select_option("#scans", "series")
        page.wait_until_open()
        page.press("1", "p", "Enter", "Escape")
        page.says("painted")
        page.press("s")
        page.page.check("#save-formats input[value='.seg.dcm']")
        page.page.click("#save button[value=save]")
        page.says("series.seg.dcm")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    import highdicom

    segments = highdicom.seg.segread(tmp_path / "out" / "series.seg.dcm")
    assert segments.SegmentSequence[0].SegmentLabel == "bright"


def test_the_demo_leads_to_a_corrected_mask(browser, tmp_path):
    """As in the README: the least sure slice, a side of its box, the walk on, saved; with the model of the package."""
    out = tmp_path / "out"
    with command("--demo", "-o", out) as (_, url), page_of(browser, url) as page:
        page.wait_until_open()
        page.press("n")
        page.says("on slice")
        t, (x0, y0, x1, y1) = page.shows("studio.t"), page.shows("studio.box")
        page.drag((x1, (y0 + y1) / 2), ((x0 + x1) / 2, (y0 + y1) / 2))
        page.says(": box")
        page.press("w")
        page.says("Walked again")
        assert "nothing" not in page.status.inner_text()
        shown, automatic = (page.shows(f"[...studio.scan.{name}]") for name in ("labels", "automatic"))
        page.press("s")
        page.page.click("#save button[value=save]")
        page.says("Saved: phantom_000.nii.gz")
    saved = read_labels(out / "phantom_000.nii.gz", "axial").array
    assert saved.ravel().tolist() == shown
    changed = (saved != np.array(automatic).reshape(saved.shape)).any((1, 2))
    assert changed[t]
    assert changed.sum() > 1
