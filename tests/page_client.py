"""Talks to the page as a browser does: Gradio's events and their updates, and the stream of the open conversation."""

import contextlib
import copy
import json
import urllib.parse
import uuid

import aiohttp

PARAMETERS = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 1024, "system_prompt": "", "length": 50}


class Refused(Exception):
    """The page's endpoint answered with an error; its text is what the person reads."""


class PageClient:
    """One open page. ``call`` runs a handler by its name with values as the browser sends them."""

    def __init__(self, http, url):
        self._http = http
        self._url = url
        self._session_hash = uuid.uuid4().hex[:11]
        self._handlers = {}
        self.entries = []  # of the messages that were last shown

    async def open(self):
        async with self._http.get(f"{self._url}/config") as response:
            config = await response.json()
        for dependency in config["dependencies"]:
            self._handlers[dependency["api_name"]] = dependency["id"]
        return self

    async def second_tab(self):
        """Open the page once more in the same browser."""
        return await PageClient(self._http, self._url).open()

    async def updates(self, handler, *values):
        """Yield the outputs of a handler after each of its updates.

        Raises:
            Refused: it ended with an error.
        """
        body = {
            "data": list(values),
            "event_data": None,
            "fn_index": self._handlers[handler],
            "trigger_id": None,
            "session_hash": self._session_hash,
        }
        # ASCII, so that a test can send half of a surrogate pair as JSON can.
        request = {"data": json.dumps(body).encode("ascii"), "headers": {"content-type": "application/json"}}
        async with self._http.post(f"{self._url}/gradio_api/queue/join", **request) as response:
            answer = await response.text()
            if response.status != 200:
                raise Refused(f"{response.status} {answer}")
        parameters = {"session_hash": self._session_hash}
        outputs = None
        async with self._http.get(f"{self._url}/gradio_api/queue/data", params=parameters) as stream:
            async for line in stream.content:
                if not line.startswith(b"data:"):
                    continue
                event = json.loads(line[5:])
                if event["msg"] == "process_generating":
                    changes = event["output"]["data"]
                    outputs = (
                        changes if outputs is None else [edited(o, c) for o, c in zip(outputs, changes, strict=True)]
                    )
                    yield copy.deepcopy(outputs)
                elif event["msg"] == "process_completed":
                    if not event["success"]:
                        raise Refused(str(event["output"].get("error")))
                    if outputs is None:
                        yield event["output"]["data"]
                    return

    async def call(self, handler, *values):
        """Return the outputs of a handler after its last update."""
        async with contextlib.aclosing(self.updates(handler, *values)) as updates:
            async for outputs in updates:
                last = outputs
        return last

    async def follow(self, conversation):
        """Yield the shown messages of a conversation as they change, to the end of its answer."""
        async with self._http.get(f"{self._url}/{_path(conversation)}/events") as stream:
            async for messages in self._shown(stream):
                yield messages

    async def watch_until(self, conversation, condition):
        """Follow a conversation until ``condition(messages)`` holds, then stop looking, as a closed tab does."""
        async with contextlib.aclosing(self.follow(conversation)) as changes:
            async for messages in changes:
                if condition(messages):
                    return messages
        raise AssertionError("the answer ended before that")

    async def send(self, text, *, conversation="", model="scripted", **changes):
        """Send a message, look away at once, and return the conversation's id."""
        path = f"{_path(conversation)}/turns" if conversation else "conversations"
        return await self._begin(path, {"text": text, "model": model, **PARAMETERS, **changes})

    async def go_on(self, conversation, message, *, model="scripted", **changes):
        """Continue an answer that ended early, given the id of its message."""
        path = f"{_path(conversation)}/continuations"
        await self._begin(path, {"message": message, "model": model, **PARAMETERS, **changes})

    async def messages(self, conversation):
        """Follow a conversation to the end of its answer and return what the page then shows."""
        async with contextlib.aclosing(self.follow(conversation)) as changes:
            async for messages in changes:
                last = messages
        return last

    async def _begin(self, path, asked):
        # ASCII, so that a test can send half of a surrogate pair as JSON can.
        request = {"data": json.dumps(asked).encode("ascii"), "headers": {"content-type": "application/json"}}
        async with self._http.post(f"{self._url}/{path}", **request) as stream:
            await _refuse(stream)
            async for event in events(stream):
                return event["started"]["conversation"]
        raise Refused("the stream ended at once")

    async def _shown(self, stream):
        await _refuse(stream)
        self.entries = []
        async for event in events(stream):
            if "end" in event:
                return
            if "error" in event:
                raise Refused(event["error"])
            self.entries = taken(self.entries, event)
            yield [copy.deepcopy(entry["shown"]) for entry in self.entries]
        raise ConnectionError("the stream ended before the conversation did")

    async def listed(self):
        """Return the titles in the sidebar."""
        return [title for title, _ in (await self.call("new", 50))[4]["choices"]]


def _path(conversation):
    name = urllib.parse.quote(str(conversation), safe="", errors="surrogatepass")
    return f"conversations/{name}"


async def _refuse(response):
    if response.status != 200:
        raise Refused((await response.json())["error"])


async def events(stream):
    """Yield the events of `chatapp.ui.live` in a response."""
    async for line in stream.content:
        if line.startswith(b"data:"):
            yield json.loads(line[5:])


def taken(entries, event):
    """Return the entries after an event, as ``chat.js`` makes them."""
    if "messages" in event:
        ids = [entry["id"] for entry in entries]
        kept = ids.index(event["after"]) + 1 if event["after"] else 0
        return [*entries[:kept], *event["messages"]]
    if "last" in event:
        return [*entries[:-1], event["last"]]
    if "text" in event:
        entries[-1]["shown"]["content"][0]["text"] += event["text"]
    return entries


def texts(messages):
    """Return the text of each shown message."""
    return [message["content"][0]["text"] for message in messages]


def facts(message):
    """Return the line under a shown answer, as HTML."""
    return message["content"][-1]["text"]


@contextlib.asynccontextmanager
async def open_page(url, **session):
    """Open the page in a browser of its own."""
    jar = aiohttp.CookieJar(unsafe=True)  # keeps cookies of an address, as browsers do
    # A line holds a whole conversation.
    async with aiohttp.ClientSession(cookie_jar=jar, read_bufsize=1 << 24, **session) as http:
        yield await PageClient(http, url).open()


def edited(value, edits):
    """Apply Gradio's edits (``utils.diff``) as its client does, in place, and return the value."""
    for action, path, new in edits:
        if not path:
            value = value + new if action == "append" else new
            continue
        target = value
        for step in path[:-1]:
            target = target[step]
        key = path[-1]
        if action == "append":
            target[key] += new
        elif action == "delete":
            del target[key]
        elif action == "add" and isinstance(target, list):
            target.insert(key, new)
        else:
            target[key] = new
    return value
