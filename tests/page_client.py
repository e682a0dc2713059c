"""A client of the JSON API and the event streams, as the page is."""

import contextlib
import copy
import io
import json
import urllib.parse

import aiohttp

from tests.api_schema import check_error, check_event, check_response

SAME_ORIGIN = {"sec-fetch-site": "same-origin"}  # as browsers send it with the requests of the page
PARAMETERS = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 1024, "system_prompt": ""}


class Refused(Exception):
    """The chat responded with an error; its text is for the user.

    Attributes:
        status: the response's, 200 where a stream had begun.
        error: the object in the response.
    """

    def __init__(self, error, status=200):
        super().__init__(error["text"] if isinstance(error, dict) else error)
        self.error = error
        self.status = status


class NotInWords(Exception):
    """The chat responded with an error that no page can show: it is not JSON."""


class PageClient:
    """One open page."""

    def __init__(self, http, url):
        self._http = http
        self._url = url
        self.entries = []  # the messages, after the last event
        self.earlier = 0  # number of earlier messages that are not loaded
        self.titles = []  # received in streams

    async def open(self):
        """Load the state; a browser without a session gets a guest cookie."""
        self.state = await self.get("state")
        return self

    async def second_tab(self):
        """Open the page once more in the same browser."""
        return await PageClient(self._http, self._url).open()

    async def get(self, path, **parameters):
        """Return the response of a route of the API."""
        return await self.ask("GET", path, params=parameters)

    async def ask(self, method, path, body=None, **options):
        """Send a request with a JSON body, and return the JSON of the response.

        Raises:
            Refused: the response is an error.
        """
        async with self._http.request(method, f"{self._url}/{path}", **_json(body), **options) as response:
            await _refuse(response)
            reply = await response.json()
            check_response(method, path, reply)
            return reply

    async def models(self):
        """Return the models by id."""
        return {model["id"]: model for model in (await self.get("models"))["models"]}

    async def listed(self, **parameters):
        """Return the titles of the list, pinned conversations first."""
        page = await self.get("conversations", **parameters)
        return [item["title"] for item in [*page["pinned"], *page["items"]]]

    async def change(self, conversation, **changes):
        """Rename, pin or archive a conversation, or switch to another branch of it."""
        return await self.ask("PATCH", path_of(conversation), changes)

    async def delete(self, conversation):
        """Delete a conversation; `restore` undoes it for some seconds."""
        return await self.ask("DELETE", path_of(conversation))

    async def restore(self, conversation):
        """Undo a deletion."""
        return await self.ask("POST", f"{path_of(conversation)}/restore", {})

    async def stop(self, conversation):
        """Stop the answers in progress."""
        await self.ask("POST", f"{path_of(conversation)}/stop", {})

    async def follow(self, conversation):
        """Yield the messages of a conversation after each change, until its answers are complete."""
        async with self._http.get(f"{self._url}/{path_of(conversation)}/events") as stream:
            async for entries in self._shown(stream):
                yield entries

    async def watch_until(self, conversation, condition):
        """Follow a conversation until ``condition(entries)`` holds, then close the stream, as a closed tab does."""
        async with contextlib.aclosing(self.follow(conversation)) as changes:
            async for entries in changes:
                if condition(entries):
                    return entries
        raise AssertionError("the answer ended before that")

    async def messages(self, conversation):
        """Return the messages of a conversation when its answers are complete."""
        async with contextlib.aclosing(self.follow(conversation)) as changes:
            async for entries in changes:
                last = entries
        return last

    async def upload_document(self, file, name="notes.txt", *, collection="", **parameters):
        """Upload the file of a document, bytes or text, and return what the chat says of it.

        ``collection`` is the id of a collection that it is added to.

        Raises:
            Refused: the response is an error.
        """
        file = io.BytesIO(file.encode() if isinstance(file, str) else file)
        options = {"headers": {"content-type": "application/octet-stream"}, "params": {"name": name, **parameters}}
        path = f"collections/{collection}/documents" if collection else "documents"
        async with self._http.post(f"{self._url}/{path}", data=file, **options) as response:
            await _refuse(response)
            reply = await response.json()
            check_response("POST", path, reply)
            return reply

    async def send(self, text, *, conversation="", model="scripted", **changes):
        """Send a message, close the stream at once, and return the id of the conversation."""
        path = f"{path_of(conversation)}/turns" if conversation else "conversations"
        return await self._begin(path, {"text": text, "model": model, **PARAMETERS, **changes})

    async def answer_again(self, conversation, question, *, model="scripted", **changes):
        """Regenerate the answer to a question."""
        await self._begin(f"{path_of(conversation)}/answers", {"question": question, "model": model, **changes})

    async def go_on(self, conversation, message, *, model="scripted", **changes):
        """Continue an incomplete answer, given the id of its message."""
        path = f"{path_of(conversation)}/continuations"
        await self._begin(path, {"message": message, "model": model, **PARAMETERS, **changes})

    async def send_and_read(self, path, body):
        """Send a body, and yield the messages after each change in the response stream."""
        async with self._http.post(f"{self._url}/{path}", **_json(body)) as stream:
            async for entries in self._shown(stream, begun=self.entries):
                yield entries

    async def _begin(self, path, body):
        async with self._http.post(f"{self._url}/{path}", **_json(body)) as stream:
            await _refuse(stream)
            async for event in events(stream):
                return event["started"]["conversation"]["id"]
        raise Refused("the stream ended at once")

    async def _shown(self, stream, begun=()):
        await _refuse(stream)
        self.entries = list(begun)
        async for event in events(stream):
            if "end" in event:
                return
            if "error" in event:
                raise Refused(event["error"])
            if "title" in event:
                self.titles.append(event["title"])
            self.earlier = event.get("earlier", self.earlier) if event.get("after") == "" else self.earlier
            self.entries = apply_event(self.entries, event)
            yield copy.deepcopy(self.entries)
        raise ConnectionError("the stream ended before the conversation did")


