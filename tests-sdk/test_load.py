"""Many requests at once, more than there is room for, and callers who go away."""

import asyncio

import openai
import pytest

from gateway import until
from test_errors import check


def asked(gateway, content="w1 w2 w3", **more):
    body = {"model": gateway.model, "messages": [{"role": "user", "content": content}]}
    return body | {"max_tokens": 8, "extra_body": {"ignore_eos": True}} | more


PATIENT = {"x-tollgate-priority": "batch"}
"""On a slow machine too, so many are answered sooner or later."""


def test_fifty_at_once(gateway, run):
    async def one(client, number):
        create = client.chat.completions.with_raw_response.create
        ask = asked(gateway, f"w{number} w1", max_tokens=number % 5 + 1, extra_headers=PATIENT)
        raw = await create(**ask)
        return raw.headers["x-request-id"], raw.parse()

    async def all_of_them(client):
        return await asyncio.gather(*(one(client, number) for number in range(50)))

    answers = run(gateway, all_of_them)
    assert len({request_id for request_id, _ in answers}) == len({answer.id for _, answer in answers}) == 50
    for number, (request_id, answer) in enumerate(answers):
        assert answer.usage.completion_tokens == number % 5 + 1
        record = gateway.record(request_id)
        assert record["completion_tokens"] == answer.usage.completion_tokens
        assert record["prompt_tokens"] == answer.usage.prompt_tokens


def test_fifty_streams_at_once(gateway, run):
    async def one(client, number):
        usage = {"include_usage": True}
        ask = asked(gateway, f"w{number}", stream=True, stream_options=usage, extra_headers=PATIENT)
        chunks = [chunk async for chunk in await client.chat.completions.create(**ask)]
        assert len({chunk.id for chunk in chunks}) == 1, "streams were mixed up"
        assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["length"]
        return chunks[-1].usage.completion_tokens

    async def all_of_them(client):
        return await asyncio.gather(*(one(client, number) for number in range(50)))

    assert run(gateway, all_of_them) == [8] * 50


def test_a_closed_stream_is_aborted_and_accounted_for(gateway, run):
    async def leave(client):
        ask = asked(gateway, max_tokens=3000, stream=True)
        raw = await client.chat.completions.with_raw_response.create(**ask)
        stream, seen = raw.parse(), 0
        async for _ in stream:
            seen += 1
            if seen == 4:
                break
        await stream.close()
        return raw.headers["x-request-id"]

    request_id = run(gateway, leave)
    until("the engine is idle", gateway.idle)
    record = gateway.record(request_id)
    assert record["outcome"] == "OUTCOME_CANCELLED" and record["estimated"]
    assert 3 <= record["completion_tokens"] < 3000


def test_a_full_queue_says_when_to_come_back(narrow, run):
    async def three(client):
        # One runs and one waits; who comes then is refused.
        running = await client.chat.completions.create(**asked(narrow, max_tokens=3000, stream=True))
        await anext(running)
        create = client.chat.completions.create
        others = [asyncio.ensure_future(create(**asked(narrow, max_tokens=1))) for _ in range(2)]
        done, waiting = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        await running.close()
        # The place is free at once, so the one that waited is served.
        served = await asyncio.gather(*waiting)
        return [task.exception() for task in done], served

    [refusal], [served] = run(narrow, three)
    assert type(refusal) is openai.RateLimitError
    error = check(refusal.response, 429)
    assert error["code"] == "queue_full" and narrow.model in error["message"]
    assert int(refusal.response.headers["retry-after"]) >= 1
    assert served.usage.completion_tokens == 1
    until("the engine is idle", narrow.idle)


def test_who_stops_waiting_leaves_the_queue(narrow, run):
    async def leave(client):
        running = await client.chat.completions.create(**asked(narrow, max_tokens=3000, stream=True))
        await anext(running)
        create = client.chat.completions.create
        others = [asyncio.ensure_future(create(**asked(narrow, max_tokens=1))) for _ in range(2)]
        done, waiting = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        assert [type(task.exception()) for task in done] == [openai.RateLimitError]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        # A free place in the queue shows by not being refused: the deadline passes while waiting.
        while True:
            with pytest.raises((openai.RateLimitError, openai.APIStatusError)) as raised:
                await create(**asked(narrow, max_tokens=1), extra_headers={"grpc-timeout": "300m"})
            if raised.value.status_code != 429:
                break
        await running.close()
        return raised.value

    check(run(narrow, leave).response, 408)
    until("the engine is idle", narrow.idle)
