"""The page: its layout, and what happens when somebody uses it.

Every handler takes what it needs from the browser and from the request, and holds no state of its own: after a restart,
or on another replica, an open page goes on. Values from the browser are not to be believed; the middle checks them.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from chatapp.conversation import GenerationParameters, MessageStatus
from chatapp.errors import ConversationNotFound, WrittenElsewhere
from chatapp.identity import user_of
from chatapp.ui.refusals import in_words
from chatapp.ui.render import model_choices, model_notice, store_notice

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from chatapp.conversation import Conversation
    from chatapp.models.catalog import Catalog
    from chatapp.store import ConversationStore
    from chatapp.turns import TurnRunner

Update = Any  # a component's new value, or what gr.update returns

ASSETS = Path(__file__).parent / "assets"
CONVERSATIONS_SHOWN = 50
MOST_CONVERSATIONS_SHOWN = 1000
MODELS_LOOK_SECONDS = 10.0
YOUR_DATA = """<ul>
<li><a href="export/everything.md.zip" download>All conversations, to read</a></li>
<li><a href="export/everything.json" download>All conversations, complete</a></li>
<li><a href="#" data-export="md">This conversation, to read</a></li>
<li><a href="#" data-export="json">This conversation, complete</a></li>
</ul>"""
WELCOME = """## Hybrid chat
Ask anything. Your conversations are kept by whoever runs this chat; a question goes only to the model
that you choose."""


class ChatPage:
    """The Gradio page over the middle: conversations, models and turns."""

    def __init__(self, store: ConversationStore, catalog: Catalog, turns: TurnRunner) -> None:
        self._store = store
        self._catalog = catalog
        self._turns = turns

    def blocks(self) -> gr.Blocks:
        """Lay out the page and connect its events."""
        defaults = GenerationParameters()
        # Values go as they are in both directions: what Gradio's components would do to them costs time in every
        # update, and their checks compare with choices that a restarted server no longer has.
        raw: dict[str, Any] = {
            "preprocess": False,
            "postprocess": False,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        page: gr.Blocks
        with gr.Blocks(title="Hybrid chat", fill_height=True, fill_width=True, analytics_enabled=False) as page:
            # Kept by the browser, so that neither a restart nor another replica loses the place.
            conversation_id = gr.Textbox(visible="hidden", elem_id="conversation-id", label="Conversation id")
            shown = gr.Textbox(visible="hidden", label="Shown models")
            show = gr.Button(visible="hidden", elem_id="show")  # chat.js presses it when there is something new
            length = gr.Number(CONVERSATIONS_SHOWN, visible="hidden", label="Conversations listed")
            with gr.Sidebar(width=280, elem_id="sidebar"):
                new = gr.Button("New chat", elem_id="new-chat", variant="secondary")
                conversations = gr.Radio([], label="Conversations", elem_id="conversations", container=False)
                older = gr.Button("Show older", elem_id="older", size="sm", visible=False)
                delete = gr.Button("Delete this conversation", elem_id="delete", size="sm", interactive=False)
                _your_data(raw)
            with gr.Column(elem_id="main"):
                chatbot = gr.Chatbot(
                    elem_id="messages",
                    show_label=False,
                    container=False,
                    height="100%",
                    layout="bubble",
                    buttons=["copy"],
                    feedback_options=None,
                    group_consecutive_messages=False,
                    latex_delimiters=[
                        {"left": "$$", "right": "$$", "display": True},
                        {"left": "$", "right": "$", "display": False},
                        {"left": "\\(", "right": "\\)", "display": False},
                        {"left": "\\[", "right": "\\]", "display": True},
                    ],
                    placeholder=WELCOME,
                )
                with gr.Column(elem_id="composer"):
                    go_on = gr.Button("Continue", elem_id="go-on", size="sm")
                    gr.HTML(
                        '<div id="refusal" role="alert"></div>', container=False, padding=False
                    )  # chat.js writes it
                    notice = gr.Markdown(elem_id="notice", container=False)
                    message = gr.Textbox(
                        elem_id="message",
                        label="Message",
                        show_label=False,
                        container=False,
                        lines=1,
                        max_lines=8,
                        placeholder="Message",
                        autofocus=True,
                        submit_btn="Send",
                        stop_btn="Stop",  # page.css shows the one that fits what is shown
                    )
                    with gr.Row(elem_id="settings"):
                        model = gr.Dropdown(
                            [], label="Model", elem_id="model", show_label=False, container=False, filterable=False
                        )
                        with gr.Accordion("Parameters", open=False, elem_id="parameters"):
                            with gr.Row():
                                temperature = gr.Slider(
                                    *defaults.TEMPERATURE_RANGE,
                                    value=defaults.temperature,
                                    step=0.05,
                                    label="Temperature",
                                )
                                top_p = gr.Slider(*defaults.TOP_P_RANGE, value=defaults.top_p, step=0.05, label="Top-p")
                                max_tokens = gr.Slider(
                                    *defaults.MAX_TOKENS_RANGE, value=defaults.max_tokens, step=1, label="Max tokens"
                                )
                            system_prompt = gr.Textbox(
                                label="System prompt", lines=2, max_lines=6, elem_id="system-prompt"
                            )
            timer = gr.Timer(MODELS_LOOK_SECONDS)

            listing = [conversations, older]
            opened = [conversation_id, delete, model, system_prompt]

            def then_show(event: gr.events.Dependency) -> None:
                """After this event, show the conversation, and its growing answer if there is one."""
                event.success(None, [conversation_id], None, js="(id) => chat.open(id)", **raw)

            choices = [model, temperature, top_p, max_tokens, system_prompt]
            show.click(None, None, [chatbot], js="() => chat.shown()", trigger_mode="multiple", **raw)
            message.submit(
                None,
                [message, conversation_id, *choices, length],
                [message, conversation_id, *listing, delete],
                js="(...values) => chat.send(...values)",
                trigger_mode="once",
                **raw,
            )
            go_on.click(
                None,
                [conversation_id, *choices, length],
                listing,
                js="(...values) => chat.goOn(...values)",
                trigger_mode="once",
                **raw,
            )
            then_show(
                page.load(
                    self.load,
                    [conversation_id, length, message],
                    [*opened, *listing, message, shown],
                    js=_script("load.js"),
                    **raw,
                )
            )
            # By default Gradio drops what is clicked while the click before is on its way: the list would then show one
            # conversation as open and the page another.
            then_show(new.click(self.new, [length], [*opened, *listing], trigger_mode="multiple", **raw))
            # The list is no output here: setting what is chosen in it would undo a choice made in the meantime.
            then_show(conversations.input(self.open, [conversations], opened, trigger_mode="always_last", **raw))
            then_show(
                delete.click(
                    self.delete,
                    [conversation_id, length],
                    [*opened, *listing],
                    js=_script("confirm.js"),
                    trigger_mode="multiple",
                    **raw,
                )
            )
            older.click(self.list_older, [conversation_id, length], [*listing, length], **raw)
            message.stop(self.stop, [conversation_id], None, **raw)
            gr.on([timer.tick, model.change], self.look_at_models, [model, shown], [model, notice, shown], **raw)
            conversation_id.change(None, [conversation_id], None, js=_script("address.js"), api_visibility="private")
        return page

    @in_words
    async def load(self, conversation_id: str, length: int, draft: str, request: gr.Request) -> list[Update]:
        """Open the conversation that the address names, or a new one, with the text that was in the box."""
        user = _user(request)
        try:
            opened = await self._opened(user, conversation_id)
        except ConversationNotFound as error:
            gr.Warning(html.escape(str(error)), title="Not found")
            opened = await self._opened(user, "")
        return [*opened, *await self.listing(user, opened[0], length), draft or gr.skip(), ""]

    @in_words
    async def open(self, conversation_id: str, request: gr.Request) -> list[Update]:
        """Open a conversation of the list."""
        return await self._opened(_user(request), conversation_id)

    @in_words
    async def new(self, length: int, request: gr.Request) -> list[Update]:
        """Start a new conversation; it is stored with its first message."""
        user = _user(request)
        return [*await self._opened(user, ""), *await self.listing(user, "", length)]

    @in_words
    async def delete(self, conversation_id: str, length: int, request: gr.Request) -> list[Update]:
        """Delete the open conversation; ``conversation_id`` is "" when the person said no."""
        if not conversation_id:
            return [gr.skip()] * 6
        await self._turns.delete(_user(request), _id(conversation_id))
        return await self.new(length, request)

    @in_words
    async def list_older(self, conversation_id: str, length: int, request: gr.Request) -> list[Update]:
        """List more of the older conversations."""
        length = int(length) + CONVERSATIONS_SHOWN
        return [*await self.listing(_user(request), _id(conversation_id), length), length]

    @in_words
    async def stop(self, conversation_id: str, request: gr.Request) -> None:
        """Stop the running answer; whoever watches it sees its end."""
        user, conversation_id = _user(request), _id(conversation_id)
        if await self._turns.stop(user, conversation_id) or not conversation_id:
            return
        messages = await self._store.messages(user, conversation_id)
        if messages and messages[-1].status is MessageStatus.STREAMING:
            raise WrittenElsewhere

    @in_words
    async def look_at_models(self, model_id: str, shown: str) -> list[Update]:
        """Show the models' states, and what to know about the chosen one, if anything changed since ``shown``."""
        statuses = self._catalog.statuses()
        notices = [store_notice(self._store.status())]
        if model_id in statuses:
            notices.append(model_notice(self._catalog.label(model_id), statuses[model_id]))
        now = repr((model_id, statuses, notices))
        if now == shown:
            return [gr.skip()] * 3
        return [gr.update(choices=model_choices(self._catalog, statuses)), "".join(notices), now]

    async def _opened(self, user: str, conversation: object) -> list[Update]:
        """Return what is shown of a conversation besides its messages: id, deletable or not, model, system prompt."""
        conversation_id = _id(conversation)
        model_id, system_prompt = self._catalog.first_choice().id, ""
        if conversation_id:
            conversation = await self._store.conversation(user, conversation_id)
            system_prompt = conversation.system_prompt
            if any(model.id == conversation.model for model in self._catalog):
                model_id = conversation.model
        return [
            conversation_id,
            gr.update(interactive=bool(conversation_id)),
            gr.update(choices=model_choices(self._catalog, self._catalog.statuses()), value=model_id),
            system_prompt,
        ]

    async def listing(self, user: str, conversation_id: str, length: int, *, fresh: bool = True) -> list[Update]:
        """Return updates of the list, with the last ``length`` conversations, and of the button for older ones."""
        length = min(max(int(length), CONVERSATIONS_SHOWN), MOST_CONVERSATIONS_SHOWN)
        listed: list[Conversation] = []
        cursor = None
        while len(listed) < length:
            page = await self._store.conversations(user, limit=CONVERSATIONS_SHOWN, cursor=cursor, fresh=fresh)
            listed += page.items
            cursor = page.cursor
            if cursor is None:
                break
        choices = [(conversation.title, conversation.id) for conversation in listed]
        return [gr.update(choices=choices, value=conversation_id or None), gr.update(visible=cursor is not None)]


def _your_data(raw: dict[str, Any]) -> None:
    """Lay out what people may do with all that is theirs; chat.js does it."""
    with gr.Accordion("Your data", open=False, elem_id="your-data"):
        gr.HTML(YOUR_DATA, container=False, padding=False)
        delete_all = gr.Button("Delete everything", elem_id="delete-everything", size="sm", variant="stop")
    delete_all.click(None, None, None, js="() => chat.deleteEverything()", trigger_mode="once", **raw)


def _user(request: gr.Request) -> str:
    return user_of(cast("HTTPConnection", request.request))


def _id(value: object) -> str:
    """Return a conversation's id as the browser sent it, "" for none; an endpoint can be sent anything."""
    return str(value) if value else ""


def _script(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
