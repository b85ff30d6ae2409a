"""Keeps a chain of hashes in memory and a tree of files on disk, changes a little of both at each turn, and checks every hash of both when asked.

keeper.py MIB FILES. A word in the pipe ASK (turn, check) is answered with a line of JSON in the pipe ANSWER. Block n of the memory begins with the hash
of block n-1, so that one wrong byte anywhere breaks the chain; the hash of the last block is the head.
"""

import hashlib
import json
import os
import sys

ASK, ANSWER, TREE = "/tmp/keeper.ask", "/tmp/keeper.answer", "/root/keeper"
BLOCK, LINK, PAGE, FILE = 1 << 20, 32, 4096, 1 << 16


def digest(data):
    return hashlib.sha256(data).digest()


class Keeper:
    def __init__(self, mib, files):
        self.turns = 0
        self.blocks = mib
        self.memory = bytearray(mib * BLOCK)
        noise = os.urandom(BLOCK)
        for number in range(mib):
            self.block(number)[:] = noise
            self.block(number)[LINK : LINK + 8] = number.to_bytes(8, "big")
        self.chain(0)
        self.files = {}
        for number in range(files):
            self.write(number)

    def block(self, number):
        return memoryview(self.memory)[number * BLOCK : (number + 1) * BLOCK]

    def chain(self, first):
        for number in range(max(first, 1), self.blocks):
            self.block(number)[:LINK] = digest(self.block(number - 1))

    def head(self):
        return digest(self.block(self.blocks - 1)).hex()

    def write(self, number):
        """A file is written anew in place or by rename, in turns; nothing is synced here."""
        path = f"{TREE}/{number % 7}/{number % 11}/{number}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = os.urandom(FILE)
        beside = path if (self.turns + number) % 2 else path + ".new"
        with open(beside, "wb") as file:
            file.write(data)
        os.replace(beside, path)
        self.files[path] = digest(data)

    def turn(self):
        self.turns += 1
        first = 0 if self.turns % 10 == 0 else self.blocks - 1 - self.turns % min(4, self.blocks)
        page = (1 + self.turns * 37 % (BLOCK // PAGE - 1)) * PAGE
        self.block(first)[page : page + PAGE] = os.urandom(PAGE)
        self.chain(first + 1)
        for step in range(3):
            self.write((self.turns * 3 + step) % len(self.files))

    def wrong(self):
        """What does not hold, or nothing. The page cache is dropped, so that files come from the disk."""
        for number in range(1, self.blocks):
            if bytes(self.block(number)[:LINK]) != digest(self.block(number - 1)):
                return f"block {number - 1} of the memory"
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
        there = {os.path.join(folder, name) for folder, _, names in os.walk(TREE) for name in names}
        if there != set(self.files):
            return f"the tree: {sorted(there ^ set(self.files))[:3]}"
        for path, expected in self.files.items():
            with open(path, "rb") as file:
                if digest(file.read()) != expected:
                    return path
        return None

    def state(self):
        tree = digest(b"".join(self.files[path] for path in sorted(self.files))).hex()
        return {"turns": self.turns, "head": self.head(), "tree": tree}


def answer(keeper, word):
    try:
        if word == "turn":
            keeper.turn()
        wrong = keeper.wrong() if word == "check" else None
        return {**keeper.state(), "wrong": wrong}
    except Exception as error:
        return {"wrong": f"{type(error).__name__}: {error}"}


def main():
    keeper = Keeper(int(sys.argv[1]), int(sys.argv[2]))
    os.mkfifo(ANSWER)
    os.mkfifo(ASK)
    while True:
        with open(ASK) as pipe:
            word = pipe.readline().strip()
        with open(ANSWER, "w") as pipe:
            pipe.write(json.dumps(answer(keeper, word)) + "\n")


main()
