"""What a caller gets who may not or cannot: the client's own exceptions, and one shape of body whoever refuses."""

import json
import urllib.request

import httpx2
import openai
import pytest

from gateway import until

WRONG_KEY = "tgk_" + "0" * 43
HELLO = [{"role": "user", "content": "w1 w2 w3"}]


def check(response, status):
    """The body has OpenAI's four fields, always all of them and nothing else. Returns them."""
    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"error"}, body
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, body
    assert isinstance(error["message"], str) and error["message"], body
    assert isinstance(error["type"], str) and error["type"], body
    assert isinstance(error["code"], str) and error["code"], body
    assert error["param"] is None or isinstance(error["param"], str), body
    return error


def refused(kind, status, call):
    """The error of a call that must raise this exception."""
    with pytest.raises(kind) as raised:
        call()
    assert type(raised.value) is kind
    return check(raised.value.response, status)


def chat(client, model, messages=HELLO, **more):
    return client.chat.completions.create(model=model, messages=messages, **{"max_tokens": 4, **more})


def test_a_wrong_key(gateway, client_of):
    client = client_of(gateway, WRONG_KEY)
    for call in (client.models.list, lambda: chat(client, gateway.model)):
        assert refused(openai.AuthenticationError, 401, call)["code"] == "invalid_api_key"


def test_no_key(gateway):
    answer = httpx2.get(f"{gateway.base_url}/models")
    assert check(answer, 401)["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key(gateway, client_of):
    user_id, secret = gateway.person()
    [key] = gateway.rest("GET", f"keys?user_id={user_id}")["keys"]
    gateway.rest("DELETE", f"keys/{key['key_id']}?reason=lost")
    client = client_of(gateway, secret)
    until("the key is no longer taken", lambda: not gateway.accepts(secret))
    refused(openai.AuthenticationError, 401, client.models.list)


def test_no_grant(gateway, client_of):
    client = client_of(gateway, gateway.person()[1])
    for stream in (False, True):
        error = refused(openai.PermissionDeniedError, 403, lambda: chat(client, gateway.model, stream=stream))
        assert error["param"] == "model" and gateway.model in error["message"]


def test_an_unknown_model(client):
    for call in (
        lambda: chat(client, "no-such-model"),
        lambda: client.completions.create(model="no-such-model", prompt="w1"),
        lambda: client.embeddings.create(model="no-such-model", input="w1"),
        lambda: client.models.retrieve("no-such-model"),
    ):
        error = refused(openai.NotFoundError, 404, call)
        assert error["param"] == "model" and "no-such-model" in error["message"]


@pytest.mark.parametrize(
    "more, param",
    [
        ({"messages": "hello"}, None),
        ({"messages": []}, None),
        ({"temperature": -1}, "temperature"),
        ({"n": 0}, None),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
    ids=str,
)
def test_a_bad_body(client, gateway, more, param):
    error = refused(openai.BadRequestError, 400, lambda: chat(client, gateway.model, **more))
    assert param is None or error["param"] == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":', b"\xff"], ids=str)
def test_what_is_not_json(gateway, body):
    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
    check(httpx2.post(f"{gateway.base_url}/chat/completions", content=body, headers=headers), 400)


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long(client, gateway, stream):
    messages = [{"role": "user", "content": "w1 " * 6000}]
    error = refused(openai.BadRequestError, 400, lambda: chat(client, gateway.model, messages, stream=stream))
    assert "maximum context length" in error["message"], "the engine's own words help the caller"


def test_an_engine_without_embeddings(narrow, client_of):
    client = client_of(narrow)
    refused(openai.NotFoundError, 404, lambda: client.embeddings.create(model=narrow.model, input="w1"))


def test_an_unknown_route(client, gateway):
    refused(openai.NotFoundError, 404, lambda: client.get("/nothing", cast_to=object))
    refused(openai.NotFoundError, 404, lambda: client.post("/chat/completions/nothing", cast_to=object, body={}))


def test_a_wrong_method(client):
    refused(openai.APIStatusError, 405, lambda: client.delete("/models", cast_to=object))


def fail_once(engine, **fault):
    """Makes the next request of a simulated engine go wrong."""
    request = urllib.request.Request(f"{engine}/simulator/fault", method="POST", data=json.dumps(fault).encode())
    request.add_header("content-type", "application/json")
    urllib.request.urlopen(request).close()


def test_a_stream_that_breaks_off_raises(narrow, narrow_engine, client_of):
    fail_once(narrow_engine, in_band_error={"after_events": 3, "status": 500, "times": 1})
    stream = chat(client_of(narrow), narrow.model, stream=True, max_tokens=20)
    seen = []
    with pytest.raises(openai.APIError) as raised:
        seen.extend(stream)
    assert len(seen) == 3 and raised.value.message


def test_an_engine_that_fails_for_good_is_503(narrow, narrow_engine, client_of):
    fail_once(narrow_engine, in_band_error={"after_events": 0, "status": 500})
    try:
        for stream in (False, True):
            call = lambda: chat(client_of(narrow), narrow.model, stream=stream)
            with pytest.raises(openai.InternalServerError) as raised:
                call()
            check(raised.value.response, 503)
            assert int(raised.value.response.headers["retry-after"]) >= 1
    finally:
        fail_once(narrow_engine)
    assert chat(client_of(narrow), narrow.model).choices[0].message.content
