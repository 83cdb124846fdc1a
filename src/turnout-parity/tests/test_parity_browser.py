"""The page in a real browser, where one is installed."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from turnout_parity.render import render_html

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def _browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(BROWSERS)})")
    return found


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    common = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    return subprocess.run(
        [_browser(), *common, *arguments], capture_output=True, text=True, timeout=60, check=True
    )


async def test_the_page_stands_in_a_browser(shelf: Any, tmp_path: Path, spec: Any) -> None:
    """A browser parses it as it was written, runs nothing in it and draws it."""
    evil = "</title><script>document.title='owned'</script>"
    shelf.pair("a", task=evil, steps=[spec("s", evil)], shadow={"result": evil})
    page, picture = tmp_path / "r.html", tmp_path / "r.png"
    page.write_text(render_html(await shelf.check()), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    shot = f"--screenshot={picture}"
    told = _run(profile, "--window-size=1200,1600", shot, "--dump-dom", page.as_uri())
    dom = told.stdout or _run(profile, "--dump-dom", page.as_uri()).stdout
    assert '<span class="verdict FAIL" id="verdict">FAIL</span>' in dom
    assert "<title>FAIL · parity report</title>" in dom
    assert "<script" not in dom
    assert dom.count('<details class="difference">') == 1
    assert picture.stat().st_size > 20_000
