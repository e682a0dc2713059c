"""Turns under any order of questions, edits, regenerated answers, switches, stops, deletions, kills and restarts.

A state machine with a model of the expected state: every message that the chat has acknowledged is stored once and in
order, and the expected path is shown.
"""

import asyncio
import itertools
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatapp.conversations import catch_up
from chatapp.conversations.service import Conversations
from chatapp.domain.conversation import FinishReason, GenerationParameters, MessageStatus, Role
from chatapp.domain.errors import ConversationBusy, ConversationNotFound, NothingToContinue, RateLimited, TooManyTurns
from chatapp.domain.message_tree import MessageTree
from chatapp.generation.prepare import CONTINUE_PROMPT
from chatapp.generation.queue import TurnLimits
from chatapp.generation.runner import TurnRunner
from chatapp.models import Finish, TextDelta
from chatapp.models.catalog import Catalog
from tests.chatapp.generation.running import answer_request, turn_request
from tests.chatapp.store.conftest import FirestorePlace, JournaledPlace, SQLitePlace
from tests.fakes.models import ReadyModel
from tests.firestore_emulator import firestore_emulator  # noqa: F401  # a fixture

LIMITS = TurnLimits(per_user=2, at_once=3, waiting=2)
SETTLE_SECONDS = 120
ENDINGS = ("waits", "whole", "fails", "length", "nothing")
MAX_MESSAGES = 14  # of a conversation
EARLY = {MessageStatus.STOPPED, MessageStatus.INTERRUPTED, MessageStatus.ERROR}


class Model(ReadyModel):
    """Answers as the system prompt says: "ENDING NUMBER"; one that waits does so after its first text.

    Attributes:
        waiting: events that release waiting answers, by system prompt.
        prompts: the texts of each prompt, by system prompt.
    """

    id = "model"
    label = "Model"

    def __init__(self):
        self.waiting = {}
        self.prompts = {}

    async def stream(self, messages, parameters):
        name = parameters.system_prompt
        self.prompts[name] = [message.content for message in messages]
        if messages[-1].content == CONTINUE_PROMPT:
            yield TextDelta(" more")
            yield Finish(FinishReason.STOP)
            return
        ending = name.partition(" ")[0]
        if ending == "nothing":
            return
        yield TextDelta(f"<{name}")
        if ending == "waits":
            self.waiting[name] = asyncio.Event()
            try:
                await self.waiting[name].wait()
            finally:
                del self.waiting[name]
        if ending == "fails":
            raise RateLimited("No more.")
        yield TextDelta(">")
        yield Finish(FinishReason.LENGTH if ending == "length" else FinishReason.STOP)


class Killable:
    """A store that can be killed: acknowledged writes are kept, later calls are cancelled."""

    def __init__(self, store):
        self._store = store
        self.killed = False

    def __getattr__(self, name):
        call = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(call):
            return call

        async def called(*arguments, **options):
            if self.killed:
                raise asyncio.CancelledError
            return await call(*arguments, **options)

        return called


@dataclass
class ExpectedMessage:
    """The expected state of a message.

    Attributes:
        id: the stored message's.
        name: the text of a question, or the system prompt of an answer.
        follows: the message before it, None at the beginning.
        contents: the possible texts.
        status: of an answer.
        before: the text before the answer was continued; "" if it was not.
    """

    id: str
    name: str
    role: Role
    follows: "ExpectedMessage | None"
    contents: set[str] = field(default_factory=set)
    status: MessageStatus = MessageStatus.COMPLETE
    before: str = ""

    def partial_text(self):
        """Return the text of an answer that waits for the test."""
        return self.before or f"<{self.name}"

    def end(self):
        """Record that an answer ended as its system prompt says."""
        ending = self.name.partition(" ")[0]
        if self.before:
            self.contents, self.status = {f"{self.before} more"}, MessageStatus.COMPLETE
        elif ending in {"fails", "nothing"}:
            text = "" if ending == "nothing" else f"<{self.name}"
            self.contents, self.status = {text}, MessageStatus.ERROR
        else:
            self.contents, self.status = {f"<{self.name}>"}, MessageStatus.COMPLETE

    def path(self):
        """Return the messages from the beginning to this one."""
        return [*(self.follows.path() if self.follows else []), self]


