"""The gateways that the tests share, and clients that know nothing of them but a base URL and a key."""

import asyncio

import openai
import pytest

import gateway as gateways

@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """As it comes: one engine, simulated unless TOLLGATE_TEST_ENGINE names a real one."""
    folder = tmp_path_factory.mktemp("usual") / "gateway"
    with gateways.gateway(folder, gateways.ENGINE) as started:
        yield started


@pytest.fixture(scope="session")
def narrow_engine(tmp_path_factory):
    """A simulated engine without embeddings that runs one request at a time and can be made to fail."""
    flags = ("--task", "generate", "--model", "narrow", "--max-num-seqs", "1", "--faults")
    with gateways.engine(tmp_path_factory.mktemp("narrow") / "engine", *flags) as url:
        yield url


@pytest.fixture(scope="session")
def narrow(tmp_path_factory, narrow_engine):
    """A gateway that lets one request through and one wait."""
    settings = {
        "TOLLGATE_INFERENCE__QUEUE__LENGTH": "1",
        "TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT": "1",
        # Its engine is made to fail, and is to be asked again at once.
        "TOLLGATE_INFERENCE__ENGINE__BREAKER__FAILURES": "1000",
    }
    with gateways.gateway(tmp_path_factory.mktemp("narrow") / "gateway", narrow_engine, **settings) as started:
        yield started


@pytest.fixture
def client(gateway):
    """The official client of the owner, who may use the model."""
    with openai.OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0) as client:
        yield client


@pytest.fixture
def client_of():
    """Makes the official client for any gateway and key."""
    clients = []

    def make(gateway, key=None):
        clients.append(openai.OpenAI(base_url=gateway.base_url, api_key=key or gateway.key, max_retries=0))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def run():
    """Runs a test's coroutine with an asynchronous client of a gateway's owner."""

    def run(gateway, test):
        async def whole():
            async with openai.AsyncOpenAI(
                base_url=gateway.base_url, api_key=gateway.key, max_retries=0, timeout=gateways.PATIENCE
            ) as client:
                return await asyncio.wait_for(test(client), gateways.PATIENCE)

        return asyncio.run(whole())

    return run
