"""The life of turns under any order of questions, edits, answers anew, switches, stops, deletions, kills and restarts.

A model of what people were told is kept beside the real thing: whatever they were told is stored, once, in order, and
what they see is the path that they would expect.
"""

import asyncio
import itertools
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatapp.conversations.service import Conversations
from chatapp.domain.conversation import FinishReason, GenerationParameters, MessageStatus, Role
from chatapp.domain.errors import ConversationBusy, ConversationNotFound, NothingToContinue, RateLimited, TooManyTurns
from chatapp.domain.message_tree import MessageTree
from chatapp.generation.prepare import CONTINUE_PROMPT
from chatapp.generation.queue import TurnLimits
from chatapp.generation.runner import TurnRunner
from chatapp.models import Finish, ModelDefaults, ModelState, ModelStatus, TextDelta
from chatapp.models.catalog import Catalog
from tests.chatapp.generation.running import answer_request, turn_request
from tests.chatapp.store.conftest import FirestorePlace, JournaledPlace, SQLitePlace
from tests.firestore_emulator import firestore_emulator  # noqa: F401  # a fixture

LIMITS = TurnLimits(per_user=2, at_once=3, waiting=2)
SETTLE_SECONDS = 20
ENDINGS = ("waits", "whole", "fails", "length", "nothing")
MOST_MESSAGES = 14  # of a conversation
EARLY = {MessageStatus.STOPPED, MessageStatus.INTERRUPTED, MessageStatus.ERROR}