@dataclass
class ExpectedConversation:
    """The expected state of a conversation.

    Attributes:
        messages: in the order in which they were created.
        pairs: the two answers of each question that has two from the beginning.
        branch: the version that was selected last, unless a newer message is elsewhere.
    """

    messages: list[ExpectedMessage] = field(default_factory=list)
    pairs: list[list[ExpectedMessage]] = field(default_factory=list)
    branch: ExpectedMessage | None = None

    def shown(self):
        """Return the messages that the page shows."""
        beneath = [one for one in self.messages if self.branch is None or self.branch in one.path()]
        path = beneath[-1].path()
        for pair in self.pairs:
            is_followed = any(one.follows in pair for one in self.messages)
            if path[-1] in pair and self.branch not in pair and not is_followed:
                return [*path[:-1], *pair]
        return path

    def streaming(self):
        return [one for one in self.messages if one.status is MessageStatus.STREAMING]

    def begin(self, *new):
        self.messages += new
        if self.branch is not None and self.branch not in new[0].path():
            self.branch = None


class TurnsMachine(RuleBasedStateMachine):
    """Two users, a few conversations, and a chat that may end at any moment."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.histories = {}  # (user, id): ExpectedConversation
        self.marked = {}  # the same, with a deletion that can be undone
        self.deleted = []
        self.number = 0
        self.run(self._open())

    async def _open(self):
        self.model = Model()
        self.store = Killable(await self.place.open())
        self.catalog = Catalog([self.model])
        await self.catalog.check()
        self.turns = TurnRunner(self.store, self.catalog, batch_seconds=0, checkpoint_seconds=0.005, limits=LIMITS)
        self.conversations = Conversations(self.store, self.turns.updates, self.turns, undo_seconds=1e9)

    def teardown(self):
        self.run(self._end())
        self.runner.close()

    async def _end(self):
        await self.turns.aclose()
        await self.conversations.aclose()
        await self.store.aclose()

    async def _settled(self):
        """Wait until every running answer waits for the test or in the queue."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while not all(map(self._is_settled, self.histories)):
                await asyncio.sleep(0.001)

    def _is_settled(self, key):
        turn = self.turns.current(*key)
        return turn is None or all(
            answer.has_ended
            or answer.queue_position > 0
            or answer.prompt.parameters.system_prompt in self.model.waiting
            for answer in turn.answers
        )

    def _record_ends(self):
        """Record the end of answers that no longer run."""
        for key, history in self.histories.items():
            for expected in history.streaming():
                if self._running(key, expected) is None:
                    expected.end()

    def _running(self, key, expected):
        turn = self.turns.current(*key)
        answers = turn.answers if turn else []
        return next((one for one in answers if one.id == expected.id and not one.has_ended), None)

    def _name(self, ending):
        self.number += 1
        return f"{ending} {self.number}"

    def _draw(self, data, *, of=None):
        return data.draw(st.sampled_from(list(of or self.histories)))  # in order of creation: ids are random

    def _attempt(self, key, answers, send):
        """Send a request; return the conversation, or None where it was refused as expected."""
        is_busy = key in self.histories and self.turns.is_busy(*key)

        async def attempt():
            try:
                conversation = await send()
            except ConversationBusy:
                assert is_busy
                return None
            except TooManyTurns:
                assert self.turns.running_count + self.turns.waiting_count + answers > LIMITS.per_user
                return None
            assert not is_busy
            return conversation

        return self.run(attempt())

    @rule(
        data=st.data(),
        user=st.sampled_from("ab"),
        endings=st.lists(st.sampled_from([*ENDINGS, *ENDINGS[:1] * 5]), min_size=1, max_size=2),
        is_new=st.booleans(),
    )
    def ask(self, data, user, endings, is_new):
        mine = [key for key in self.histories if key[0] == user and len(self.histories[key].messages) < MAX_MESSAGES]
        key = (user, "") if is_new or not mine else self._draw(data, of=mine)
        history = self.histories.get(key, ExpectedConversation())
        answers = [one for one in history.messages if one.role is Role.ASSISTANT]
        follows = data.draw(st.sampled_from([None, "", *answers])) if key[1] else None  # an edit, rarely
        names = [self._name(ending) for ending in endings]
        text = f"question {self.number}"
        named = follows.id if isinstance(follows, ExpectedMessage) else follows

        async def send():
            request = turn_request(text, key[1], answers=[request_of(name) for name in names], follows=named)
            return await self.turns.start(key[0], request)

        conversation = self._attempt(key, len(names), send)
        if conversation:
            self.histories[user, conversation.id] = history
            if follows is None:
                follows = history.shown()[-1] if history.messages else None
            turn_messages = self.run(self._new_messages((user, conversation.id), history))
            question = ExpectedMessage(turn_messages[0].id, text, Role.USER, follows or None, {text})
            new = [
                ExpectedMessage(message.id, name, Role.ASSISTANT, question, {"", f"<{name}"}, MessageStatus.STREAMING)
                for message, name in zip(turn_messages[1:], names, strict=True)
            ]
            history.begin(question, *new)
            history.pairs += [new] if len(new) > 1 else []
        self._settle()

    @precondition(lambda self: self.histories)
    @rule(data=st.data(), ending=st.sampled_from([*ENDINGS, "waits"]))
    def regenerate(self, data, ending):
        key = self._draw(data)
        history, name = self.histories[key], self._name(ending)
        question = data.draw(st.sampled_from([one for one in history.messages if one.role is Role.USER]))

        async def send():
            return await self.turns.regenerate(*key, question.id, request_of(name))

        if len(history.messages) < MAX_MESSAGES and self._attempt(key, 1, send):
            (new,) = self.run(self._new_messages(key, history))
            history.begin(
                ExpectedMessage(new.id, name, Role.ASSISTANT, question, {"", f"<{name}"}, MessageStatus.STREAMING)
            )
        self._settle()

    async def _new_messages(self, key, history):
        expected = {one.id for one in history.messages}
        return [message for message in await self.store.messages(*key) if message.id not in expected]

    def _settle(self):
        self.run(self._settled())
        self._record_ends()

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def release(self, data):
        name = data.draw(st.sampled_from(sorted(self.model.waiting)))
        ((key, expected),) = [
            (k, one) for k, history in self.histories.items() for one in history.messages if one.name == name
        ]

        async def released():
            self.model.waiting[name].set()
            async with asyncio.timeout(SETTLE_SECONDS):
                while self._running(key, expected):
                    await asyncio.sleep(0.001)

        self.run(released())
        self._settle()

    @precondition(lambda self: self.histories)
    @rule(data=st.data())
    def stop(self, data):
        key = self._draw(data)
        self.run(self._stopped(key))
        self._settle()

    async def _stopped(self, key):
        running = self.turns.is_busy(*key)
        for expected in self.histories[key].streaming():
            place = self._running(key, expected).queue_position
            expected.contents, expected.status = (
                {expected.before if place else expected.partial_text()},
                MessageStatus.STOPPED,
            )
        assert await self.turns.stop(*key) is running

    @precondition(lambda self: self.histories)
    @rule(data=st.data())
    def continue_answer(self, data):
        key = self._draw(data)
        history = self.histories[key]
        expected = data.draw(st.sampled_from(history.messages))
        is_busy = self.turns.is_busy(*key)
        (stored,) = [one for one in self.run(self.store.messages(*key)) if one.id == expected.id]
        is_early = expected.status in EARLY or stored.finish_reason is FinishReason.LENGTH
        is_at_end = expected in history.shown() and not any(one.follows is expected for one in history.messages)

        async def attempt():
            try:
                await self.turns.continue_answer(*key, expected.id, request_of(expected.name))
            except ConversationBusy:
                assert is_busy
            except NothingToContinue:
                assert not (is_early and is_at_end)
            except TooManyTurns:
                pass
            else:
                assert not is_busy
                assert is_early
                assert is_at_end
                expected.status, expected.before = MessageStatus.STREAMING, stored.content
                expected.contents = {expected.before, expected.partial_text()}  # without text, the question is repeated

        self.run(attempt())
        self._settle()

    @precondition(lambda self: self.histories)
    @rule(data=st.data())
    def switch(self, data):
        key = self._draw(data)
        history = self.histories[key]
        expected = data.draw(st.sampled_from([None, *history.messages]))
        is_busy = self.turns.is_busy(*key)

        async def switched():
            try:
                await self.conversations.switch(*key, expected.id if expected else "")
            except ConversationBusy:
                assert is_busy
            else:
                assert not is_busy
                history.branch = expected

        self.run(switched())

    @precondition(lambda self: self.histories)
    @rule(data=st.data())
    def delete(self, data):
        key = self._draw(data)

        async def deleted():
            await self._stopped(key)  # as a deletion does; here its status is recorded
            await self.conversations.delete(*key)

        self.run(deleted())
        self.marked[key] = self.histories.pop(key)
        self._settle()

    @precondition(lambda self: self.marked)
    @rule(data=st.data())
    def undo(self, data):
        key = self._draw(data, of=self.marked)
        self.run(self.conversations.restore(*key))
        self.histories[key] = self.marked.pop(key)

    @precondition(lambda self: self.marked)
    @rule(data=st.data())
    def purge(self, data):
        user, _ = self._draw(data, of=self.marked)

        async def purged():
            await self.conversations.aclose()  # as at a restart: the next list purges
            self.conversations.undo_seconds = self.conversations.shared_purge_seconds = 0
            await self.conversations.listed(user)
            await asyncio.gather(*self.conversations._purges.values())
            self.conversations.undo_seconds = 1e9

        self.run(purged())
        for key in [key for key in self.marked if key[0] == user]:
            del self.marked[key]
            self.deleted.append(key)

    def _is_anything_running(self):
        return any(self.turns.current(*key) for key in self.histories)

    def _record_interruption(self):
        for key, history in self.histories.items():
            for expected in history.streaming():
                expected.contents, expected.status = {self._running(key, expected).text}, MessageStatus.INTERRUPTED

    @precondition(_is_anything_running)
    @rule()
    def end_and_start(self):
        self._record_interruption()

        async def again():
            await self._end()
            await self._open()

        self.run(again())

    @precondition(_is_anything_running)
    @rule()
    def kill_and_start(self):
        self._record_interruption()

        async def again():
            async with asyncio.timeout(SETTLE_SECONDS):  # text without a checkpoint would be lost, or not, by chance
                while not await self._has_checkpoints():
                    await asyncio.sleep(0.001)
            self.store.killed = True
            for turn in [turn for key in self.histories if (turn := self.turns.current(*key))]:
                turn.task.cancel()
            await self.conversations.aclose()
            await self.store._store.aclose()  # frees the file's lock, as the system does
            await self._open()

        self.run(again())

    async def _has_checkpoints(self):
        for key in self.histories:
            if turn := self.turns.current(*key):
                for answer in turn.answers:
                    if (await self.store.message(*key, answer.id)).content != answer.text:
                        return False
        return True

    @invariant()
    def acknowledged_messages_are_stored_once_and_in_order(self):
        self.run(self._compare())

    async def _compare(self):
        for key, history in self.histories.items():
            messages = await self.store.messages(*key)
            assert [message.id for message in messages] == [expected.id for expected in history.messages]
            for expected, message in zip(history.messages, messages, strict=True):
                assert message.role is expected.role
                assert message.content in expected.contents, (expected, message)
                assert message.status is expected.status, (expected, message)
                assert message.follows == (expected.follows.id if expected.follows else "")
                if running := self._running(key, expected):
                    assert running.text.startswith(message.content)
            assert bool(history.streaming()) == self.turns.is_busy(*key)
            conversation = await self.conversations.open(*key)
            shown = [message.id for message, _ in MessageTree(messages).shown(conversation.branch)]
            assert shown == [expected.id for expected in history.shown()]
        for user in "ab":
            listed = {one.id for one in (await self.conversations.listed(user)).items}
            assert listed == {name for owner, name in self.histories if owner == user}
        for key in [*self.marked, *self.deleted]:
            with pytest.raises(ConversationNotFound):
                await self.conversations.open(*key)
            with pytest.raises((ConversationNotFound, TooManyTurns)):
                await self.turns.start(key[0], turn_request("more", key[1], answers=[request_of("nothing 0")]))
        for key in self.deleted:
            with pytest.raises(ConversationNotFound):
                await self.store.messages(*key)
        assert self.turns.running_count <= LIMITS.at_once
        assert self.turns.waiting_count <= LIMITS.waiting

    @invariant()
    def models_get_the_path_to_the_question(self):
        for history in self.histories.values():
            for expected in history.messages:
                sent = self.model.prompts.get(expected.name)
                if expected.role is Role.ASSISTANT and sent and sent[-1] != CONTINUE_PROMPT:
                    path = expected.path()[:-1]
                    assert len(sent) == len(path)
                    assert all(text in before.contents for text, before in zip(sent, path, strict=True))