def path_of(conversation):
    """Return the path of a conversation, whatever characters its id has."""
    name = urllib.parse.quote(str(conversation), safe="", errors="surrogatepass")
    return f"conversations/{name}"


def _json(body):
    # ASCII, so that a test can send half of a surrogate pair as JSON can.
    if body is None:
        return {}
    return {"data": json.dumps(body).encode("ascii"), "headers": {"content-type": "application/json"}}


async def _refuse(response):
    if response.status != 200:
        if response.content_type != "application/json":
            raise NotInWords(f"{response.status} {(await response.text())[:100]}")
        body = await response.json()
        check_error(body)
        raise Refused(body["error"], response.status)


async def events(stream):
    """Yield the events of a response, as `chatapp.http.api.schemas.events` describes them."""
    async for line in stream.content:
        if line.startswith(b"data:"):
            event = json.loads(line[5:])
            check_event(event)
            yield event


def apply_event(entries, event):
    """Return the messages after an event, as the page computes them."""
    if "messages" in event:
        ids = [entry["id"] for entry in entries]
        unchanged = ids.index(event["after"]) + 1 if event["after"] else 0
        return [*entries[:unchanged], *event["messages"]]
    if "message" in event:
        return [event["message"] if entry["id"] == event["message"]["id"] else entry for entry in entries]
    if "text" in event or "thinking" in event:
        for entry in reversed(entries):
            if entry["id"] == event["id"]:
                for name in {"text", "thinking"} & event.keys():
                    entry[name] += event[name]
                break
    return entries


def texts(entries):
    """Return the text of each message."""
    return [entry["text"] for entry in entries]


@contextlib.asynccontextmanager
async def open_page(url, *, headers=None, **session):
    """Open the page in a new browser, with its own cookies."""
    jar = aiohttp.CookieJar(unsafe=True)  # keeps cookies of IP addresses, as browsers do
    # A line holds a whole conversation.
    headers = SAME_ORIGIN | (headers or {})
    async with aiohttp.ClientSession(cookie_jar=jar, headers=headers, read_bufsize=1 << 24, **session) as http:
        yield await PageClient(http, url).open()
