"""Talks to the chat as its page does: the JSON API, and the streams of open conversations."""

import contextlib
import copy
import json
import urllib.parse

import aiohttp

from tests.api_schema import check_error, check_event, check_response

SAME_ORIGIN = {"sec-fetch-site": "same-origin"}  # as browsers send it with the requests of the page
PARAMETERS = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 1024, "system_prompt": ""}


class Refused(Exception):
    """The chat answered with an error; its text is what the person reads.

    Attributes:
        status: the response's, 200 where a stream had begun.
        error: as the page gets it.
    """

    def __init__(self, error, status=200):
        super().__init__(error["text"] if isinstance(error, dict) else error)
        self.error = error
        self.status = status


class PageClient:
    """One open page."""

    def __init__(self, http, url):
        self._http = http
        self._url = url
        self.entries = []  # the messages that were last shown
        self.earlier = 0  # how many come before them
        self.titles = []  # that came in a stream

    async def open(self):
        """Load what a page needs; who has no cookie yet gets one."""
        self.state = await self.get("state")
        return self

    async def second_tab(self):
        """Open the page once more in the same browser."""
        return await PageClient(self._http, self._url).open()

    async def get(self, path, **parameters):
        """Return what an address of the API says."""
        return await self.ask("GET", path, params=parameters)

    async def ask(self, method, path, body=None, **options):
        """Return the reply to a request as JSON; ``body`` is sent as JSON.

        Raises:
            Refused: it was.
        """
        async with self._http.request(method, f"{self._url}/{path}", **_json(body), **options) as response:
            await _refuse(response)
            reply = await response.json()
            check_response(method, path, reply)
            return reply

    async def models(self):
        """Return what is known of each model, by its id."""
        return {model["id"]: model for model in (await self.get("models"))["models"]}

    async def listed(self, **parameters):
        """Return the titles in the list, the pinned ones first."""
        page = await self.get("conversations", **parameters)
        return [item["title"] for item in [*page["pinned"], *page["items"]]]

    async def change(self, conversation, **changes):
        """Rename, pin or archive a conversation, or switch to another branch of it."""
        return await self.ask("PATCH", path_of(conversation), changes)

    async def delete(self, conversation):
        """Delete a conversation, which can be undone for a moment."""
        return await self.ask("DELETE", path_of(conversation))

    async def restore(self, conversation):
        """Undo a deletion."""
        return await self.ask("POST", f"{path_of(conversation)}/restore", {})

    async def stop(self, conversation):
        """Stop what is being written."""
        await self.ask("POST", f"{path_of(conversation)}/stop", {})

    async def follow(self, conversation):
        """Yield the messages of a conversation as they change, to the end of what is written in it."""
        async with self._http.get(f"{self._url}/{path_of(conversation)}/events") as stream:
            async for entries in self._shown(stream):
                yield entries

    async def watch_until(self, conversation, condition):
        """Follow a conversation until ``condition(entries)`` holds, then stop looking, as a closed tab does."""
        async with contextlib.aclosing(self.follow(conversation)) as changes:
            async for entries in changes:
                if condition(entries):
                    return entries
        raise AssertionError("the answer ended before that")

    async def messages(self, conversation):
        """Follow a conversation to the end of what is written in it and return what the page then shows."""
        async with contextlib.aclosing(self.follow(conversation)) as changes:
            async for entries in changes:
                last = entries
        return last

    async def send(self, text, *, conversation="", model="scripted", **changes):
        """Send a message, look away at once, and return the conversation's id."""
        path = f"{path_of(conversation)}/turns" if conversation else "conversations"
        return await self._begin(path, {"text": text, "model": model, **PARAMETERS, **changes})

    async def answer_again(self, conversation, question, *, model="scripted", **changes):
        """Have a question answered once more."""
        await self._begin(f"{path_of(conversation)}/answers", {"question": question, "model": model, **changes})

    async def go_on(self, conversation, message, *, model="scripted", **changes):
        """Continue an answer that ended early, given the id of its message."""
        path = f"{path_of(conversation)}/continuations"
        await self._begin(path, {"message": message, "model": model, **PARAMETERS, **changes})

    async def send_and_read(self, path, asked):
        """Ask, and yield the messages as they change in the stream that answers."""
        async with self._http.post(f"{self._url}/{path}", **_json(asked)) as stream:
            async for entries in self._shown(stream, begun=self.entries):
                yield entries

    async def _begin(self, path, asked):
        async with self._http.post(f"{self._url}/{path}", **_json(asked)) as stream:
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
            self.entries = taken(self.entries, event)
            yield copy.deepcopy(self.entries)
        raise ConnectionError("the stream ended before the conversation did")


def path_of(conversation):
    """Return the address of a conversation, whatever it is."""
    name = urllib.parse.quote(str(conversation), safe="", errors="surrogatepass")
    return f"conversations/{name}"


def _json(body):
    # ASCII, so that a test can send half of a surrogate pair as JSON can.
    if body is None:
        return {}
    return {"data": json.dumps(body).encode("ascii"), "headers": {"content-type": "application/json"}}


async def _refuse(response):
    if response.status != 200:
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


def taken(entries, event):
    """Return the entries after an event, as the page makes them."""
    if "messages" in event:
        ids = [entry["id"] for entry in entries]
        kept = ids.index(event["after"]) + 1 if event["after"] else 0
        return [*entries[:kept], *event["messages"]]
    if "message" in event:
        return [event["message"] if entry["id"] == event["message"]["id"] else entry for entry in entries]
    if "text" in event:
        for entry in reversed(entries):
            if entry["id"] == event["id"]:
                entry["text"] += event["text"]
                break
    return entries


def texts(entries):
    """Return the text of each message."""
    return [entry["text"] for entry in entries]


@contextlib.asynccontextmanager
async def open_page(url, *, headers=None, **session):
    """Open the page in a browser of its own."""
    jar = aiohttp.CookieJar(unsafe=True)  # keeps cookies of an address, as browsers do
    # A line holds a whole conversation.
    headers = SAME_ORIGIN | (headers or {})
    async with aiohttp.ClientSession(cookie_jar=jar, headers=headers, read_bufsize=1 << 24, **session) as http:
        yield await PageClient(http, url).open()
