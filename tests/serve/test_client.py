"""The clients against scripted answers: what is sent, sent again, and raised."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Callable

import httpx
import msgspec
import pytest

from statewise.serve import AsyncClient, Client
from statewise.serve.errors import BadInput, Exists, Gone, NotFound, ServeError, TooBusy
from statewise.serve.exchange import Unreachable
from statewise.serve.session import StepRequest, StepResult

INFO = {
    "id": "a",
    "model": "sales",
    "version": "0" * 16,
    "step": 3,
    "created": 1.0,
    "used": 2.0,
    "expires": None,
    "durability": "none",
    "resident": True,
    "snapshots": [],
}
STEP = {"outputs": [0.5], "step": 1, "replayed": False}


def answer(body: object, status: int = 200, **headers: str) -> httpx.Response:
    kind = {"Content-Type": "application/x-msgpack"}
    return httpx.Response(status, content=msgspec.msgpack.encode(body), headers={**kind, **headers})


def failure(error: ServeError, **headers: str) -> httpx.Response:
    return answer(error.body(), error.status, **headers)


class Script:
    """A server that answers what it is told, one after the other, and keeps what came."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.came = list(answers), []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.came.append(request)
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    def bodies(self) -> list[dict]:
        return [msgspec.msgpack.decode(request.content) for request in self.came]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that clients wait, instead of waiting."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("statewise.serve.client.time.sleep", waited.append)
    monkeypatch.setattr("statewise.serve.client.asyncio.sleep", sleep)
    return waited


def use(kind: str, script: Script, call: Callable, **options: object) -> object:
    """The result of a call by either client."""
    transport = httpx.MockTransport(script)
    if kind == "sync":
        with Client("http://test", transport=transport, **options) as client:
            return call(client)

    async def run() -> object:
        async with AsyncClient("http://test", transport=transport, **options) as client:
            return await call(client)

    return asyncio.run(run())


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
def test_a_step_whose_answer_was_lost_is_sent_again_under_its_own_name(
    kind: str, waits: list[float]
) -> None:
    script = Script(httpx.ReadError("reset"), httpx.ConnectError("refused"), answer(STEP))
    result = use(kind, script, lambda client: client.step("a", [0.25]))
    assert isinstance(result, StepResult)
    assert (result.outputs.tolist(), result.step) == ([0.5], 1)
    first, second, third = script.bodies()
    assert first == second == third
    assert first["request_id"]
    assert waits[-1] > 0


def test_every_step_has_a_name_of_its_own_and_a_given_one_is_kept() -> None:
    script = Script(answer(STEP), answer(STEP), answer(STEP), answer({"results": [STEP, STEP]}))
    with Client("http://test", transport=httpx.MockTransport(script)) as client:
        client.step("a", [0.0])
        client.step("a", [0.0])
        client.step("a", [0.0], request_id="mine", step=2)
        client.step_many([StepRequest("a", [0.0]), StepRequest("b", [0.0])])
    one, two, mine, many = script.bodies()
    names = [one["request_id"], two["request_id"], *(s["request_id"] for s in many["steps"])]
    assert len(set(names)) == 4
    assert (mine["request_id"], mine["step"]) == ("mine", 2)


@both
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(
    kind: str, status: int, waits: list[float]
) -> None:
    busy = answer(TooBusy("full").body(), status, **{"Retry-After": "7"})
    script = Script(busy, answer(STEP))
    use(kind, script, lambda client: client.step("a", [0.0]))
    assert max(waits) == 7.0
    assert script.bodies()[0] == script.bodies()[1]


@both
def test_a_server_that_stays_busy_is_given_up(kind: str, waits: list[float]) -> None:
    script = Script(*(failure(TooBusy("full", retry_after=1)) for _ in range(3)))
    with pytest.raises(TooBusy, match="full"):
        use(kind, script, lambda client: client.step("a", [0.0]), retries=2)
    assert len(script.came) == 3


@both
def test_no_server_is_said_so(kind: str, waits: list[float]) -> None:
    script = Script(*(httpx.ConnectError("refused") for _ in range(3)))
    with pytest.raises(Unreachable, match=r"in 3 tries .*is the server running"):
        use(kind, script, lambda client: client.info("a"), retries=2)


