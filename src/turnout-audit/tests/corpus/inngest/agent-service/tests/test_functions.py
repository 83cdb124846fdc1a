from unittest import mock

from inngest.experimental import mocked

from app.functions.digest import daily_digest


def test_digest(monkeypatch):
    monkeypatch.setenv("INNGEST_DEV", "1")
    with mock.patch("app.inngest_client.client"):
        assert daily_digest is not None
    assert mocked.trigger
