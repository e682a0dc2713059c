"""The life of turns under any order of sends, stops, continuations, deletions, kills and restarts.

A model of what people were told is kept beside the real thing: whatever they were told is stored, once, in order.
"""

import asyncio
import itertools
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatapp.conversation import FinishReason, GenerationParameters, Message, MessageStatus, Role
from chatapp.errors import ConversationBusy, ConversationNotFound, NothingToContinue, RateLimited, TooManyTurns
from chatapp.models import Finish, ModelDefaults, ModelState, ModelStatus, TextDelta
from chatapp.models.catalog import Catalog
from chatapp.turn_queue import TurnLimits
from chatapp.turn_start import GO_ON, can_go_on
from chatapp.turns import TurnRunner
from tests.chatapp.store.conftest import FirestorePlace, JournaledPlace, SQLitePlace
from tests.firestore_emulator import firestore_emulator  # noqa: F401  # a fixture

LIMITS = TurnLimits(per_user=2, at_once=3, waiting=2)
SETTLE_SECONDS = 20
ENDINGS = ("waits", "whole", "fails", "length", "nothing")


class Model(ModelDefaults):
    """Answers as the question says: "ENDING NUMBER"; one that waits does so after its first words."""

    id = "model"
    label = "Model"
    context_tokens = None

    def __init__(self):
        self.waiting = {}  # question: what lets its answer go on

    async def stream(self, messages, parameters):
        del parameters
        question = messages[-1].content
        if question == GO_ON:
            yield TextDelta(" more")
            yield Finish(FinishReason.STOP)
            return
        ending = question.partition(" ")[0]
        if ending == "nothing":
            return
        yield TextDelta(f"<{question}")
        if ending == "waits":
            self.waiting[question] = asyncio.Event()
            try:
                await self.waiting[question].wait()
            finally:
                del self.waiting[question]
        if ending == "fails":
            raise RateLimited("No more.")
        yield TextDelta(">")
        yield Finish(FinishReason.LENGTH if ending == "length" else FinishReason.STOP)

    async def status(self):
        return ModelStatus(ModelState.READY)

    async def start(self):
        pass

    async def aclose(self):
        pass


class Killable:
    """A store that a kill cuts off: what was acknowledged is there, what comes later breaks off."""

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
class Known:
    """What a person knows of a turn: the question, what its answer may be now, and in which state.

    Attributes:
        before: what was written before the answer went on; "" at first.
    """

    question: str
    contents: set[str] = field(default_factory=set)
    status: MessageStatus = MessageStatus.STREAMING
    before: str = ""

    def written(self):
        """Return what its answer is while it waits for a word from the test."""
        return self.before or f"<{self.question}"

    def end(self):
        """Note that the answer ended as the question says."""
        ending = self.question.partition(" ")[0]
        if self.before:
            self.contents, self.status = {f"{self.before} more"}, MessageStatus.COMPLETE
        elif ending in {"fails", "nothing"}:
            text = "" if ending == "nothing" else f"<{self.question}"
            self.contents, self.status = {text}, MessageStatus.ERROR
        else:
            self.contents, self.status = {f"<{self.question}>"}, MessageStatus.COMPLETE


