"""The small Hub, and the client pointed at it."""

import huggingface_hub.constants
import huggingface_hub.utils._http
import pytest

from .server import HubServer


@pytest.fixture
def hub(monkeypatch):
    """A Hub of our own, which this process takes for the Hub; waiting between attempts takes no time."""
    with HubServer() as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        yield server
