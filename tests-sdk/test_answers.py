"""What a caller gets who may: models, chat and completions, whole and streamed."""

import uuid

from gateway import until

HELLO = [{"role": "user", "content": "w1 w2 w3"}]
EXACTLY = {"ignore_eos": True}
"""Makes an engine go on to max_tokens; not OpenAI's, so it goes in `extra_body`."""


def test_models_are_those_that_the_key_may_use(gateway, client_of):
    user_id, key = gateway.person()
    client = client_of(gateway, key)
    assert client.models.list().data == []
    gateway.grant(user_id)
    models = until("the grant is known", lambda: client.models.list().data)
    assert [(model.id, model.object) for model in models] == [(gateway.model, "model")]
    assert client.models.retrieve(gateway.model).id == gateway.model


def test_a_chat(client, gateway):
    answer = client.chat.completions.create(
        model=gateway.model, messages=HELLO, max_tokens=7, temperature=0, extra_body=EXACTLY
    )
    assert answer.object == "chat.completion" and answer.model == gateway.model
    [choice] = answer.choices
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason == "length"
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens == 7
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 7


def test_the_headers_name_the_request_and_its_record(client, gateway):
    raw = client.chat.completions.with_raw_response.create(model=gateway.model, messages=HELLO, max_tokens=5)
    usage_id, answer = raw.headers["x-tollgate-usage-id"], raw.parse()
    assert uuid.UUID(usage_id).version == 7
    assert raw.headers["x-request-id"] == raw.request_id == answer._request_id
    record = gateway.record(raw.request_id)
    assert record["usage_id"] == usage_id
    assert record["outcome"] == "OUTCOME_FINISHED" and not record["estimated"]
    assert record["prompt_tokens"] == answer.usage.prompt_tokens
    assert record["completion_tokens"] == answer.usage.completion_tokens


def test_a_request_id_of_the_caller_is_kept(client, gateway):
    name = f"my-{uuid.uuid4()}"
    raw = client.chat.completions.with_raw_response.create(
        model=gateway.model, messages=HELLO, max_tokens=1, extra_headers={"x-request-id": name}
    )
    assert raw.headers["x-request-id"] == name
    assert gateway.record(name)["request_id"] == name


def test_a_streamed_chat_without_usage(client, gateway):
    raw = client.chat.completions.with_raw_response.create(
        model=gateway.model, messages=HELLO, max_tokens=6, stream=True, extra_body=EXACTLY
    )
    assert raw.headers["content-type"].startswith("text/event-stream")
    chunks = list(raw.parse())
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["length"]
    assert len({chunk.id for chunk in chunks}) == 1
    record = gateway.record(raw.headers["x-request-id"])
    assert record["completion_tokens"] == 6 and not record["estimated"] and record["stream"]


def test_a_streamed_chat_with_usage(client, gateway):
    raw = client.chat.completions.with_raw_response.create(
        model=gateway.model,
        messages=HELLO,
        max_tokens=6,
        stream=True,
        stream_options={"include_usage": True},
        extra_body=EXACTLY,
    )
    *chunks, last = raw.parse()
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == [] and last.usage.completion_tokens == 6
    record = gateway.record(raw.headers["x-request-id"])
    assert record["prompt_tokens"] == last.usage.prompt_tokens
    assert record["completion_tokens"] == last.usage.completion_tokens


def test_a_stream_says_what_the_whole_answer_says(client, gateway):
    ask = dict(model=gateway.model, messages=HELLO, max_tokens=12, temperature=0, seed=1, extra_body=EXACTLY)
    whole = client.chat.completions.create(**ask).choices[0].message.content
    pieces = client.chat.completions.create(**ask, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == whole


def test_two_choices(client, gateway):
    answer = client.chat.completions.create(
        model=gateway.model, messages=HELLO, max_tokens=4, n=2, extra_body=EXACTLY
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage.completion_tokens == 8


def test_a_completion(client, gateway):
    answer = client.completions.create(model=gateway.model, prompt="w1 w2", max_tokens=5, extra_body=EXACTLY)
    assert answer.object == "text_completion" and answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5


def test_a_streamed_completion(client, gateway):
    ask = dict(model=gateway.model, prompt="w1 w2", max_tokens=5, temperature=0, seed=1, extra_body=EXACTLY)
    whole = client.completions.create(**ask).choices[0].text
    *chunks, last = client.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole
    assert last.choices == [] and last.usage.completion_tokens == 5
