"""Races and verdicts as JSON in, Markdown for people out: the goals first, then every cell, and the lost ones by name."""

from __future__ import annotations

from typing import Any

from problems import PROBLEMS
from suite import NAMES, STRETCH

Race = dict[str, Any]


def table(races: list[Race], verdicts: list[dict[str, Any]]) -> str:
    """All of it."""
    parts = [
        goals(verdicts),
        "Behind or level (the interval's lower end is below 1):",
        "\n".join(lost(races)) or "none.",
    ]
    for threads in sorted({race["threads"] for race in races}):
        for problem in dict.fromkeys(race["problem"] for race in races):
            chosen = [race for race in races if (race["problem"], race["threads"]) == (problem, threads)]
            parts.append(section(chosen) if chosen else "")
    return "\n\n".join(part for part in parts if part)


def goals(verdicts: list[dict[str, Any]]) -> str:
    lines = ["| goal | at least | seen (95 %) | |", "|---|---|---|---|"]
    for verdict in verdicts:
        met = "met" if verdict["met"] else "**missed**"
        if "goal" in verdict:
            seen, wanted = with_interval(verdict), f"{verdict['goal']:g}x"
        else:
            seen, wanted = f"loss {verdict['loss']:.3g}", f"loss below {verdict['loss_below']:g}"
        lines.append(f"| {verdict['name']} | {wanted} | {seen} | {met} |")
    stretch = [f"{goal:g}x {NAMES[peer]} at {problem}, m = {m}" for (problem, m, peer), goal in STRETCH.items()]
    return "\n".join([*lines, "", f"Beyond the goals, hoped for: {'; '.join(stretch)}."])


def lost(races: list[Race]) -> list[str]:
    return [
        f"- {race['problem']}, m = {race['batch_size']}{on(race)}: {with_interval(found)} of {NAMES[peer]}"
        for race in races
        for peer, found in race["peers"].items()
        if peer not in ("fit", "ceiling") and found["low"] < 1
    ]


def section(races: list[Race]) -> str:
    """One problem on one number of threads: a table of speeds and one of ratios, batch sizes across."""
    first = races[0]
    peers = list(first["peers"])
    head = row("", [f"m = {race['batch_size']}" for race in races])
    rule = "|---" * (len(races) + 1) + "|"
    speeds = [row(NAMES[peer], [speed(race["peers"][peer]) for race in races]) for peer in peers]
    ratios = [row(NAMES[peer], [with_interval(race["peers"][peer]) for race in races]) for peer in peers[1:]]
    return "\n".join(
        [
            f"### {PROBLEMS[first['problem']].title}{on(first)}",
            "",
            "Thousand rows a second (microseconds a step):",
            "",
            head,
            rule,
            *speeds,
            "",
            "`mbgd.fit` over each, median of the rounds' ratios (95 %):",
            "",
            head,
            rule,
            *ratios,
            "",
            notes(races),
        ]
    )


def row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def speed(found: dict[str, Any]) -> str:
    return f"{found['rows_per_second'] / 1e3:,.4g} ({found['microseconds_per_step']:,.3g})"


def with_interval(found: dict[str, Any]) -> str:
    return f"{found['ratio']:.3g} ({found['low']:.3g} - {found['high']:.3g})"


def on(race: Race) -> str:
    return f", {race['threads']} threads" if race["threads"] > 1 else ""


def notes(races: list[Race]) -> str:
    """What the figures rest on: engine, fixed cost, rows where they were not all, losses, BLAS."""
    ours = [race["peers"]["fit"] for race in races]
    engines = dict.fromkeys(
        f"{one['engine']} ({one['engine_reason']})" if one.get("engine_reason") else one["engine"] for one in ours
    )
    fixed = [one["milliseconds_of_a_fit_of_one_batch"] for one in ours]
    everybody = [found for race in races for found in race["peers"].values()]
    losses = [found["loss"] for found in everybody if found["loss"] is not None]
    kernels = sorted({blas for found in everybody for blas in found["blas"]})
    return "\n".join(
        [
            f"- engine: {'; '.join(engines)}",
            f"- fixed cost: a fit of one batch takes {min(fixed):.3g} - {max(fixed):.3g} ms, counted in every figure",
            f"- rows of a call, where not all: {'; '.join(fewer_rows(races)) or 'always all'}",
            f"- training loss in the end: {min(losses):.3g} - {max(losses):.3g}, to be below {races[0]['loss_below']:g}",
            f"- BLAS: {', '.join(kernels)}",
        ]
    )


def fewer_rows(races: list[Race]) -> list[str]:
    """Peers with the rows of a call at each batch size, where not all."""
    n_rows = PROBLEMS[races[0]["problem"]].n_rows
    told = []
    for peer in races[0]["peers"]:
        rows = {race["batch_size"]: race["peers"][peer]["rows"] for race in races}
        some = [f"{count:,} at {m}" for m, count in rows.items() if count < n_rows]
        told += [f"{NAMES[peer]} {', '.join(some)}"] if some else []
    return told
