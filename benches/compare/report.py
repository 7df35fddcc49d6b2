"""Markdown: tables, medians with their spread, and the place in a file where they go."""

import sys
from pathlib import Path

BEGIN = "<!-- compare:begin -->"
END = "<!-- compare:end -->"


def table(head, rows):
    """A table; all columns but the first to the right."""
    marks = ["---"] + ["---:"] * (len(head) - 1)
    lines = [head, marks, *(row + [""] * (len(head) - len(row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(result, of, form="{:.1f}"):
    """The median, and in brackets the least and the most."""
    values = result.values(of)
    return f"{form.format(result.median(of))} ({form.format(min(values))}..{form.format(max(values))})"


def milliseconds(result, of):
    return spread(result, lambda sample: of(sample.load) / 1e3, "{:.2f}")


def mebibytes(size):
    return f"{size / 2**20:.1f}"


def invalid(name, problem):
    return [name, f"**invalid**: {problem}"]


def write(path, body):
    """Replaces what stands between the two markers; a file without them is left alone."""
    file = Path(path)
    section = f"{BEGIN}\n\n{body}\n\n{END}"
    text = file.read_text() if file.exists() else f"{BEGIN}{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{path} has no {BEGIN} and {END}: nothing is written")
    file.write_text(before + section + after)
