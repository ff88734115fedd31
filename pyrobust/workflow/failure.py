"""What to do after a failed job."""

# Less than this is soon full: a checkpoint of the paper's network takes 150 MB.
_FULL_BYTES = 200 * 2**20


def advice(free_bytes: int) -> str:
    """Return what a person can do about a failed run, whatever failed.

    Args:
        free_bytes: room on the disk of the results.
    """
    full = (
        f"Only {free_bytes / 2**20:.0f} MiB of disk are free: make room first. "
        if free_bytes < _FULL_BYTES
        else ""
    )
    return (
        f"pyrobust: a job failed. {full}"
        "Its log, named above, ends with the reason and what to do; then run the same command: it "
        "resumes, and finished stages are kept. A log that ends without a reason means that the "
        "job was killed, usually for lack of memory: run fewer jobs at a time (--cores, or "
        "--resources mem_mb=MEGABYTES), or raise the rule's mem_mb on a cluster."
    )
