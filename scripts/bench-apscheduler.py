"""APScheduler 3 with no-op jobs, measured from inside its process.

It prints the same figures as `bench scheduler` does for recountd, measured by the same plan.
"""

import argparse
import concurrent.futures
import json
import math
import time
from datetime import datetime, timedelta, timezone

import apscheduler
from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

# As recountd has it.
WORKERS = 10
GRACE_S = 60
WARM_UP_S = 2
STRAGGLERS_S = 1


class Pool(concurrent.futures.ThreadPoolExecutor):
    """The pool that APScheduler uses, which also notes the slot that each job is started for."""

    def __init__(self, slots):
        super().__init__(WORKERS)
        self.slots = slots

    def submit(self, run_job, job, store, run_times, logger):
        # A job has one run at a time, so its slot stays until that has started.
        self.slots[job.args[0]] = run_times[-1].timestamp()
        return super().submit(run_job, job, store, run_times, logger)


class Executor(BasePoolExecutor):
    def __init__(self, slots):
        super().__init__(Pool(slots))


def main():
    options = arguments()
    slots = [0.0] * options.jobs
    starts = []

    def work(number):
        starts.append((slots[number], time.time()))

    scheduler = BackgroundScheduler(
        executors={"default": Executor(slots)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": GRACE_S},
        timezone=timezone.utc,
    )
    for number in range(options.jobs):
        scheduler.add_job(work, "interval", args=[number], **trigger(options.idle))
    scheduler.start()
    figures = watch(options, starts)
    print(json.dumps(figures), flush=True)
    scheduler.shutdown()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--idle", action="store_true")
    return parser.parse_args()


def trigger(idle):
    """All jobs are due at each full second, or at each full hour."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    if idle:
        return {"hours": 1, "start_date": now.replace(minute=0, second=0) + timedelta(hours=1)}
    return {"seconds": 1, "start_date": now + timedelta(seconds=1)}


def watch(options, starts):
    """Measures while the scheduler runs in its own threads."""
    time.sleep(WARM_UP_S)
    # Half a second away from any full one no job is due, so what is measured are whole slots.
    time.sleep((1.5 - time.time() % 1) % 1)
    begin, cpu = time.time(), time.process_time()
    time.sleep(options.seconds)
    cpu = time.process_time() - cpu
    memory, peak = memory_mb()
    time.sleep(STRAGGLERS_S)
    end = begin + options.seconds
    late = sorted((at - slot) * 1000 for slot, at in list(starts) if begin < slot <= end)
    return {
        "scheduler": f"APScheduler {apscheduler.version}",
        "runs": len(late),
        "slots": 0 if options.idle else options.jobs * options.seconds,
        "lateness": lateness(late),
        "cpu_percent": cpu / options.seconds * 100,
        "memory_mb": memory,
        "peak_mb": peak,
    }


def lateness(late):
    """The smallest value that is not less than so many percent of all of them."""

    def at(percent):
        return late[max(math.ceil(len(late) * percent / 100), 1) - 1]

    if not late:
        return None
    return {"median_ms": at(50), "p99_ms": at(99), "max_ms": at(100)}


def memory_mb():
    """Resident memory of this process: now, and at its highest."""
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return tuple(int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))


if __name__ == "__main__":
    main()
