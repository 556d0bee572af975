"""Files and batches, as the official client uses them."""

import io
import json

import openai
import pytest

from gateway import ENGINE, until

CHAT = "/v1/chat/completions"


def lines(*all):
    """A file of these lines."""
    return io.BytesIO("".join(line if isinstance(line, str) else f"{json.dumps(line)}\n" for line in all).encode())


def ask(model, name, url=CHAT, **body):
    body = body or {"messages": [{"role": "user", "content": f"w1 {name}"}], "max_tokens": 3}
    return {"custom_id": name, "method": "POST", "url": url, "body": {"model": model, **body}}


def create(client, file, **more):
    """A batch of a file."""
    uploaded = client.files.create(file=("lines.jsonl", file), purpose="batch")
    usual = dict(input_file_id=uploaded.id, endpoint=CHAT, completion_window="24h")
    return client.batches.create(**(usual | more))


def run(client, file, endpoint=CHAT):
    """A batch of a file, once it is over."""
    batch = create(client, file, endpoint=endpoint, metadata={"made": "by a test"})
    assert batch.status in ("validating", "in_progress", "finalizing", "completed")
    return over(client, batch)


def over(client, batch):
    """A batch, once it is over."""

    def look():
        found = client.batches.retrieve(batch.id)
        return found if found.status in ("completed", "failed", "expired", "cancelled") else None

    return until("the batch is over", look)


def content(client, file_id):
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_a_file_goes_in_and_out(client):
    made = client.files.create(file=("some lines.jsonl", lines({"a": 1}, {"b": 2})), purpose="batch")
    assert (made.object, made.purpose, made.filename, made.status) == ("file", "batch", "some lines.jsonl", "processed")
    assert client.files.retrieve(made.id).bytes == made.bytes == 18
    assert client.files.content(made.id).text == '{"a": 1}\n{"b": 2}\n'
    assert made.id in [file.id for file in client.files.list(purpose="batch")]
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError) as refused:
        client.files.retrieve(made.id)
    assert refused.value.code == "file_not_found"


def test_a_large_file_comes_back_byte_for_byte(client):
    # Longer than a piece of the table, and than a chunk of the way.
    file = lines(*[{"custom_id": f"line {number}", "text": "ä" * 20} for number in range(20_000)])
    made = client.files.create(file=("large.jsonl", file), purpose="batch")
    assert made.bytes == len(file.getvalue())
    assert client.files.content(made.id).read() == file.getvalue()


def test_files_are_listed_page_by_page(gateway, client_of):
    client = client_of(gateway, gateway.person()[1])
    made = [client.files.create(file=("lines.jsonl", lines({"n": n})), purpose="batch").id for n in range(5)]
    assert [file.id for file in client.files.list(limit=2)] == made[::-1], "the newest first"
    oldest = client.files.list(order="asc", limit=3)
    assert [file.id for file in oldest.data] == made[:3] and oldest.has_more
    assert len(client.files.list(purpose="batch").data) == 5
    assert client.files.list(purpose="batch_output").data == []


def test_a_file_is_kept_as_long_as_it_is_said(client):
    expires = {"anchor": "created_at", "seconds": 7200}
    made = client.files.create(file=("lines.jsonl", lines({})), purpose="batch", expires_after=expires)
    assert abs(made.expires_at - made.created_at - 7200) <= 60


def test_a_batch_of_chats(client, gateway):
    all = [ask(gateway.model, f"line-{number}") for number in range(20)] + [ask("nobody-knows-it", "unknown")]
    batch = run(client, lines(*all))
    assert batch.status == "completed" and batch.metadata == {"made": "by a test"}
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (21, 20, 1)
    answers = content(client, batch.output_file_id)
    assert sorted(line["custom_id"] for line in answers) == sorted(f"line-{number}" for number in range(20))
    assert all_ok(answers) and answers[0]["response"]["body"]["object"] == "chat.completion"
    [error] = content(client, batch.error_file_id)
    assert error["custom_id"] == "unknown" and error["response"]["status_code"] == 404
    record = gateway.record(answers[0]["response"]["request_id"])
    assert record["completion_tokens"] == answers[0]["response"]["body"]["usage"]["completion_tokens"]
    assert batch.id in [found.id for found in client.batches.list(limit=5)]


