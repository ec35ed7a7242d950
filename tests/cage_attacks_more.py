# ruff: noqa (it stands behind the text of cage_attacks, whose names it uses)
"""The second half of the hostile mechanism (see cage_attacks): processes, memory, disk, raw calls, descriptors."""


def spawn(kind):
    import multiprocessing
    import subprocess

    if kind == "posix_spawn":
        return os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {})
    if kind == "subprocess":
        return subprocess.run(["/bin/true"])
    if kind == "system":
        status = os.system("true")
        if status == -1 or status >> 8 == 127:
            raise PermissionError(errno.EPERM, "system")
        return status
    process = multiprocessing.get_context(kind).Process(target=print)
    return process.start()


def fork():
    if os.fork() == 0:
        os._exit(0)
    return "a child"


def case_8_start_processes(facts):
    kinds = ("posix_spawn", "subprocess", "system", "fork", "spawn")
    calls = {name: lambda name=name: raw(name, 17, 0, 0, 0, 0) for name in ("fork", "vfork", "clone") if name in CALLS}
    return {
        **{f"by {kind}": lambda kind=kind: spawn(kind) for kind in kinds},
        **{f"raw {name}": call for name, call in calls.items()},
        "os.fork": fork,
        "clone3": lambda: raw("clone3", struct.pack("8Q", 0, 0, 0, 0, 17, 0, 0, 0), 64),
        "clone a thread": lambda: raw("clone", 0x10F00, 0, 0, 0, 0),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "execveat": lambda: raw("execveat", -100, b"/bin/true\0", 0, 0, 0),
        "daemon": lambda: libc("daemon", 0, 0),
    }


def start_threads(count):
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
    finally:
        stop.set()
    return f"{count} threads"


def case_9_threads(facts):
    return {"one": lambda: start_threads(1), "500": lambda: start_threads(500)}


def raise_limit(what):
    resource.setrlimit(what, (2**40, 2**40))


def case_10_memory(facts):
    return {
        "4 GB": lambda: len(bytearray(4 * 2**30)),
        "map 4 GB": lambda: mmap.mmap(-1, 4 * 2**30) and "mapped",
        "map unreserved": lambda: mmap.mmap(-1, 4 * 2**30, flags=0x4022) and "mapped",
        "in pieces": lambda: len([bytearray(2**26) for _ in range(64)]),
        "memfd": lambda: os.memfd_create("x"),
        "memfd_secret": lambda: raw("memfd_secret", 0),
        "shared memory": lambda: raw("shmget", 0, 2**30, 0o1600),
        "shm_open": lambda: libc("shm_open", b"/x", 0o102, 0o600),
        "lock it": lambda: raw("mlockall", 1),
        "raise its limit": lambda: raise_limit(resource.RLIMIT_AS),
        "raise it by prlimit": lambda: resource.prlimit(0, resource.RLIMIT_AS, (2**40, 2**40)),
    }


def fill(folder, count, size):
    for index in range(count):
        write(f"{folder}/fill{index}", os.O_WRONLY | os.O_CREAT, bytes(size))
    return f"{count} files"


def case_11_disk(facts):
    places = {"here": ".", "above": "..", "tmp": "/tmp", "var": "/var/tmp", "shm": "/dev/shm", "home": facts["home"]}
    return {
        **{f"fill {name}": lambda place=place: fill(place, 4, 2**20) for name, place in places.items()},
        **{f"many in {name}": lambda place=place: fill(place, 1000, 1) for name, place in places.items()},
        "unnamed": lambda: os.open("/tmp", os.O_WRONLY | 0x410000),
        "its bait": lambda: write("bait"),
    }


def case_17_raw_calls(facts):
    passed = {"clone3"}
    forking = {"fork", "vfork", "clone"}
    attempts = {name: lambda name=name: raw(name, 0, 0, 0, 0, 0, 0) for name in CALLS if name not in forking | passed}
    attempts["new user namespace"] = lambda: raw("unshare", 0x10000000)
    attempts["io_uring"] = lambda: raw("io_uring_setup", 4, bytes(120))
    attempts["TIOCSTI"] = lambda: fcntl.ioctl(0, 0x5412, b"x")
    attempts["TIOCLINUX"] = lambda: fcntl.ioctl(0, 0x541C, b"\2")
    attempts["TIOCSTI in 64 bits"] = lambda: libc("ioctl", 0, ctypes.c_ulong(0xFFFFFFFF00005412), b"x")
    attempts["a call of the future"] = lambda: CALLS.update(future=900) or raw("future")
    return attempts


def case_18_schedule_others(facts):
    pid = facts["pid"]
    return {
        "affinity of the engine": lambda: os.sched_setaffinity(pid, {0}),
        "own affinity": lambda: os.sched_setaffinity(0, {0}),
        "renice the engine": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
        "renice the user": lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19),
        "renice itself": lambda: os.nice(-5),
        "limit the engine": lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)),
        "read the engine's limit": lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE) and None,
        "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "io priority": lambda: raw("ioprio_set", 1, pid, 0),
        "out of memory score": lambda: write("/proc/self/oom_score_adj"),
        "move pages": lambda: raw("move_pages", pid, 0, 0, 0, 0, 0),
    }


def kind_of(descriptor):
    mode = os.fstat(descriptor).st_mode
    kinds = {"socket": stat.S_ISSOCK, "pipe": stat.S_ISFIFO, "device": stat.S_ISCHR, "file": stat.S_ISREG}
    return next((name for name, test in kinds.items() if test(mode)), "other")


def case_19_descriptors(facts):
    attempts = {}
    for descriptor in range(1024):
        try:
            attempts[str(descriptor)] = kind_of(descriptor)
        except OSError:
            continue
    return {"found": lambda: json.dumps(attempts)}


def everything_it_holds():
    """The texts that its process holds, as far as Python reaches them."""
    import gc

    found = [str(dict(os.environ)), str(sys.argv)]
    names = [name for name in ("environ",) if hasattr(LIBC, name)]
    for name in names:
        at, index = ctypes.POINTER(ctypes.c_char_p).in_dll(LIBC, name), 0
        while at[index]:
            found.append(at[index].decode(errors="replace"))
            index += 1
    for item in gc.get_objects():
        if isinstance(item, dict):
            found += [value for value in list(item.values()) if type(value) is str]
    return found


def refuse():
    raise LookupError


def case_2_secrets(facts):
    texts = everything_it_holds()
    return {
        "environment": lambda: json.dumps(sorted(os.environ)),
        "held": lambda: [text for text in texts if facts["backwards"][::-1] in text][:3] or refuse(),
        "own environ file": lambda: read("/proc/self/environ"),
    }


ATTACKS = {name: value for name, value in globals().items() if name.startswith("case_")}


class Mechanism:
    name = "hostile"
    purpose = "It tries what a cage must prevent."
    source = "own"

    def advise(self, view):
        attack = ATTACKS[view.guidance]
        return json.dumps(outcomes(attack(json.loads(view.strategy))))

    def suggest(self, view):
        return None
