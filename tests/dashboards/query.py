#!/usr/bin/env python3
"""Asks a Prometheus for every query of every dashboard, as Grafana would, and names the panels that have no data.

    query.py [--set NAME=VALUE]... [--minutes N] [--rate 1m] [--draw FOLDER] URL DASHBOARDS

Variables get the value that is set, where Prometheus has it for the dashboard (the operator's namespace is another), or the
first one. `--draw` writes a page with what the panels show.
Exit code 1 if a panel has none.
"""

import argparse
import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

import draw


class Prometheus:
    def __init__(self, url):
        self.url = url.rstrip("/")

    def _get(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            sys.exit(f"{parameters}: {json.load(refused)['error']}")

    def range(self, expr, seconds):
        """Each series as (labels, [(time, value)]), what is no number left out."""
        end = time.time()
        found = self._get("query_range", query=expr, start=end - seconds, end=end, step=max(seconds / 240, 1))["result"]
        series = [(one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in found]
        series = [(labels, [point for point in points if not math.isnan(point[1])]) for labels, points in series]
        return [(labels, points) for labels, points in series if points]

    def label_values(self, metric, label):
        found = self._get("query", query=f"group by ({label}) (last_over_time({metric}[1h]))")["result"]
        return sorted(one["metric"][label] for one in found if label in one["metric"])


def substitute(text, values):
    """Longer names first, so that `$name` does not eat the beginning of `$name_space`."""
    for name in sorted(values, key=len, reverse=True):
        text = text.replace("${%s}" % name, values[name]).replace(f"${name}", values[name])
    return text


def variables(prometheus, dashboard, chosen, rate):
    values = {"__rate_interval": rate}
    for variable in dashboard["templating"]["list"]:
        name, kind = variable["name"], variable["type"]
        if kind == "textbox":
            values[name] = chosen.get(name, variable["query"])
        elif kind == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            found = prometheus.label_values(substitute(metric, values), label)
            if not found:
                sys.exit(f"{dashboard['title']}: no value for the variable {name}: {substitute(metric, values)} has no series")
            if chosen.get(name) in found:
                values[name] = chosen[name]
            else:
                values[name] = variable["allValue"] if variable["includeAll"] else found[0]
    return values


def legend(template, labels):
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), template)


def ask(prometheus, dashboard, values, seconds):
    """Of each panel its series as (legend, points)."""
    for panel in dashboard["panels"]:
        series = []
        for target in panel.get("targets", []):
            found = prometheus.range(substitute(target["expr"], values), seconds)
            series += [(legend(target["legendFormat"], labels), points) for labels, points in found]
        yield panel, series


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    arguments.add_argument("--minutes", type=float, default=15)
    arguments.add_argument("--rate", default="1m", help="what $__rate_interval is")
    arguments.add_argument("--draw", type=pathlib.Path, metavar="FOLDER")
    arguments.add_argument("url")
    arguments.add_argument("dashboards", type=pathlib.Path)
    arguments = arguments.parse_args()
    prometheus, chosen = Prometheus(arguments.url), dict(one.split("=", 1) for one in arguments.set)
    panels = empty = 0
    for file in sorted(arguments.dashboards.glob("*.json")):
        dashboard = json.loads(file.read_text())
        values = variables(prometheus, dashboard, chosen, arguments.rate)
        answered = list(ask(prometheus, dashboard, values, arguments.minutes * 60))
        for panel, series in answered:
            if panel["type"] == "row":
                continue
            panels += 1
            if not series:
                empty += 1
                print(f"{dashboard['title']}: \"{panel['title']}\" has no data")
                for target in panel["targets"]:
                    print(f"    {substitute(target['expr'], values)}")
        if arguments.draw:
            arguments.draw.mkdir(parents=True, exist_ok=True)
            shown = {name: value for name, value in values.items() if name != "__rate_interval"}
            (arguments.draw / f"{file.stem}.html").write_text(draw.page(dashboard, shown, answered))
    print(f"{panels} panels, {empty} without data")
    sys.exit(1 if empty or not panels else 0)


if __name__ == "__main__":
    main()
