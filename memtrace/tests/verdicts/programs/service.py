"""A service that does what its callers make it do, one line of input at a time, and says when it is done."""

import sys

customers = {}


def remember(mib):
    """Keeps so many MiB of small things, as a cache does from which nothing is ever taken out."""
    for _ in range(mib * 3000):
        number = len(customers)
        customers[number] = {"number": number, "name": f"customer {number}"}


print("ready", flush=True)
for line in sys.stdin:
    match line.split():
        case ["nothing"]:
            pass
        case ["remember", mib]:
            remember(int(mib))
        case other:
            raise ValueError(other)
    print("done", flush=True)