@both
def test_errors_are_those_of_the_server_and_are_not_tried_again(kind: str) -> None:
    script = Script(failure(Gone("the session expired", snapshot="s-1")))
    with pytest.raises(Gone, match="expired") as raised:
        use(kind, script, lambda client: client.step("a", [0.0]))
    assert raised.value.details == {"snapshot": "s-1"}
    assert len(script.came) == 1


def test_an_answer_that_is_not_the_servers_is_an_error_with_its_status() -> None:
    script = Script(httpx.Response(502, text="<h1>Bad gateway</h1>"))
    with (
        Client("http://test", transport=httpx.MockTransport(script)) as client,
        pytest.raises(ServeError, match="HTTP 502: <h1>Bad") as raised,
    ):
        client.models()
    assert raised.value.status == 502


@both
def test_a_session_whose_creation_was_lost_is_found_not_made_twice(
    kind: str, waits: list[float]
) -> None:
    script = Script(httpx.ReadError("reset"), failure(Exists("lives")), answer(INFO))
    info = use(kind, script, lambda client: client.create("sales"))
    assert info.id == "a"
    created, again, read = script.came
    assert created.content == again.content
    own = msgspec.msgpack.decode(created.content)["id"]
    assert (read.method, read.url.path) == ("GET", f"/v1/sessions/{own}")


def test_an_id_that_the_caller_chose_and_that_exists_is_an_error(waits: list[float]) -> None:
    script = Script(httpx.ReadError("reset"), failure(Exists("lives")))
    with (
        Client("http://test", transport=httpx.MockTransport(script)) as client,
        pytest.raises(Exists),
    ):
        client.create("sales", id="mine")


@both
def test_a_deletion_whose_answer_was_lost_is_done(kind: str, waits: list[float]) -> None:
    lost = Script(httpx.ReadError("reset"), failure(Gone("deleted", snapshot="last")))
    assert use(kind, lost, lambda client: client.delete("a")) == "last"
    with pytest.raises(Gone):
        use(
            kind,
            Script(failure(Gone("deleted", snapshot="last"))),
            lambda client: client.delete("a"),
        )


def test_errors_of_single_entries_are_returned_in_their_places() -> None:
    entries = [STEP, NotFound("no session 'b'").body(), BadInput("NaN").body()]
    script = Script(answer({"results": entries}))
    with Client("http://test", transport=httpx.MockTransport(script)) as client:
        steps = [StepRequest(name, [0.0]) for name in "abc"]
        one, two, three = client.step_many(steps)
    assert isinstance(one, StepResult)
    assert (type(two), type(three)) == (NotFound, BadInput)


def test_pages_are_followed_to_the_last() -> None:
    pages = [{"sessions": [INFO, INFO], "cursor": "a"}, {"sessions": [INFO], "cursor": None}]
    script = Script(*map(answer, pages))
    with Client("http://test", transport=httpx.MockTransport(script)) as client:
        assert len(list(client.sessions())) == 3
    assert [request.url.params.get("cursor") for request in script.came] == [None, "a"]


def test_ids_and_tokens_go_where_they_belong() -> None:
    script = Script(answer(INFO))
    transport = httpx.MockTransport(script)
    with Client("http://test", token="secret", transport=transport) as client:
        client.info("a/b ?#ü")
    request = script.came[0]
    assert request.url.raw_path == b"/v1/sessions/a%2Fb%20%3F%23%C3%BC"
    assert request.headers["authorization"] == "Bearer secret"


def test_both_clients_have_the_same_methods() -> None:
    def signatures(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: list(inspect.signature(function).parameters)
            for name, function in found
            if not name.startswith("_")
        }

    assert signatures(Client) == signatures(AsyncClient)


def test_a_client_needs_neither_torch_nor_a_web_framework() -> None:
    code = (
        "import sys; from statewise.serve import Client; Client(); "
        "print([m for m in ('torch', 'fastapi', 'starlette', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
