"""Ways to damage a stored object."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest


def flipped(raw: bytes, random_: random.Random) -> bytes:
    position, bit = random_.randrange(len(raw)), random_.randrange(8)
    return raw[:position] + bytes([raw[position] ^ (1 << bit)]) + raw[position + 1 :]


def cut(raw: bytes, random_: random.Random) -> bytes:
    return raw[: random_.randrange(1, len(raw))]


def longer(raw: bytes, random_: random.Random) -> bytes:
    return raw + random_.randbytes(random_.randrange(1, 50))


def emptied(raw: bytes, random_: random.Random) -> bytes:
    return b""


def zeroed(raw: bytes, random_: random.Random) -> bytes:
    return bytes(len(raw))


def junk(raw: bytes, random_: random.Random) -> bytes:
    return random_.randbytes(random_.randrange(1, 2000))


def removed(raw: bytes, random_: random.Random) -> None:
    return None


Damage = Callable[[bytes, random.Random], bytes | None]
DAMAGES: list[Damage] = [flipped, cut, longer, emptied, zeroed, junk, removed]
#: A random place is hit, so some damages are tried at several.
TRIES: dict[Damage, int] = {flipped: 12, cut: 4}

every_damage = pytest.mark.parametrize(
    ("damage", "seed"), [(damage, seed) for damage in DAMAGES for seed in range(TRIES.get(damage, 1))]
)


def harm(path: Path, damage: Damage, seed: int) -> None:
    damaged = damage(path.read_bytes(), random.Random(seed))
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)
