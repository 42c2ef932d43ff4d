"""The format of a scenario file, as a table of fields.

    name = "json-overwrite"                 required, unique
    description = "..."
    budget = "60s"                          or a number of states, episodes or runs
    kind = "explore"                        how it is driven; with it:
    models = ["kill"]                       which crashes
    isolation = "fork"                      how recoveries are kept apart
    oracles = ["recovers", "atomic"]        what must hold
    exclude = ["*-shm"]                     files that are not watched
    deadline = "10s"                        for one recovery
    workload_deadline = "60s"               for the recorded run
    memory = "512MB"                        for one recovery
    engine = "auto"
    failed_sync = 1                         this fsync of the workload fails once

    [target]                                "module:object", or a list of commands (lists of arguments)
    setup, workload*, recover*, check, resume
    [target.env]                            for commands

    [[expect]]                              findings that are meant to appear
    oracle*, model, damage, source

    kind = "inject"                         a fault in each run; with it:
    models = ["ext4"]                       what each run leaves is crashed as well; not, when left out
    runs = 20                               when faults are drawn by chance
    oracles, exclude, deadline, workload_deadline, memory; [target], [target.env], [[expect]] as above

    [[fault]]                               what is done (one of): errno, short, delay, hang, pause, lie, full, kill
    call, path, process                     to which calls
    nth, every, probability, onwards, after_ack

    [bounds]                                of the kinds explore and inject, for the oracle bounded
    memory, file, recovery, rounds

    kind = "race"                           processes side by side; with it:
    oracles = ["exclusive"]                 what must hold
    history = "counter"                     what the workers' calls are held against, and its first value
    initial = 0
    deadline = "5s"                         how long a worker may compute between two calls
    steps = 2000                            how many calls an episode may take
    exclude = ["*-shm"]                     files that may be changed through shared memory

    [target]
    setup, workers* (a list), check
    [target.env], [[expect]]                as above

    kind = "fleet"                          live workers that are hurt, healed and judged; with it:
    workers = 3                             how many
    duration = "3s"                         how long one run is hurt at most
    progress = "10s"                        how long each may take to go on afterwards
    finish = "10s"                          and to return, where workers do
    deadline = "30s"                        for set-up and recovery
    disk = "16MB"                           a disk of their own
    oracles, history, initial               as above

    [target]
    worker*, recover, setup, check, service
    [target.env], [[expect]]                as above

    [[fault]]                               what is done to them
    kind*, workers, every or statements, first, count, lasts, amount, clock, shift
    latency, ... probability                with kind = "network", as [[network]] below

    [restart]                               what becomes of those who died
    policy*, most, backoff

    [bounds]                                for the oracle `bounded`
    memory, file, disk, recovery

    kind = "agent"                          a program that asks an LLM, under a fake one; with it:
    oracles = ["terminates"]                what must hold
    rounds = 50                             how many requests a run may make
    deadline = "30s"                        how long a run may take

    [target]
    agent*, setup, check
    [target.env], [[expect]]                as above

    [llm]                                   what the fake LLM does
    then = "end"                            when its turns are over: end, last, again
    troubles = ["timeout"]                  each is made at each request in turn as well
    [[llm.turn]]                            say, or feedback and texts; trouble, times, status, retry_after,
                                            after_chunks, finish
    [[network]]                             what is done to its connections: latency, jitter, bytes_per_second, corrupt,
                                            slow_close, cut, after_bytes; direction, connections, probability

A scenario is data: a target is imported only when it is run. `loader.py` reads files by this table, `schema.py`
prints it as JSON schema; what each kind has of its own is in `fields/`.
"""

from chaos.scenario.fields.agent import AGENT
from chaos.scenario.fields.explore import EXPLORE
from chaos.scenario.fields.fleet import FLEET
from chaos.scenario.fields.inject import INJECT
from chaos.scenario.fields.pieces import Kind
from chaos.scenario.fields.race import RACE
from chaos.scenario.model import Profile
from chaos.scenario.quantities import DURATION_PATTERN, budget
from chaos.scenario.shapes import Field, choice, measured, text

__all__ = ["COMMON", "DEFAULT_KIND", "KINDS", "NAME_PATTERN"]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # it becomes a folder's name, and must not lead out of one
_NAME_LIMIT = 80
_BUDGET_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": rf"{DURATION_PATTERN}|^[0-9]{{1,12}}$"}]
}

KINDS: dict[str, Kind] = {"explore": EXPLORE, "inject": INJECT, "race": RACE, "fleet": FLEET, "agent": AGENT}
DEFAULT_KIND = "explore"

COMMON = (
    Field(
        key="name",
        shape=text("a name of letters, digits, '.', '_' and '-'", NAME_PATTERN, _NAME_LIMIT),
        about="unique among the scenarios of a run",
        required=True,
        example='name = "json-overwrite"',
    ),
    Field(key="description", shape=text("a text"), about="for people"),
    Field(key="kind", shape=choice(list(KINDS)), about="how it is driven"),
    Field(
        key="budget",
        shape=measured(_BUDGET_SCHEMA, budget),
        about="where to stop: a number, or a duration",
    ),
    Field(
        key="profile",
        shape=choice([profile.value for profile in Profile]),
        about="the least profile that runs it without being asked for it by name or file",
    ),
)
