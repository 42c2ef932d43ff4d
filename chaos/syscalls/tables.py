"""System call numbers and trap rules of both architectures, as data.

`ARCHITECTURES` maps `platform.machine()` to an `Architecture`; `RULES` says which calls are trapped, and for which
arguments: a call that can't matter runs at full speed. A call that an architecture lacks is simply absent there.
Numbers: the kernel's `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`. Nothing here
acts. Read `filter.py` next.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

__all__ = ["ARCHITECTURES", "READING_RULES", "READS", "RULES", "Architecture", "Rule"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One instruction set, as the kernel's seccomp sees it.

    Attributes:
        name: as `platform.machine()` spells it.
        audit: the AUDIT_ARCH value that every call of a native program carries.
        foreign_from: numbers from here on belong to another calling convention (x32); None where there is none.
        numbers: call name -> number.
    """

    name: str
    audit: int
    foreign_from: int | None
    numbers: Mapping[str, int]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Trap a call only when `(argument & mask)` is one of `values` (or, `inverted`, none of them).

    Arguments are compared by their low 32 bits: all the flag words of the kernel's interface are there.
    """

    argument: int
    mask: int
    values: tuple[int, ...]
    inverted: bool = False


_X86_64 = {
    "write": 1,
    "open": 2,
    "mmap": 9,
    "ioctl": 16,
    "pwrite64": 18,
    "writev": 20,
    "msync": 26,
    "sendfile": 40,
    "clone": 56,
    "execve": 59,
    "exit": 60,
    "fsync": 74,
    "fdatasync": 75,
    "truncate": 76,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "creat": 85,
    "link": 86,
    "unlink": 87,
    "symlink": 88,
    "chmod": 90,
    "fchmod": 91,
    "umask": 95,
    "setuid": 105,
    "setgid": 106,
    "setreuid": 113,
    "setregid": 114,
    "setgroups": 116,
    "setresuid": 117,
    "setresgid": 119,
    "setfsuid": 122,
    "setfsgid": 123,
    "mknod": 133,
    "pivot_root": 155,
    "setrlimit": 160,
    "chroot": 161,
    "sync": 162,
    "mount": 165,
    "setxattr": 188,
    "lsetxattr": 189,
    "fsetxattr": 190,
    "io_submit": 209,
    "openat": 257,
    "mkdirat": 258,
    "mknodat": 259,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "symlinkat": 266,
    "fchmodat": 268,
    "unshare": 272,
    "splice": 275,
    "sync_file_range": 277,
    "fallocate": 285,
    "pwritev": 296,
    "prlimit64": 302,
    "open_by_handle_at": 304,
    "syncfs": 306,
    "setns": 308,
    "renameat2": 316,
    "seccomp": 317,
    "execveat": 322,
    "copy_file_range": 326,
    "pwritev2": 328,
    "io_uring_setup": 425,
    "openat2": 437,
    "fchmodat2": 452,
}

_AARCH64 = {
    "io_submit": 2,
    "setxattr": 5,
    "lsetxattr": 6,
    "fsetxattr": 7,
    "ioctl": 29,
    "mknodat": 33,
    "mkdirat": 34,
    "unlinkat": 35,
    "symlinkat": 36,
    "linkat": 37,
    "renameat": 38,
    "mount": 40,
    "pivot_root": 41,
    "truncate": 45,
    "ftruncate": 46,
    "fallocate": 47,
    "chroot": 51,
    "fchmod": 52,
    "fchmodat": 53,
    "openat": 56,
    "write": 64,
    "writev": 66,
    "pwrite64": 68,
    "pwritev": 70,
    "sendfile": 71,
    "splice": 76,
    "sync": 81,
    "fsync": 82,
    "fdatasync": 83,
    "sync_file_range": 84,
    "exit": 93,
    "unshare": 97,
    "setregid": 143,
    "setgid": 144,
    "setreuid": 145,
    "setuid": 146,
    "setresuid": 147,
    "setresgid": 149,
    "setfsuid": 151,
    "setfsgid": 152,
    "setgroups": 159,
    "setrlimit": 164,
    "umask": 166,
    "clone": 220,
    "execve": 221,
    "mmap": 222,
    "msync": 227,
    "prlimit64": 261,
    "open_by_handle_at": 265,
    "syncfs": 267,
    "setns": 268,
    "renameat2": 276,
    "seccomp": 277,
    "execveat": 281,
    "copy_file_range": 285,
    "pwritev2": 287,
    "io_uring_setup": 425,
    "openat2": 437,
    "fchmodat2": 452,
}

ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": Architecture(name="x86_64", audit=0xC000003E, foreign_from=0x40000000, numbers=_X86_64),
    "aarch64": Architecture(name="aarch64", audit=0xC00000B7, foreign_from=None, numbers=_AARCH64),
}

# Calls that change nothing, and are trapped only where a fault may strike them.
READS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {"read": 0, "pread64": 17, "readv": 19, "preadv": 295, "preadv2": 327},
    "aarch64": {"read": 63, "readv": 65, "pread64": 67, "preadv": 69, "preadv2": 286},
}

# The same on both architectures: fcntl, mman and resource constants of the asm-generic headers.
_O_CREAT, _O_TRUNC, _O_TMPFILE_BIT = 0o100, 0o1000, 0o20000000
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_FICLONE, _FICLONERANGE = 0x40049409, 0x4020940D
_RLIMIT_FSIZE = 1
_CLONE_NEWNS = 0x20000
_NEW_LISTENER = 8
_S_IFMT, _S_IFREG = 0o170000, 0o100000
_CHANGING = _O_CREAT | _O_TRUNC | _O_TMPFILE_BIT

# Calls that are not named here are trapped always. An open without these flags changes nothing on the disk, and an
# inode is recognised at its first write; an mmap counts when what is stored in memory reaches the file.
RULES: Mapping[str, Rule] = {
    "open": Rule(argument=1, mask=_CHANGING, values=(0,), inverted=True),
    "openat": Rule(argument=2, mask=_CHANGING, values=(0,), inverted=True),
    "open_by_handle_at": Rule(argument=2, mask=_O_TRUNC, values=(_O_TRUNC,)),
    "mmap": Rule(argument=3, mask=_MAP_SHARED | _MAP_ANONYMOUS, values=(_MAP_SHARED,)),
    "ioctl": Rule(argument=1, mask=0xFFFFFFFF, values=(_FICLONE, _FICLONERANGE)),
    "mknod": Rule(argument=1, mask=_S_IFMT, values=(0, _S_IFREG)),
    "mknodat": Rule(argument=2, mask=_S_IFMT, values=(0, _S_IFREG)),
    "setrlimit": Rule(argument=0, mask=0xFFFFFFFF, values=(_RLIMIT_FSIZE,)),
    "prlimit64": Rule(argument=1, mask=0xFFFFFFFF, values=(_RLIMIT_FSIZE,)),
    "clone": Rule(argument=0, mask=_CLONE_NEWNS, values=(_CLONE_NEWNS,)),
    "unshare": Rule(argument=0, mask=_CLONE_NEWNS, values=(_CLONE_NEWNS,)),
    "seccomp": Rule(argument=1, mask=_NEW_LISTENER, values=(_NEW_LISTENER,)),
}

# Where reads are trapped, opens that change nothing are, too.
READING_RULES: Mapping[str, Rule] = {name: rule for name, rule in RULES.items() if name not in ("open", "openat")}
