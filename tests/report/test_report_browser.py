"""The page in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_browser import visit
from report_html import Html

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_PROBE = """
<script>
addEventListener('load', () => {
  document.documentElement.style.scrollBehavior = 'auto';
  const before = scrollY;
  document.querySelector('nav a[href="#models"]').click();
  const top = document.querySelector('#models').getBoundingClientRect().top;
  const wide = document.documentElement.scrollWidth - innerWidth;
  const nav = document.querySelector('nav').getBoundingClientRect().top;
  document.title = [before, scrollY > 500, Math.abs(top) < 60, wide, nav >= 0].join(' ');
});
</script>
"""


def _write(folder: Path, html: str, name: str = "report.html") -> Path:
    path = folder / name
    path.write_text(html, encoding="utf-8")
    return path


def test_the_page_loads_without_a_console_message_or_a_request(page: str, tmp_path: Path) -> None:
    seen = visit(_write(tmp_path, page), tmp_path / "browser")
    assert seen.console == []
    assert seen.requests == []
    assert "Flights from New York, 2013" in seen.dom


def test_this_way_of_looking_sees_requests_and_refusals(page: str, tmp_path: Path) -> None:
    call = '<img src="http://127.0.0.1:9/seen.png"></main>'
    loud = _write(tmp_path, _POLICY.sub("", page).replace("</main>", call))
    assert "http://127.0.0.1:9/seen.png" in visit(loud, tmp_path / "loud").requests
    quiet = _write(tmp_path, page.replace("</main>", call), "quiet.html")
    seen = visit(quiet, tmp_path / "quiet")
    assert seen.requests == []
    assert any("Content Security Policy" in line for line in seen.console)


@pytest.mark.parametrize("width", [1280, 500])
def test_a_link_of_the_contents_leads_to_its_section(page: str, tmp_path: Path, width: int) -> None:
    probed = _POLICY.sub("", page).replace("</body>", _PROBE + "</body>")
    size = f"--window-size={width},900"
    seen = visit(_write(tmp_path, probed), tmp_path / "browser", size)
    title = re.search(r"<title>(.*?)</title>", seen.dom)
    # From the top; scrolled far; the section at the top; nothing wider than the window; contents
    # still in sight.
    assert title is not None
    assert title[1] == "0 true true 0 true"


def test_hostile_text_stays_text_in_a_browser(hostile_page: str, tmp_path: Path) -> None:
    seen = visit(_write(tmp_path, hostile_page), tmp_path / "browser")
    html = Html(seen.dom)
    assert seen.console == []
    assert seen.requests == []
    assert not html.all("script")
    assert not html.all("img")
    assert "<title>owned" not in seen.dom


def test_dark_and_light_differ_and_both_are_drawn(page: str, tmp_path: Path) -> None:
    path = _write(tmp_path, page)
    shots = {}
    for name, scheme in (("light", 1), ("dark", 0)):
        picture = tmp_path / f"{name}.png"
        prefers = f"--blink-settings=preferredColorScheme={scheme}"
        visit(path, tmp_path / name, prefers, f"--screenshot={picture}", "--window-size=1280,2400")
        shots[name] = picture.read_bytes()
    assert shots["light"] != shots["dark"]
    assert min(map(len, shots.values())) > 30_000
