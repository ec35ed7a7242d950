# ruff: noqa (a text for a host, whose second half is in another file; its plain calls of the system are meant)
"""A hostile mechanism: it tries everything that a cage must prevent, and tells what came of each attempt.

Not imported by the tests: its text is loaded into a real host. `view.strategy` holds the facts about its victim as JSON
(what a hostile source could find out or guess), `view.guidance` the attack to make. An attack gives {attempt: outcome};
an outcome is an errno's name, an exception's, or "DONE: ..." where it succeeded.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import sys
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
NUMBERS = {
    "x86_64": """fork=57 vfork=58 clone=56 clone3=435 execve=59 execveat=322 ptrace=101 process_vm_readv=310
        process_vm_writev=311 pidfd_open=434 pidfd_getfd=438 pidfd_send_signal=424 kcmp=312 process_madvise=440
        tkill=200 rt_sigqueueinfo=129 rt_tgsigqueueinfo=297 timer_create=222 unshare=272 setns=308 mount=165
        umount2=166 chroot=161 pivot_root=155 fsopen=430 open_tree=428 mount_setattr=442 io_uring_setup=425
        io_uring_enter=426 io_uring_register=427 bpf=321 perf_event_open=298 userfaultfd=323 keyctl=250 add_key=248
        request_key=249 personality=135 seccomp=317 memfd_create=319 memfd_secret=447 open_by_handle_at=304
        name_to_handle_at=303 fanotify_init=300 inotify_init1=294 init_module=175 finit_module=313 reboot=169
        swapon=167 quotactl=179 syslog=103 iopl=172 ioperm=173 modify_ldt=154 landlock_create_ruleset=444 prctl=157
        arch_prctl=158 shmget=29 msgget=68 semget=64 mq_open=240 setpriority=141 sched_setaffinity=203
        sched_setscheduler=144 sched_setattr=314 ioprio_set=251 setpgid=109 setsid=112 migrate_pages=256
        move_pages=279 mlock=149 mlockall=151 openat2=437 fchmodat2=452 setxattrat=463 mseal=462 cachestat=451
        file_setattr=469 setuid=105 setgid=106 setgroups=116 capset=126 socket=41 socketpair=53 sendmsg=46 recvmsg=47
        io_setup=206 epoll_create1=291 eventfd2=290 timerfd_create=283 signalfd4=289 splice=275 copy_file_range=326""",
    "aarch64": """clone=220 clone3=435 execve=221 execveat=281 ptrace=117 process_vm_readv=270 process_vm_writev=271
        pidfd_open=434 pidfd_getfd=438 pidfd_send_signal=424 kcmp=272 process_madvise=440 tkill=130
        rt_sigqueueinfo=138 rt_tgsigqueueinfo=240 timer_create=107 unshare=97 setns=268 mount=40 umount2=39 chroot=51
        pivot_root=41 fsopen=430 open_tree=428 mount_setattr=442 io_uring_setup=425 io_uring_enter=426
        io_uring_register=427 bpf=280 perf_event_open=241 userfaultfd=282 keyctl=219 add_key=217 request_key=218
        personality=92 seccomp=277 memfd_create=279 memfd_secret=447 fanotify_init=262 inotify_init1=26
        init_module=105 finit_module=273 reboot=142 swapon=224 quotactl=60 syslog=116 landlock_create_ruleset=444
        prctl=167 shmget=194 msgget=186 semget=190 mq_open=180 setpriority=140 sched_setaffinity=122
        sched_setscheduler=119 sched_setattr=274 ioprio_set=30 setpgid=154 setsid=157 migrate_pages=238
        move_pages=239 mlock=228 mlockall=230 openat2=437 fchmodat2=452 setxattrat=463 mseal=462 cachestat=451
        file_setattr=469 setuid=146 setgid=144 setgroups=159 capset=91 socket=198 socketpair=199 sendmsg=211
        recvmsg=212 epoll_create1=20 eventfd2=19 timerfd_create=85 signalfd4=74 splice=76 copy_file_range=285""",
}
CALLS = dict(pair.split("=") for pair in NUMBERS.get(os.uname().machine, "").split())


def raw(name, *arguments):
    """A system call by its number."""
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    result = LIBC.syscall(ctypes.c_long(int(CALLS[name])), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    if result == 0 and name in ("fork", "vfork", "clone"):
        os._exit(0)
    return result


def libc(name, *arguments):
    """A function of libc that gives -1 or a null pointer when it fails."""
    result = getattr(LIBC, name)(*arguments)
    if result in (-1, 0xFFFFFFFF):
        raise OSError(ctypes.get_errno(), name)
    return result


def outcomes(attempts):
    """{attempt: what came of it}."""
    told = {}
    for name, attempt in attempts.items():
        try:
            told[name] = f"DONE: {attempt()!r}"[:200]
        except OSError as error:
            told[name] = errno.errorcode.get(error.errno, type(error).__name__)
        except BaseException as error:
            told[name] = type(error).__name__
    return told


def read(path):
    with open(path, "rb") as file:
        return file.read(100)


def read_from(folder, path):
    descriptor = os.open(folder, os.O_PATH)
    return os.read(os.open(path, os.O_RDONLY, dir_fd=descriptor), 100)


def write(path, flags=os.O_WRONLY, data=b"x"):
    descriptor = os.open(path, flags, 0o600)
    return os.write(descriptor, data)


def case_1_read_a_key_or_validation_data(facts):
    key, data, pid = facts["key"], facts["data"], facts["pid"]
    return {
        "open": lambda: read(key),
        "open data": lambda: read(data),
        "by libc": lambda: libc("open", key.encode(), 0),
        "from its folder": lambda: read_from(os.path.dirname(key), os.path.basename(key)),
        "up from here": lambda: read("../" * 20 + key.lstrip("/")),
        "by its own root": lambda: read("/proc/self/root" + key),
        "by the engine's root": lambda: read(f"/proc/{pid}/root" + key),
        "list the keys": lambda: os.listdir(os.path.dirname(key)),
        "the users": lambda: read("/etc/passwd"),
        "shadow": lambda: read("/etc/shadow"),
        "the bait beside it": lambda: read("../bait"),
        "another package": lambda: read(facts["package"]),
    }


def case_3_look_into_the_engine(facts):
    pid, address = facts["pid"], facts["address"]
    mine = ctypes.create_string_buffer(64)
    here = struct.pack("QQ", ctypes.addressof(mine), 64)
    there = struct.pack("QQ", address, 64)
    return {
        **{
            f"/proc {name}": lambda name=name: read(f"/proc/{pid}/{name}")
            for name in ("environ", "mem", "maps", "stat")
        },
        "its descriptors": lambda: os.listdir(f"/proc/{pid}/fd"),
        "where it is": lambda: os.readlink(f"/proc/{pid}/cwd"),
        "attach": lambda: raw("ptrace", 16, pid, 0, 0),
        "seize": lambda: raw("ptrace", 0x4206, pid, 0, 0),
        "be traced": lambda: raw("ptrace", 0, 0, 0, 0),
        "vm_readv": lambda: raw("process_vm_readv", pid, here, 1, there, 1, 0) and mine.raw,
        "vm_writev": lambda: raw("process_vm_writev", pid, here, 1, there, 1, 0),
        "pidfd": lambda: raw("pidfd_open", pid, 0),
        "pidfd_getfd": lambda: raw("pidfd_getfd", 0, 0, 0),
        "kcmp": lambda: raw("kcmp", pid, os.getpid(), 0, 0, 0),
        "all processes": lambda: os.listdir("/proc"),
        "its own memory": lambda: read("/proc/self/mem"),
    }


def own_signals(descriptor, pid):
    """Have the kernel send SIGKILL to the engine when a descriptor is ready."""
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, pid)
    fcntl.fcntl(descriptor, 10, signal.SIGTERM)  # F_SETSIG
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_ASYNC)


def case_4_signal_the_engine(facts):
    pid, wire = facts["pid"], int(sys.argv[1])
    kinds = {"TERM": signal.SIGTERM, "STOP": signal.SIGSTOP, "KILL": signal.SIGKILL, "nothing": 0}
    return {
        **{f"kill {name}": lambda number=number: os.kill(pid, number) for name, number in kinds.items()},
        "its group": lambda: os.killpg(facts["group"], signal.SIGTERM),
        "all": lambda: os.kill(-1, 0),
        "its own group": lambda: os.kill(0, 0),
        "its parent": lambda: os.kill(os.getppid(), 0),
        "tkill": lambda: raw("tkill", pid, 15),
        "tgkill": lambda: libc("tgkill", pid, pid, 15),
        "queue": lambda: raw("rt_sigqueueinfo", pid, 15, bytes(128)),
        "queue to a thread": lambda: raw("rt_tgsigqueueinfo", pid, pid, 15, bytes(128)),
        "by pidfd": lambda: raw("pidfd_send_signal", raw("pidfd_open", pid, 0), 15, 0, 0),
        "by pidfd of its own": lambda: raw("pidfd_send_signal", 0, 15, 0, 0),
        "by the wire": lambda: own_signals(wire, pid),
        "by its output": lambda: own_signals(1, pid),
        "by ioctl": lambda: fcntl.ioctl(wire, 0x8901, struct.pack("i", pid)),
        "outlive it": lambda: raw("prctl", 1, 0, 0, 0, 0),
    }


def connect(family, kind, address):
    with socket.socket(family, kind) as caller:
        caller.settimeout(1)
        caller.connect(address)
        return caller.send(b"leak")


def listen(address):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen()


def case_5_reach_the_network(facts):
    stream, packets = socket.SOCK_STREAM, socket.SOCK_DGRAM
    wire = int(sys.argv[1])
    return {
        "TCP": lambda: connect(socket.AF_INET, stream, ("127.0.0.1", facts["tcp"])),
        "UDP": lambda: connect(socket.AF_INET, packets, ("127.0.0.1", facts["udp"])),
        "a path": lambda: connect(socket.AF_UNIX, stream, facts["path"]),
        "an abstract name": lambda: connect(socket.AF_UNIX, stream, "\0" + facts["abstract"]),
        "a name": lambda: socket.getaddrinfo("example.com", 80),
        "listen": lambda: listen(("127.0.0.1", 0)),
        "raw packets": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "a pair": socket.socketpair,
        "hand over a descriptor": lambda: socket.send_fds(socket.socket(fileno=wire), [b"x"], [0]),
        "raw socket call": lambda: raw("socket", 2, 1, 0),
        "raw pair": lambda: raw("socketpair", 1, 1, 0, bytes(8)),
        "raw message": lambda: raw("sendmsg", wire, bytes(56), 0),
    }


def case_6_change_the_target(facts):
    attempts = {}
    for path in facts["protected"]:
        name = os.path.basename(path)
        kinds = {
            "write": lambda path=path: write(path),
            "append": lambda path=path: write(path, os.O_WRONLY | os.O_APPEND),
            "empty": lambda path=path: os.open(path, os.O_RDONLY | os.O_TRUNC),
            "read and write": lambda path=path: os.open(path, os.O_RDWR),
            "unlink": lambda path=path: os.unlink(path),
            "rename": lambda path=path: os.rename(path, path + ".old"),
            "truncate": lambda path=path: os.truncate(path, 0),
            "chmod": lambda path=path: os.chmod(path, 0o777),
            "chown": lambda path=path: os.chown(path, os.getuid(), -1),
            "utime": lambda path=path: os.utime(path, (0, 0)),
            "xattr": lambda path=path: os.setxattr(path, "user.x", b"x"),
            "map": lambda path=path: mmap.mmap(os.open(path, os.O_RDWR), 10),
            "openat2": lambda path=path: raw("openat2", -100, path.encode(), struct.pack("QQQ", 1, 0, 0), 24),
            "by libc": lambda path=path: libc("open", path.encode(), 1),
        }
        attempts.update({f"{kind} {name}": attempt for kind, attempt in kinds.items()})
    return attempts


def case_7_links_and_drops(facts):
    target, folder = facts["protected"][0], os.path.dirname(facts["protected"][0])
    drops = {"here": ".", "libraries": os.path.dirname(os.__file__), "target": folder}
    drops["packages"] = os.path.dirname(os.path.dirname(facts["package"]))
    drops.update({"shm": "/dev/shm", "tmp": "/tmp", "above": ".."})
    return {
        "symlink": lambda: os.symlink(target, "link"),
        "symlink there": lambda: os.symlink("/etc/passwd", folder + "/link"),
        "hard link": lambda: os.link(target, "link"),
        "swap folders": lambda: os.rename(folder, folder + ".old"),
        "folder": lambda: os.mkdir("folder"),
        "node": lambda: os.mknod("node"),
        "pipe": lambda: os.mkfifo("pipe"),
        **{
            f"drop {name}": lambda place=place: write(f"{place}/drop.pth", os.O_WRONLY | os.O_CREAT)
            for name, place in drops.items()
        },
    }


ATTACKS = {name: value for name, value in globals().items() if name.startswith("case_")}
