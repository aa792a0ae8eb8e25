"""Objects, dictionaries, JSON, sorting and text, as many times as the first argument says."""

import json
import re
import sys
from collections import Counter, defaultdict


class Entry:
    def __init__(self, number):
        self.name = f"entry-{number * 7919 % 100003}"
        self.tags = [f"tag{number % k}" for k in (3, 7, 31)]
        self.parts = {"a": number, "b": number * 1.5, "c": str(number)}


total = 0
for turn in range(int(sys.argv[1])):
    entries = [Entry(number) for number in range(turn, turn + 6000)]
    entries.sort(key=lambda entry: (entry.tags, entry.name))
    text = json.dumps([{"name": entry.name, "tags": entry.tags, **entry.parts} for entry in entries])
    groups = defaultdict(list)
    for item in json.loads(text):
        groups[item["tags"][1]].append(item)
    words = Counter(re.findall(r"[a-z]+\d", text))
    total += len(text) + sum(len(group) for group in groups.values()) + len(words)
print(total)
