"""What a crash may undo, as tables of named rules: the persistence models.

A model is data. The enumerator asks for its rules and never for its name, so a user's model is as good as a preset.
`RULES` says in words what each rule means and where it comes from; a rule that promises more than its source would be
a bug. Presets, from the strongest promises to the weakest: `kill`, `ext4`, `xfs`, `btrfs`, `posix`, `alice`.
Sources named below: *ALICE* is Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014, tables 2 and 3;
*Rebello* is Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020; *measured* means images of
real ext4, xfs and btrfs (Linux 6.18), copied after each call and mounted with their journals replayed, which
`validate.py` does again on any machine; two rules can't be shown that way: `failed_sync_drops_pages` needs a device
that fails, and no copy between two calls finds a page half written (`overwrite_unit_bytes`).
Read `micro.py` for how an operation falls into the pieces that the rules speak about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Literal, final, get_args, get_type_hints

from chaos.errors import UsageError

__all__ = [
    "MODELS",
    "REAL_PREFIX",
    "RULES",
    "EarlySize",
    "PersistenceModel",
    "model_named",
    "rule_values",
    "weakest_first",
]

REAL_PREFIX = "real:"
"""Before a preset's name: the states that images of that file system really hold, see `realmode.py`."""

EarlySize = Literal["no", "in_block", "zeroes", "garbage"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PersistenceModel:
    """One table of rules; each field but the first two is explained in `RULES`.

    Attributes:
        name: what reports call it.
        base: the preset that it is, or was made from; says how strong it is among others.
    """

    name: str
    base: str
    cache_survives: bool
    fsync_keeps_data: bool
    fsync_keeps_name: bool
    fsync_keeps_earlier: bool
    fdatasync_keeps_metadata: bool
    directory_fsync_keeps_entries: bool
    sync_keeps_everything: bool
    synchronous_writes: bool
    failed_sync_drops_pages: bool
    directory_order: bool
    commit_order: bool
    rename_atomic: bool
    removals_whole: bool
    replace_flushes: bool
    rewrite_after_truncate: bool
    length_needs_cut: bool
    cut_zeroes: bool
    early_size: EarlySize
    overwrite_order: bool
    overwrite_unit_bytes: int

    def __post_init__(self) -> None:
        _check(self)


RULES: Mapping[str, str] = MappingProxyType(
    {
        "cache_survives": "The process dies and the kernel lives: whatever a finished call did is there, and only the "
        "call in flight may be partly done. A 1 GiB write killed by SIGKILL was measured cut at 4.8, 15.4, 35.3 and "
        "67.9 MB, not at page borders.",
        "fsync_keeps_data": "fsync of a file makes its data and size durable. POSIX, fsync(); all file systems. Off: "
        "a disk that lies about flushes.",
        "fsync_keeps_name": "fsync of a file makes the name that the file has now durable, and the new folders above "
        "it. Not promised by POSIX (the Linux manual page fsync(2) says so); ext4, xfs and btrfs do it, measured.",
        "fsync_keeps_earlier": "fsync of anything commits all directory operations up to the last change of what is "
        "synced, because there is one journal (ext4: jbd2's running transaction) or one log (xfs); measured: n1 made, "
        "n2 made and fsynced leaves n1 there. btrfs logs single inodes: n1 is gone. Only *up to the last change*: "
        "an inode that is clean, since a background commit took it along, makes fsync commit nothing.",
        "fdatasync_keeps_metadata": "fdatasync works as fsync when more than contents changed (a new file, its size, "
        "its blocks), else it keeps data only. POSIX asks for data, and size if needed to read it. ext4 and xfs skip "
        "the commit only when nothing but times and permission bits changed.",
        "directory_fsync_keeps_entries": "fsync of a directory makes its entries durable. Linux manual page fsync(2); "
        "all measured.",
        "sync_keeps_everything": "sync and syncfs make everything before them durable. Linux manual page sync(2); "
        "POSIX lets sync return early, Linux does not.",
        "synchronous_writes": "O_SYNC, O_DSYNC and RWF_DSYNC make that write durable as fsync or fdatasync of it "
        "would. Linux manual page open(2).",
        "failed_sync_drops_pages": "After an fsync that returned an error dirty pages are clean: they may never reach "
        "the disk, and the next fsync, which succeeds, promises nothing for them. Rebello for ext4, xfs and btrfs. "
        "Off: the next fsync tries them again (FreeBSD, ZFS).",
        "directory_order": "Changes of names, of permission bits and by truncate persist in order: what is there "
        "after a crash is a prefix of them. ext4 and xfs by their journals (ALICE, table 2: safe in ordered mode); "
        "not btrfs (ALICE found it reorders directory operations), and nothing in POSIX.",
        "commit_order": "Of the same changes, those since the last sync of anything persist in order and whole, and "
        "after all that came before: only a commit of everything writes them. btrfs, whose log, which alone takes "
        "single inodes, is written by syncs (btrfs developer documentation, transactions and the log tree; measured: "
        "no random workload's image showed otherwise). ext4 and xfs promise more by directory_order; POSIX nothing.",
        "rename_atomic": "A rename happens as a whole: never both names, never none. POSIX rename(); ALICE, table 2, "
        "atomicity of directory operations. Off: the old target vanishes, the new name comes, the old name goes, "
        "each on its own; a folder's rename stays whole, for half of one is no tree.",
        "removals_whole": "What takes names away does so as a whole, and for good. Off on btrfs, whose log holds names "
        "of single files; measured: a file of two names that is synced after a rename took one of them is without it, "
        "and the rename not there; a file renamed and unlinked is gone, and what the rename replaced is back; a name "
        "that is removed leads again to what it led to before the last full commit, though it led elsewhere since; "
        "a file moved to another folder that is synced has both names.",
        "replace_flushes": "rename over an existing file first flushes the new file's newly allocated blocks "
        "(ext4's auto_da_alloc, kernel documentation ext4.rst; measured: the target is new and whole, but for a "
        "journal commit within the milliseconds that the flush takes, which leaves zeroes and is left out). Measured "
        "on xfs and btrfs: the target is empty (btrfs begins to flush unless the file replaced is empty, and waits "
        "for nothing). Blocks overwritten in place are not waited for.",
        "rewrite_after_truncate": "New blocks written after a truncate can't be there without it, as both are "
        "metadata of one inode (ext4, xfs, btrfs; measured: as before, empty or new). POSIX: either without the other. "
        "That truncate and rewrite is flushed at close is promised nowhere; ext4's heuristic only shortens a window.",
        "length_needs_cut": "After a crash a file is shorter than it was only with the truncate that made it so. Off "
        "on btrfs: where it logs a name, it logs the file's length of that moment, and the old contents. A file "
        "truncated, written to 100 bytes and renamed, its folder synced: measured, its first 100 old bytes.",
        "cut_zeroes": "What a truncate cut off inside a block is gone. Off on btrfs: made longer again, before the "
        "block is written the file shows the old bytes there. Truncated to 4,500 bytes, synced, truncated to 9,500, "
        "then a commit: measured, the old bytes from 4,500 to 8,192.",
        "early_size": "Can an append's size become durable before its data? no: xfs sets it after the data, btrfs "
        "with its extent. in_block: only within a block that already is on the disk, which then reads zeroes; ext4 "
        "in ordered mode, whose ordering covers newly allocated blocks alone. zeroes: always, the posix reading. "
        "garbage: the bytes are what the disk held before (ALICE, table 2, size and data appended separately).",
        "overwrite_order": "Unsynced overwrites in place persist in the order in which they were made. No file "
        "system promises it; on for models of synchronous mounts and of data journalling.",
        "overwrite_unit_bytes": "How much of one overwrite is atomic. 512: a disk's sector, all that POSIX systems "
        "had (ALICE, table 2, 'one sector overwrite'). 4096: one page is written as one request of a 4 KiB block "
        "(ext4, xfs), or is copied on write (btrfs). Smaller blocks, which mke2fs chooses below 512 MB, are "
        "smaller units: measured with 1 KiB, a page is then found half new.",
    }
)

_CHECKS: Mapping[str, tuple[object, ...]] = MappingProxyType({"overwrite_unit_bytes": (512, 1024, 2048, 4096)})


def rule_values(rule: str) -> tuple[str, ...]:
    """What a rule may be, as it is written in a model of one's own."""
    hint = get_type_hints(PersistenceModel)[rule]
    allowed = _CHECKS.get(rule) or get_args(hint) or (True, False)
    return tuple(_shown(value).strip("'") for value in allowed)


def _check(model: PersistenceModel) -> None:
    hints = get_type_hints(PersistenceModel)
    for field in fields(PersistenceModel):
        value, hint = getattr(model, field.name), hints[field.name]
        allowed = _CHECKS.get(field.name) or get_args(hint) or ((True, False) if hint is bool else ())
        wrong_type = not isinstance(value, hint) if hint in (bool, str, int) else False
        if wrong_type or (hint is int and isinstance(value, bool)) or (allowed and value not in allowed):
            wanted = ", ".join(_shown(choice) for choice in allowed) or f"a {hint.__name__}"
            raise UsageError(
                f"persistence model {model.name!r}: rule {field.name} is {_shown(value)}", f"use one of: {wanted}"
            )


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


# Preset -> rules that differ from the preset before it; the first is complete.
_KILL = PersistenceModel(
    name="kill",
    base="kill",
    cache_survives=True,
    fsync_keeps_data=True,
    fsync_keeps_name=True,
    fsync_keeps_earlier=True,
    fdatasync_keeps_metadata=True,
    directory_fsync_keeps_entries=True,
    sync_keeps_everything=True,
    synchronous_writes=True,
    failed_sync_drops_pages=False,  # the page cache still has them
    directory_order=True,
    commit_order=True,
    rename_atomic=True,
    removals_whole=True,
    replace_flushes=True,
    rewrite_after_truncate=True,
    length_needs_cut=True,
    cut_zeroes=True,
    early_size="no",
    overwrite_order=True,
    overwrite_unit_bytes=4096,
)
_EXT4 = replace(
    _KILL,
    name="ext4",
    base="ext4",
    cache_survives=False,
    failed_sync_drops_pages=True,
    overwrite_order=False,
    early_size="in_block",
)
_XFS = replace(_EXT4, name="xfs", base="xfs", replace_flushes=False, early_size="no")
_BTRFS = replace(
    _XFS,
    name="btrfs",
    base="btrfs",
    fsync_keeps_earlier=False,
    directory_order=False,
    removals_whole=False,
    length_needs_cut=False,
    cut_zeroes=False,
)
_POSIX = replace(
    _BTRFS,
    name="posix",
    base="posix",
    fsync_keeps_name=False,
    commit_order=False,
    fdatasync_keeps_metadata=False,
    rewrite_after_truncate=False,
    early_size="zeroes",
    overwrite_unit_bytes=512,
)
_ALICE = replace(_POSIX, name="alice", base="alice", rename_atomic=False, early_size="garbage")

# From the strongest promises to the weakest.
MODELS: Mapping[str, PersistenceModel] = MappingProxyType(
    {model.name: model for model in (_KILL, _EXT4, _XFS, _BTRFS, _POSIX, _ALICE)}
)


def model_named(name: str) -> PersistenceModel:
    """A preset, one with other rules, or real images.

    Args:
        name: `xfs`; a preset and the rules that differ, `xfs fsync_keeps_data=false overwrite_unit_bytes=512`;
            or a file system's images, `real:xfs`.

    Raises:
        UsageError: there is none of that name, or a rule or its value is wrong.
    """
    if " " in name:
        return _adapted(name)
    if name.startswith(REAL_PREFIX) and name.removeprefix(REAL_PREFIX) in ("ext4", "xfs", "btrfs"):
        return replace(MODELS[name.removeprefix(REAL_PREFIX)], name=name)
    if name not in MODELS:
        raise UsageError(f"no persistence model {name!r}", f"use one of: {', '.join(MODELS)}")
    return MODELS[name]


def weakest_first(model: PersistenceModel) -> int:
    """Sort key: a finding is named after the first model that shows it: `kill` first, images before their model."""
    return 2 * list(MODELS).index(model.base) - model.name.startswith(REAL_PREFIX)


def _adapted(text: str) -> PersistenceModel:
    """A user's model: the preset that it starts from, and the rules that differ."""
    base, *changes = text.split()
    if base not in MODELS:
        raise UsageError(f"no persistence model {base!r} to start from in {text!r}", f"use one of: {', '.join(MODELS)}")
    given: dict[str, object] = {}
    for change in changes:
        rule, _, value = change.partition("=")
        if rule not in RULES:
            raise UsageError(f"model {text!r}: there is no rule {rule!r}", f"the rules are: {', '.join(RULES)}")
        known = {"true": True, "false": False}
        given[rule] = known.get(value, int(value) if value.isdecimal() else value)
    return replace(MODELS[base], name=text, **given)  # type: ignore[arg-type]