def request_of(name):
    """Return a request for an answer that tells the model how to answer."""
    return answer_request("model", GenerationParameters(system_prompt=name))


def run_machine(make, *, examples, steps):
    """Run the machine with new examples, each with its own store."""
    numbers = itertools.count()

    class Machine(TurnsMachine):
        def __init__(self):
            self.place = make(str(next(numbers)))
            super().__init__()

    options = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=steps, **options))


@pytest.fixture
def other_replicas_deliver_fast(monkeypatch):
    """Wait shortly for what another replica may have written: each step looks at all that was deleted."""
    monkeypatch.setattr(catch_up, "EXISTS_S", 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "steps"), [(8, 20), pytest.param(60, 30, marks=pytest.mark.long)])
def test_turns_in_a_sqlite_file(tmp_path, examples, steps):
    run_machine(lambda name: SQLitePlace(tmp_path / name), examples=examples, steps=steps)


@pytest.mark.slow
@pytest.mark.usefixtures("other_replicas_deliver_fast")
@pytest.mark.parametrize(("examples", "steps"), [(4, 15), pytest.param(20, 20, marks=pytest.mark.long)])
def test_turns_in_a_journal_before_a_cloud(tmp_path, examples, steps):
    run_machine(lambda name: JournaledPlace(tmp_path / name), examples=examples, steps=steps)


@pytest.mark.long
@pytest.mark.usefixtures("other_replicas_deliver_fast")
def test_turns_in_a_journal_before_firestore(tmp_path, firestore_emulator):  # noqa: F811  # the fixture
    del firestore_emulator
    run_machine(lambda name: JournaledPlace(tmp_path / name, FirestorePlace()), examples=8, steps=15)
