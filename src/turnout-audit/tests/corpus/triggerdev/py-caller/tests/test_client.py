from app import client

LINE = "export TRIGGER_SECRET_KEY=tr_dev_xxxxx"


def test_trigger(monkeypatch):
    monkeypatch.setenv("TRIGGER_SECRET_KEY", "tr_dev_x")
    assert client.provider("trigger.dev")
    assert "triggerdev" in "triggerdev and others"
