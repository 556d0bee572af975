"""Responses as the official client asks for them: whole, streamed, gone on from, read again, and nobody else's."""

import openai
import pytest


def ask(client, gateway, **more):
    """A response of a few tokens."""
    return client.responses.create(model=gateway.model, input="w1 w2 w3", max_output_tokens=8, temperature=0, **more)


def test_whole(client, gateway):
    raw = client.responses.with_raw_response.create(
        model=gateway.model, input="w1 w2 w3", max_output_tokens=8, extra_headers={"x-request-id": "responses-whole"}
    )
    response = raw.parse()
    assert response.object == "response" and response.status == "incomplete"
    assert response.output_text
    assert (response.usage.input_tokens, response.usage.output_tokens) == (6, 8)
    record = gateway.record("responses-whole")
    assert (int(record["prompt_tokens"]), int(record["completion_tokens"])) == (6, 8)
    assert (record["endpoint"], record["outcome"], record["estimated"]) == ("responses", "OUTCOME_FINISHED", False)


def test_streamed(client, gateway):
    events = list(ask(client, gateway, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == ask(client, gateway).output_text
    assert events[-1].response.usage.output_tokens == 8


def test_the_stream_helper(client, gateway):
    with client.responses.stream(model=gateway.model, input="w1 w2 w3", max_output_tokens=8, temperature=0) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == ask(client, gateway).output_text


def test_a_conversation(client, gateway):
    first = ask(client, gateway)
    second = ask(client, gateway, previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens + 8
    assert client.responses.retrieve(second.id).output_text == second.output_text


def test_another_person_does_not_find_it(client, client_of, gateway):
    user, key = gateway.person()
    gateway.grant(user)
    first = ask(client, gateway)
    stranger = client_of(gateway, key)
    with pytest.raises(openai.NotFoundError) as refused:
        stranger.responses.retrieve(first.id)
    assert refused.value.code == "response_not_found"


def test_what_is_not_offered(client, gateway):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, gateway, background=True)
    assert refused.value.param == "background"
    first = ask(client, gateway)
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(first.id)
    with pytest.raises(openai.APIStatusError) as refused:
        client.responses.delete(first.id)
    assert refused.value.status_code == 405
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_that_never_was")
