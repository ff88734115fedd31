# Says what to do about jobs that failed; no rules here.
import shutil
import sys

# Less than this is soon full: a checkpoint of the paper's network takes 150 MB.
FULL_BYTES = 200 * 2**20


def what_to_do():
    """Return what mends a failed run, whatever failed."""
    free = shutil.disk_usage(".").free
    full = (
        f"Only {free / 2**20:.0f} MiB are free here: make room first. "
        if free < FULL_BYTES
        else ""
    )
    return (
        f"pyrobust: a job failed. {full}"
        "The log that is named above ends with the reason and what mends it; then the same "
        "command goes on, and nothing that is finished is made again. Where a log ends without "
        "a reason, the job was killed, mostly for want of memory: let fewer jobs run at a time "
        "(--cores, or --resources mem_mb=MEGABYTES), or raise the rule's mem_mb on a cluster."
    )


onerror:
    print(what_to_do(), file=sys.stderr)