class Model(ModelDefaults):
    """Answers as the system prompt says: "ENDING NUMBER"; one that waits does so after its first words.

    Attributes:
        waiting: what lets an answer go on, by its system prompt.
        asked: what was sent for each answer.
    """

    id = "model"
    label = "Model"
    context_tokens = None

    def __init__(self):
        self.waiting = {}
        self.asked = {}

    async def stream(self, messages, parameters):
        name = parameters.system_prompt
        self.asked[name] = [message.content for message in messages]
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
    """What a person knows of a message.

    Attributes:
        id: as the chat gave it.
        name: the question, or what its answer's model was told.
        follows: the message before it, None at the beginning.
        contents: what it may be now; a question is as it was asked.
        status: an answer's.
        before: what was written before the answer went on; "" at first.
    """

    id: str
    name: str
    role: Role
    follows: "Known | None"
    contents: set[str] = field(default_factory=set)
    status: MessageStatus = MessageStatus.COMPLETE
    before: str = ""

    def written(self):
        """Return what an answer is while it waits for a word from the test."""
        return self.before or f"<{self.name}"

    def end(self):
        """Note that an answer ended as its model was told."""
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
class Talk:
    """What a person knows of a conversation.

    Attributes:
        messages: in the order in which they were begun.
        pairs: the two answers of each question that has two from the beginning.
        branch: what was switched to last, while nothing new came elsewhere.
    """

    messages: list[Known] = field(default_factory=list)
    pairs: list[list[Known]] = field(default_factory=list)
    branch: Known | None = None

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
    """Two people, a few conversations, and a chat that may end at any moment."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.talks = {}  # (user, id): Talk
        self.marked = {}  # the same of those whose deletion can be undone
        self.gone = []
        self.number = 0
        self.run(self._open())

    async def _open(self):
        self.model = Model()
        self.store = Killable(await self.place.open())
        self.catalog = Catalog([self.model])
        await self.catalog.check()
        self.turns = TurnRunner(self.store, self.catalog, batch_seconds=0, checkpoint_seconds=0.005, limits=LIMITS)
        self.conversations = Conversations(self.store, self.turns.changes, self.turns, undo_seconds=1e9)

    def teardown(self):
        self.run(self._end())
        self.runner.close()

    async def _end(self):
        await self.turns.aclose()
        await self.conversations.aclose()
        await self.store.aclose()

    async def _settled(self):
        """Wait until every running answer waits for a word from the test, or in line."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while not all(map(self._is_settled, self.talks)):
                await asyncio.sleep(0.001)

    def _is_settled(self, key):
        turn = self.turns.current(*key)
        return turn is None or all(
            answer.has_ended
            or answer.queue_position > 0
            or answer.prompt.parameters.system_prompt in self.model.waiting
            for answer in turn.answers
        )

    def _note_ends(self):
        """Whatever does not run any more has ended as its model was told."""
        for key, talk in self.talks.items():
            for known in talk.streaming():
                if self._running(key, known) is None:
                    known.end()

    def _running(self, key, known):
        turn = self.turns.current(*key)
        answers = turn.answers if turn else []
        return next((one for one in answers if one.id == known.id and not one.has_ended), None)

    def _name(self, ending):
        self.number += 1
        return f"{ending} {self.number}"

    def _some(self, data, *, of=None):
        return data.draw(st.sampled_from(list(of or self.talks)))  # as they began: ids are random

    def _tried(self, key, answers, asking):
        """Ask; return the conversation, or None where it was rightly refused."""
        is_busy = key in self.talks and self.turns.is_busy(*key)

        async def tried():
            try:
                conversation = await asking()
            except ConversationBusy:
                assert is_busy
                return None
            except TooManyTurns:
                assert self.turns.running_count + self.turns.waiting_count + answers > LIMITS.per_user
                return None
            assert not is_busy
            return conversation

        return self.run(tried())

    @rule(
        data=st.data(),
        user=st.sampled_from("ab"),
        endings=st.lists(st.sampled_from([*ENDINGS, *ENDINGS[:1] * 5]), min_size=1, max_size=2),
        is_new=st.booleans(),
    )
    def ask(self, data, user, endings, is_new):
        mine = [key for key in self.talks if key[0] == user and len(self.talks[key].messages) < MOST_MESSAGES]
        key = (user, "") if is_new or not mine else self._some(data, of=mine)
        talk = self.talks.get(key, Talk())
        answers = [one for one in talk.messages if one.role is Role.ASSISTANT]
        follows = data.draw(st.sampled_from([None, "", *answers])) if key[1] else None  # an edit, as a rule not
        names = [self._name(ending) for ending in endings]
        text = f"question {self.number}"
        named = follows.id if isinstance(follows, Known) else follows

        async def asking():
            request = turn_request(text, key[1], answers=[asked(name) for name in names], follows=named)
            return await self.turns.start(key[0], request)

        conversation = self._tried(key, len(names), asking)
        if conversation:
            self.talks[user, conversation.id] = talk
            if follows is None:
                follows = talk.shown()[-1] if talk.messages else None
            turn_messages = self.run(self._new_messages((user, conversation.id), talk))
            question = Known(turn_messages[0].id, text, Role.USER, follows or None, {text})
            new = [
                Known(message.id, name, Role.ASSISTANT, question, {"", f"<{name}"}, MessageStatus.STREAMING)
                for message, name in zip(turn_messages[1:], names, strict=True)
            ]
            talk.begin(question, *new)
            talk.pairs += [new] if len(new) > 1 else []
        self._settle_and_note()

    @precondition(lambda self: self.talks)
    @rule(data=st.data(), ending=st.sampled_from([*ENDINGS, "waits"]))
    def answer_again(self, data, ending):
        key = self._some(data)
        talk, name = self.talks[key], self._name(ending)
        question = data.draw(st.sampled_from([one for one in talk.messages if one.role is Role.USER]))

        async def asking():
            return await self.turns.regenerate(*key, question.id, asked(name))

        if len(talk.messages) < MOST_MESSAGES and self._tried(key, 1, asking):
            (new,) = self.run(self._new_messages(key, talk))
            talk.begin(Known(new.id, name, Role.ASSISTANT, question, {"", f"<{name}"}, MessageStatus.STREAMING))
        self._settle_and_note()

    async def _new_messages(self, key, talk):
        known = {one.id for one in talk.messages}
        return [message for message in await self.store.messages(*key) if message.id not in known]

    def _settle_and_note(self):
        self.run(self._settled())
        self._note_ends()

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def let_go_on(self, data):
        name = data.draw(st.sampled_from(sorted(self.model.waiting)))
        ((key, known),) = [(k, one) for k, talk in self.talks.items() for one in talk.messages if one.name == name]

        async def released():
            self.model.waiting[name].set()
            async with asyncio.timeout(SETTLE_SECONDS):
                while self._running(key, known):
                    await asyncio.sleep(0.001)

        self.run(released())
        self._settle_and_note()

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def stop(self, data):
        key = self._some(data)
        self.run(self._stopped(key))
        self._settle_and_note()

    async def _stopped(self, key):
        running = self.turns.is_busy(*key)
        for known in self.talks[key].streaming():
            place = self._running(key, known).queue_position
            known.contents, known.status = {known.before if place else known.written()}, MessageStatus.STOPPED
        assert await self.turns.stop(*key) is running

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def go_on(self, data):
        key = self._some(data)
        talk = self.talks[key]
        known = data.draw(st.sampled_from(talk.messages))
        is_busy = self.turns.is_busy(*key)
        (stored,) = [one for one in self.run(self.store.messages(*key)) if one.id == known.id]
        is_early = known.status in EARLY or stored.finish_reason is FinishReason.LENGTH
        is_at_end = known in talk.shown() and not any(one.follows is known for one in talk.messages)

        async def gone_on():
            try:
                await self.turns.continue_answer(*key, known.id, asked(known.name))
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
                known.status, known.before = MessageStatus.STREAMING, stored.content
                known.contents = {known.before, known.written()}  # without a word, it is asked for again

        self.run(gone_on())
        self._settle_and_note()

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def switch(self, data):
        key = self._some(data)
        talk = self.talks[key]
        known = data.draw(st.sampled_from([None, *talk.messages]))
        is_busy = self.turns.is_busy(*key)

        async def switched():
            try:
                await self.conversations.switch(*key, known.id if known else "")
            except ConversationBusy:
                assert is_busy
            else:
                assert not is_busy
                talk.branch = known

        self.run(switched())

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def delete(self, data):
        key = self._some(data)

        async def deleted():
            await self._stopped(key)  # which a deletion does too; so it is known as what
            await self.conversations.delete(*key)

        self.run(deleted())
        self.marked[key] = self.talks.pop(key)
        self._settle_and_note()

    @precondition(lambda self: self.marked)
    @rule(data=st.data())
    def undo(self, data):
        key = self._some(data, of=self.marked)
        self.run(self.conversations.restore(*key))
        self.talks[key] = self.marked.pop(key)

    @precondition(lambda self: self.marked)
    @rule(data=st.data())
    def let_time_pass(self, data):
        user, _ = self._some(data, of=self.marked)

        async def purged():
            await self.conversations.aclose()  # as at a restart: whoever lists next purges
            self.conversations.undo_seconds = 0
            await self.conversations.listed(user)
            await asyncio.gather(*self.conversations._purges.values())
            self.conversations.undo_seconds = 1e9

        self.run(purged())
        for key in [key for key in self.marked if key[0] == user]:
            del self.marked[key]
            self.gone.append(key)

    def _is_anything_running(self):
        return any(self.turns.current(*key) for key in self.talks)

    def _note_interruption(self):
        for key, talk in self.talks.items():
            for known in talk.streaming():
                known.contents, known.status = {self._running(key, known).text}, MessageStatus.INTERRUPTED

    @precondition(_is_anything_running)
    @rule()
    def end_and_start(self):
        self._note_interruption()

        async def again():
            await self._end()
            await self._open()

        self.run(again())

    @precondition(_is_anything_running)
    @rule()
    def kill_and_start(self):
        self._note_interruption()

        async def again():
            async with asyncio.timeout(SETTLE_SECONDS):  # what is not kept yet would be lost, or not, by chance
                while not await self._is_kept():
                    await asyncio.sleep(0.001)
            self.store.killed = True
            for turn in [turn for key in self.talks if (turn := self.turns.current(*key))]:
                turn.task.cancel()
            await self.conversations.aclose()
            await self.store._store.aclose()  # frees the file's lock, as the system does
            await self._open()

        self.run(again())

    async def _is_kept(self):
        for key in self.talks:
            if turn := self.turns.current(*key):
                for answer in turn.answers:
                    if (await self.store.message(*key, answer.id)).content != answer.text:
                        return False
        return True

    @invariant()
    def what_people_were_told_is_stored_once_and_in_order(self):
        self.run(self._compare())

    async def _compare(self):
        for key, talk in self.talks.items():
            messages = await self.store.messages(*key)
            assert [message.id for message in messages] == [known.id for known in talk.messages]
            for known, message in zip(talk.messages, messages, strict=True):
                assert message.role is known.role
                assert message.content in known.contents, (known, message)
                assert message.status is known.status, (known, message)
                assert message.follows == (known.follows.id if known.follows else "")
                if running := self._running(key, known):
                    assert running.text.startswith(message.content)
            assert bool(talk.streaming()) == self.turns.is_busy(*key)
            conversation = await self.conversations.open(*key)
            shown = [message.id for message, _ in MessageTree(messages).shown(conversation.branch)]
            assert shown == [known.id for known in talk.shown()]
        for user in "ab":
            listed = {one.id for one in (await self.conversations.listed(user)).items}
            assert listed == {name for owner, name in self.talks if owner == user}
        for key in [*self.marked, *self.gone]:
            with pytest.raises(ConversationNotFound):
                await self.conversations.open(*key)
            with pytest.raises((ConversationNotFound, TooManyTurns)):
                await self.turns.start(key[0], turn_request("more", key[1], answers=[asked("nothing 0")]))
        for key in self.gone:
            with pytest.raises(ConversationNotFound):
                await self.store.messages(*key)
        assert self.turns.running_count <= LIMITS.at_once
        assert self.turns.waiting_count <= LIMITS.waiting

    @invariant()
    def models_were_sent_the_path_to_what_they_answer(self):
        for talk in self.talks.values():
            for known in talk.messages:
                sent = self.model.asked.get(known.name)
                if known.role is Role.ASSISTANT and sent and sent[-1] != CONTINUE_PROMPT:
                    path = known.path()[:-1]
                    assert len(sent) == len(path)
                    assert all(text in before.contents for text, before in zip(sent, path, strict=True))


def asked(name):
    """Return a request for an answer that tells the model how to answer."""
    return answer_request("model", GenerationParameters(system_prompt=name))


def run_machine(make, *, examples, steps):
    """Run the machine with new examples, each in a place of its own."""
    numbers = itertools.count()

    class Machine(TurnsMachine):
        def __init__(self):
            self.place = make(str(next(numbers)))
            super().__init__()

    options = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=steps, **options))


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "steps"), [(8, 20), pytest.param(60, 30, marks=pytest.mark.long)])
def test_turns_in_a_sqlite_file(tmp_path, examples, steps):
    run_machine(lambda name: SQLitePlace(tmp_path / name), examples=examples, steps=steps)


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "steps"), [(4, 15), pytest.param(20, 20, marks=pytest.mark.long)])
def test_turns_in_a_journal_before_a_cloud(tmp_path, examples, steps):
    run_machine(lambda name: JournaledPlace(tmp_path / name), examples=examples, steps=steps)


@pytest.mark.long
def test_turns_in_a_journal_before_firestore(tmp_path, firestore_emulator):  # noqa: F811  # the fixture
    del firestore_emulator
    run_machine(lambda name: JournaledPlace(tmp_path / name, FirestorePlace()), examples=8, steps=15)