class TurnsMachine(RuleBasedStateMachine):
    """Two people, a few conversations, and a chat that may end at any moment."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.conversations = {}  # (user, id): list of Known
        self.deleted = []
        self.number = 0
        self.run(self._open())

    async def _open(self):
        self.model = Model()
        self.store = Killable(await self.place.open())
        self.catalog = Catalog([self.model])
        await self.catalog.check()
        self.turns = TurnRunner(self.store, self.catalog, batch_seconds=0, checkpoint_seconds=0.005, limits=LIMITS)

    def teardown(self):
        self.run(self._end())
        self.runner.close()

    async def _end(self):
        await self.turns.aclose()
        await self.store.aclose()

    async def _settled(self):
        """Wait until every running answer waits for a word from the test, or in line."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while not all(self._is_settled(*key) for key in self.conversations):
                await asyncio.sleep(0.001)

    def _is_settled(self, user, conversation_id):
        turn = self.turns.current(user, conversation_id)
        question = self.conversations[user, conversation_id][-1].question
        return turn is None or turn.answers[0].place > 0 or question in self.model.waiting

    def _note_ends(self):
        """Whatever does not run any more has ended as its question says."""
        for key, known in self.conversations.items():
            if known[-1].status is MessageStatus.STREAMING and self.turns.current(*key) is None:
                known[-1].end()

    def _some(self, data, *, of=None):
        return data.draw(st.sampled_from(list(of or self.conversations)))  # as they began: ids are random

    @rule(
        data=st.data(),
        user=st.sampled_from("ab"),
        ending=st.sampled_from([*ENDINGS, *ENDINGS[:1] * 5]),
        is_new=st.booleans(),
    )
    def send(self, data, user, ending, is_new):
        self.number += 1
        text = f"{ending} {self.number}"
        mine = [key for key in self.conversations if key[0] == user]
        key = (user, "") if is_new or not mine else self._some(data, of=mine)
        running = self.turns.current(*key)

        async def sent():
            try:
                conversation = await self.turns.start(*key, text, "model", GenerationParameters())
            except ConversationBusy:
                assert running
                return
            except TooManyTurns:
                assert self.turns.running_count + self.turns.waiting_count >= LIMITS.per_user
                return
            assert not running
            known = self.conversations.setdefault((user, conversation.id), [])
            known.append(Known(text, {"", f"<{text}"}))
            await self._settled()

        self.run(sent())
        self._note_ends()

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def let_go_on(self, data):
        question = data.draw(st.sampled_from(sorted(self.model.waiting)))
        (key,) = [key for key, known in self.conversations.items() if known[-1].question == question]

        async def released():
            self.model.waiting[question].set()
            async with asyncio.timeout(SETTLE_SECONDS):
                while self.turns.current(*key):
                    await asyncio.sleep(0.001)
            await self._settled()

        self.run(released())
        self._note_ends()

    @precondition(lambda self: self.conversations)
    @rule(data=st.data())
    def stop(self, data):
        key = self._some(data)
        turn = self.turns.current(*key)
        last = self.conversations[key][-1]
        if turn:
            last.contents = {last.before if turn.answers[0].place else last.written()}
            last.status = MessageStatus.STOPPED

        async def stopped():
            assert await self.turns.stop(*key) is bool(turn)
            await self._settled()

        self.run(stopped())
        self._note_ends()

    @precondition(lambda self: self.conversations)
    @rule(data=st.data())
    def go_on(self, data):
        key = self._some(data)
        last = self.conversations[key][-1]
        turn = self.turns.current(*key)

        async def gone_on():
            messages = await self.store.messages(*key)
            answer = messages[-1]
            try:
                await self.turns.go_on(*key, answer.id, "model", GenerationParameters())
            except ConversationBusy:
                assert turn
                return
            except NothingToContinue:
                assert not can_go_on(answer)
                return
            except TooManyTurns:
                return
            assert not turn
            assert can_go_on(answer)
            last.status, last.before = MessageStatus.STREAMING, answer.content
            last.contents = {last.before, last.written()}  # without a word, it is asked for again
            await self._settled()

        self.run(gone_on())
        self._note_ends()

    @precondition(lambda self: self.conversations)
    @rule(data=st.data())
    def delete(self, data):
        key = self._some(data)
        del self.conversations[key]
        self.deleted.append(key)

        async def deleted():
            await self.turns.delete(*key)
            await self._settled()

        self.run(deleted())
        self._note_ends()

    def _is_anything_running(self):
        return any(self.turns.current(*key) for key in self.conversations)

    @precondition(_is_anything_running)
    @rule()
    def end_and_start(self):
        for key, known in self.conversations.items():
            if turn := self.turns.current(*key):
                last = known[-1]
                last.contents, last.status = {turn.answers[0].text}, MessageStatus.INTERRUPTED

        async def again():
            await self._end()
            await self._open()

        self.run(again())

    @precondition(_is_anything_running)
    @rule()
    def kill_and_start(self):
        for key, known in self.conversations.items():
            if turn := self.turns.current(*key):
                last = known[-1]
                last.contents, last.status = {turn.answers[0].text}, MessageStatus.INTERRUPTED

        async def again():
            async with asyncio.timeout(SETTLE_SECONDS):  # what is not kept yet would be lost, or not, by chance
                while not await self._is_kept():
                    await asyncio.sleep(0.001)
            self.store.killed = True
            running = [turn for key in self.conversations if (turn := self.turns.current(*key))]
            for turn in running:
                turn.answers[0].generation.cancel()
                turn.answers[0].ending.cancel()
            await self.store._store.aclose()  # frees the file's lock, as the system does
            await self._open()

        self.run(again())

    async def _is_kept(self):
        for key in self.conversations:
            if turn := self.turns.current(*key):
                stored = await self.store.message(*key, turn.answers[0].id)
                if stored.content != turn.answers[0].text:
                    return False
        return True

    @invariant()
    def what_people_were_told_is_stored_once_and_in_order(self):
        self.run(self._compare())

    async def _compare(self):
        for key, known in self.conversations.items():
            messages = await self.store.messages(*key)
            assert [message.content for message in messages[::2]] == [one.question for one in known]
            assert {message.role for message in messages[::2]} == {Role.USER}
            assert len({message.id for message in messages}) == len(messages) == 2 * len(known)
            for one, answer in zip(known, messages[1::2], strict=True):
                assert answer.content in one.contents, (one, answer)
                assert answer.status is one.status, (one, answer)
            streaming = [message for message in messages if message.status is MessageStatus.STREAMING]
            assert bool(streaming) == bool(self.turns.current(*key))
            await self._compare_watched(*key, messages[-1])
        for user in "ab":
            listed = {one.id for one in (await self.store.conversations(user)).items}
            assert listed == {name for owner, name in self.conversations if owner == user}
        for key in self.deleted:
            with pytest.raises(ConversationNotFound):
                await self.store.messages(*key)
        running = self.turns.running_count
        assert running <= LIMITS.at_once
        assert self.turns.waiting_count <= LIMITS.waiting

    async def _compare_watched(self, user, conversation_id, stored: Message):
        turn = self.turns.current(user, conversation_id)
        if turn:
            assert turn.answers[0].id == stored.id
            assert turn.answers[0].text.startswith(stored.content)


def live(make, *, examples, steps):
    """Live some lives, each in a place of its own."""
    numbers = itertools.count()

    class Machine(TurnsMachine):
        def __init__(self):
            self.place = make(str(next(numbers)))
            super().__init__()

    options = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=steps, **options))


def test_in_a_sqlite_file(tmp_path):
    live(lambda name: SQLitePlace(tmp_path / name), examples=40, steps=30)


@pytest.mark.slow
def test_in_a_journal_before_a_cloud(tmp_path):
    live(lambda name: JournaledPlace(tmp_path / name), examples=15, steps=20)


@pytest.mark.slow
def test_in_a_journal_before_firestore(tmp_path, firestore_emulator):  # noqa: F811  # the fixture
    del firestore_emulator
    live(lambda name: JournaledPlace(tmp_path / name, FirestorePlace()), examples=8, steps=15)