def all_ok(answers):
    return all(line["response"]["status_code"] == 200 and line["error"] is None for line in answers)


def test_a_batch_of_completions(client, gateway):
    file = lines(*[ask(gateway.model, f"{n}", "/v1/completions", prompt="w1", max_tokens=2) for n in range(3)])
    batch = run(client, file, "/v1/completions")
    answers = content(client, batch.output_file_id)
    assert len(answers) == 3 and all_ok(answers)


@pytest.mark.skipif(bool(ENGINE), reason="an engine that generates has no embeddings")
def test_a_batch_of_embeddings(client, gateway):
    url = "/v1/embeddings"
    file = lines(*[ask(gateway.model, f"{n}", url, input=[f"w{n}", "w9"]) for n in range(3)])
    answers = content(client, run(client, file, url).output_file_id)
    assert all_ok(answers) and [len(line["response"]["body"]["data"]) for line in answers] == [2, 2, 2]


def test_a_batch_that_is_cancelled_keeps_what_was_answered(client, gateway):
    hello = [{"role": "user", "content": "w1"}]
    long = dict(messages=hello, max_tokens=500, ignore_eos=True)
    made = create(client, lines(*[ask(gateway.model, f"{n}", **long) for n in range(400)]))
    until("it runs", lambda: client.batches.retrieve(made.id).status == "in_progress")
    assert client.batches.cancel(made.id).status in ("cancelling", "cancelled")
    batch = over(client, made)
    counts = batch.request_counts
    assert batch.status == "cancelled" and counts.total == 400 and counts.completed + counts.failed < 400
    answers = content(client, batch.output_file_id) if batch.output_file_id else []
    assert len(answers) == counts.completed and all_ok(answers)
    until("the engine is idle", gateway.idle)


def test_batches_are_listed_page_by_page(gateway, client_of):
    user_id, key = gateway.person()
    gateway.grant(user_id)
    client = client_of(gateway, key)
    made = [create(client, lines(ask(gateway.model, f"{n}"))).id for n in range(5)]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]


@pytest.mark.parametrize(
    "more, param",
    [
        ({"endpoint": "/v1/nothing"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"metadata": {"long": "x" * 513}}, "metadata"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_batch_is_refused(client, gateway, more, param):
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, lines(ask(gateway.model, "one")), **more)
    assert refused.value.param == param


def test_a_batch_of_no_file_is_refused(client):
    with pytest.raises(openai.NotFoundError) as refused:
        create(client, lines({}), input_file_id=f"file-{'0' * 32}")
    assert refused.value.code == "file_not_found"


def test_a_file_with_wrong_lines_fails_and_says_where(client, gateway):
    one = ask(gateway.model, "one")
    batch = run(client, lines(one, "{nonsense\n", one))
    assert batch.status == "failed" and batch.output_file_id is None
    assert [(fault.line, fault.code) for fault in batch.errors.data] == [
        (2, "invalid_json_line"),
        (3, "duplicate_custom_id"),
    ]


def test_what_is_no_file_of_lines_is_refused(client):
    for bad in (b"", b"[1]\n", b"\xff\xfe{}"):
        with pytest.raises(openai.BadRequestError):
            client.files.create(file=("bad.jsonl", io.BytesIO(bad)), purpose="batch")
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("lines.jsonl", lines({})), purpose="assistants")
    assert refused.value.param == "purpose"


def test_files_and_batches_are_seen_by_their_owner_alone(client, gateway, client_of):
    batch = run(client, lines(ask(gateway.model, "mine")))
    user_id, key = gateway.person()
    gateway.grant(user_id)
    other = client_of(gateway, key)
    assert other.files.list().data == [] and other.batches.list().data == []
    for look in (
        lambda: other.files.retrieve(batch.input_file_id),
        lambda: other.files.content(batch.output_file_id),
        lambda: other.files.delete(batch.input_file_id),
        lambda: other.batches.retrieve(batch.id),
        lambda: other.batches.cancel(batch.id),
        lambda: other.batches.create(input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h"),
    ):
        with pytest.raises(openai.NotFoundError):
            look()
