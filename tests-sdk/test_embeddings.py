"""Embeddings: as numbers, and as the base64 that the client asks for unless it is told otherwise."""

import base64
import struct

import openai
import pytest

from gateway import ENGINE

pooling = pytest.mark.skipif(bool(ENGINE), reason="an engine that generates has no embeddings")


@pytest.mark.skipif(not ENGINE, reason="the simulated engine has embeddings")
def test_an_engine_that_generates_has_none(client, gateway):
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=gateway.model, input="w1")


@pooling
def test_embeddings(client, gateway):
    texts = ["w1 w2 w3", "w4", "w1 w2 w3"]
    raw = client.embeddings.with_raw_response.create(model=gateway.model, input=texts)
    answer = raw.parse()
    assert [item.index for item in answer.data] == [0, 1, 2]
    one, other, again = (item.embedding for item in answer.data)
    assert len(one) == len(other) > 0 and one == again != other
    record = gateway.record(raw.headers["x-request-id"])
    assert record["prompt_tokens"] == answer.usage.prompt_tokens > 0
    assert record["completion_tokens"] == 0 and record["endpoint"] == "embeddings"


@pooling
def test_both_formats_say_the_same(client, gateway):
    ask = dict(model=gateway.model, input="w5 w6")
    numbers = client.embeddings.create(**ask, encoding_format="float")
    # Asked for by name, base64 is handed on as it came.
    text = client.embeddings.create(**ask, encoding_format="base64")
    packed = base64.b64decode(text.data[0].embedding)
    same = pytest.approx(numbers.data[0].embedding, abs=1e-6)
    assert list(struct.unpack(f"<{len(packed) // 4}f", packed)) == same
    assert client.embeddings.create(**ask).data[0].embedding == same
    assert text.usage == numbers.usage


@pooling
def test_tokens_in_the_place_of_texts(client, gateway):
    answer = client.embeddings.create(model=gateway.model, input=[[1, 2, 3], [4]])
    assert len(answer.data) == 2 and answer.usage.prompt_tokens == 4


@pooling
def test_a_hundred_texts_keep_their_order(client, gateway):
    ask = dict(model=gateway.model, encoding_format="float")
    all = client.embeddings.create(**ask, input=[f"w{number}" for number in range(100)])
    assert [item.index for item in all.data] == list(range(100))
    for number in (0, 41, 99):
        alone = client.embeddings.create(**ask, input=f"w{number}")
        assert alone.data[0].embedding == pytest.approx(all.data[number].embedding, abs=1e-6)
