"""Valid bytes and plain data → nearly valid ones, by a seeded generator."""

from __future__ import annotations

import random
from typing import Any

#: What numbers and texts of an honest writer never are, and what breaks careless readers.
EXTREMES: list[Any] = [None, True, -1, 0, 1, 255, 2**31, 2**32 - 1, 2**63 - 1, 10**18, 10**30, 1e308, -1e308, 0.5]
EXTREMES += ["", "../../x", "/etc/passwd", "x" * 500, "\0", "\ud800", "raw", "pickle", "O", "<f8", "AAAA", "9" * 40]
EXTREMES += [[], {}, [[]], [None], {"": None}, [10**12] * 3, {"zstd": "KLUv/SAA", "size": 10**12}]


def mutated_bytes(raw: bytes, chance: random.Random) -> bytes:
    """Flip, cut, double, insert or overwrite, once or a few times."""
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(data) + 1)
        size = min(chance.choice((1, 2, 4, 8, 100)), len(data) - at)
        match chance.randrange(6):
            case 0 if size:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size]
            case 3:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 4 if size:
                data[at : at + size] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\xdd", b"\xc9")) * size
            case _:
                data[at:] = b""
    return bytes(data)


def mutated_data(value: Any, chance: random.Random, depth: int = 0) -> Any:
    """Replace, drop, double or add one thing somewhere in plain data."""
    is_container = isinstance(value, (dict, list, tuple)) and value
    if not is_container or (depth and chance.random() < 0.1):
        if isinstance(value, bytes) and value and chance.random() < 0.7:
            return mutated_bytes(value, chance)
        if isinstance(value, str) and value and chance.random() < 0.4:
            return mutated_bytes(value.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "replace")
        return chance.choice(EXTREMES)
    what = chance.random()
    if isinstance(value, dict):
        name = chance.choice(list(value))
        if what < 0.1:
            return {key: each for key, each in value.items() if key != name}
        if what < 0.2:
            return {**value, str(chance.choice(EXTREMES)): chance.choice(EXTREMES)}
        return {**value, name: mutated_data(value[name], chance, depth + 1)}
    items = list(value)
    at = chance.randrange(len(items))
    if what < 0.1:
        del items[at]
    elif what < 0.2:
        items.insert(at, items[at])
    else:
        items[at] = mutated_data(items[at], chance, depth + 1)
    return items
