#!/usr/bin/env python3
"""Draws the panels of gemma4edge.json from a Prometheus that has scraped a node: what Grafana would show, without Grafana.

    draw.py http://127.0.0.1:9090 OUT.png [MINUTES]

Needs matplotlib (Debian: python3-matplotlib). Each panel's own queries are sent to Prometheus, so a query that is wrong draws an error.
"""
import json
import math
import os
import re
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLUMNS = 3
STEP_SECONDS = 2


def series(url, query, start, end):
    """(labels, times, values) of each series that the query yields."""
    parameters = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": STEP_SECONDS})
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{parameters}") as response:
        for result in json.load(response)["data"]["result"]:
            points = [(float(at), float(value)) for at, value in result["values"] if value not in ("NaN", "+Inf")]
            yield result["metric"], [at - start for at, _ in points], [value for _, value in points]


def scaled(unit, values):
    """Values and their unit as people read them."""
    largest = max(values, default=0)
    if unit == "bytes":
        return [value / 2**20 for value in values], "MiB"
    if unit == "s" and largest < 1:
        return [value * 1000 for value in values], "ms"
    if unit == "hertz":
        return [value / 1e6 for value in values], "MHz"
    return values, unit if unit != "none" else ""


def draw(axes, panel, url, start, end):
    axes.set_title(panel["title"], fontsize=9, loc="left", color="#d8d9da")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    lines = []
    for target in panel["targets"]:
        query = target["expr"].replace("$instance", ".*")
        for labels, times, values in series(url, query, start, end):
            name = re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), target["legendFormat"]).strip()
            lines.append((name, times, values))
    if not lines:
        axes.text(0.5, 0.5, "No data", ha="center", va="center", transform=axes.transAxes, color="#8e8e8e")
    largest = [max((value for _, _, values in lines for value in values), default=0)]
    for name, times, values in lines:
        label = scaled(unit, largest)[1]
        factor = scaled(unit, largest)[0][0] / largest[0] if largest[0] else 1
        axes.plot(times, [value * factor for value in values], linewidth=1, label=name)
        axes.set_ylabel(label, fontsize=7, color="#8e8e8e")
    if lines:
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
        axes.legend(fontsize=6, loc="upper left", frameon=False, labelcolor="#d8d9da", ncols=2)
    axes.set_xlim(0, end - start)
    axes.tick_params(labelsize=6, colors="#8e8e8e")
    axes.grid(color="#2c3235", linewidth=0.5)
    axes.set_facecolor("#181b1f")


def main():
    url, out = sys.argv[1], sys.argv[2]
    end = time.time()
    start = end - 60 * float(sys.argv[3] if len(sys.argv) > 3 else 5)
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "gemma4edge.json"), encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    figure, grid = plt.subplots(math.ceil(len(panels) / COLUMNS), COLUMNS, figsize=(15, 2.2 * math.ceil(len(panels) / COLUMNS)), facecolor="#111217")
    for axes in grid.flat[len(panels):]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels):
        draw(axes, panel, url, start, end)
    figure.text(0.005, 0.003, "Drawn by deploy/grafana/draw.py from the dashboard's own queries; horizontal: seconds", fontsize=7, color="#8e8e8e")
    figure.tight_layout(pad=1.2)
    figure.savefig(out, dpi=80, facecolor=figure.get_facecolor())


if __name__ == "__main__":
    main()
