"""Starts a gateway and, where a test needs one of its own, a simulated engine; speaks REST to set people up.

Nothing here talks OpenAI: that is left to the official client in the tests.
"""

import json
import os
import signal
import subprocess
import time
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BINARY = Path(os.environ.get("TOLLGATE_BIN", Path(__file__).parent.parent / "target/debug/tollgate"))
"""The binary under test."""

ENGINE = os.environ.get("TOLLGATE_TEST_ENGINE", "")
"""A real engine to put behind the gateway, such as http://127.0.0.1:8123; empty for the simulated one."""

PATIENCE = 60
"""Seconds after which something that should come is given up; generous, because machines are slow at times."""


def until(what, look):
    """Looks until there is something, and returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


@dataclass
class Gateway:
    """A running gateway, as its owner sees it."""

    url: str
    key: str
    model: str
    log: Path

    @property
    def base_url(self):
        """What an OpenAI client is told."""
        return f"{self.url}/v1"

    def rest(self, method, path, body=None, key=None):
        """One call of the REST API; returns the data of the answer."""
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", method=method)
        request.add_header("authorization", f"Bearer {key or self.key}")
        if body is not None:
            request.add_header("content-type", "application/json")
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def person(self):
        """A new member without any grant: their id and their key."""
        email = f"{uuid.uuid4()}@example.com"
        user = self.rest("POST", "users", {"email": email, "display_name": "A member"})["user"]
        made = self.rest("POST", "keys", {"name": "test", "user_id": user["user_id"]})
        until("the new key is known", lambda: self.accepts(made["secret"]))
        return user["user_id"], made["secret"]

    def accepts(self, key):
        """Whether the gateway knows a key by now."""
        request = urllib.request.Request(f"{self.base_url}/models")
        request.add_header("authorization", f"Bearer {key}")
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE).status == 200
        except urllib.error.HTTPError as refused:
            with refused:
                return False

    def grant(self, user_id):
        """Lets a person use the model."""
        models = self.rest("GET", f"models?search={self.model}")["models"]
        model_id = next(model["model_id"] for model in models if model["name"] == self.model)
        self.rest("POST", "grants", {"grant": {"model_id": model_id, "user_id": user_id, "action": "ACTION_USE"}})

    def record(self, request_id):
        """The one ledger record of a request, once it is there."""
        look = lambda: self.rest("GET", f"usage/records?request_id={request_id}")["records"]
        records = until(f"a record of {request_id}", look)
        assert len(records) == 1, records
        return records[0]

    def idle(self):
        """Whether no engine holds a request: neither by the gateway's account nor by the engine's own."""
        engines = self.rest("GET", "engines")["engines"]
        return all(e["requests_in_flight"] == 0 and load(e["url"]) == 0 for e in engines)


def load(engine):
    """Requests that an engine runs or keeps waiting, as its metrics say."""
    with urllib.request.urlopen(f"{engine}/metrics", timeout=PATIENCE) as answer:
        lines = answer.read().decode().splitlines()
    names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    values = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(names)]
    assert len(values) == 2, values
    return sum(values)


def environment(settings):
    """This process's environment without any Tollgate setting but the given ones; ports are the system's choice."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}
    ports = {f"TOLLGATE_PORTS__{name}": "127.0.0.1:0" for name in ("PERMISSIONS", "INFERENCE", "MONITORING")}
    # How busy the machine is and what the clock says are nothing to what a client gets.
    calm = {f"TOLLGATE_LIMITS__LOAD__{level}_FACTOR": "1" for level in ("WARNING", "CRITICAL")}
    calm["TOLLGATE_LIMITS__HOURS"] = "[]"
    return clean | ports | calm | settings


@contextmanager
def running(arguments, settings, log):
    """A process of the binary, ended with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BINARY, *arguments], env=environment(settings), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


@contextmanager
def gateway(folder, engine="", **settings):
    """A gateway in a fresh folder, ready to serve; without an engine it brings a simulated one."""
    folder.mkdir()
    data, log = folder / "data", folder / "gateway.log"
    if engine:
        settings["TOLLGATE_ENGINES"] = engine
    with running(["up", "--data-dir", data, "--listen", "127.0.0.1:0"], settings, log) as process:
        first = data / "first-run.json"

        def look():
            assert process.poll() is None, f"the gateway ended:\n{log.read_text()}"
            return first.exists() and json.loads(first.read_text())

        made = until("the gateway is ready", look)
        assert made["model"], f"no model was found:\n{log.read_text()}"
        yield Gateway(made["base_url"], made["api_key"], made["model"], log)


@contextmanager
def engine(folder, *flags):
    """A simulated engine of its own; yields its URL."""
    folder.mkdir()
    log = folder / "engine.log"
    with running(["engine", "--listen", "127.0.0.1:0", *flags], {}, log) as process:
        before = "simulated engine on "

        def look():
            assert process.poll() is None, f"the engine ended:\n{log.read_text()}"
            lines = (line for line in log.read_text().splitlines() if line.startswith(before))
            return next((line.removeprefix(before) for line in lines), None)

        yield until("the engine is ready", look)
