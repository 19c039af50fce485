"""The kinds of panels and variables that the dashboards are made of. Knows Grafana, and no metric.

A datasource is a variable, never one of a certain identity, so that a dashboard works wherever it is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG = "switchtender"
_DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Query:
    """A question to Prometheus; ``legend`` may name labels as ``{{label}}``."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a query that has one value for each row."""

    title: str
    expr: str
    unit: str = "short"
    states: Mapping[int, tuple[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """From which value on a number gets another color."""

    value: float
    color: str


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    span: int = 12,
    stacked: bool = False,
    most: float | None = None,
) -> timeseries.Panel:
    """Values over time; ``stacked``: areas on top of each other; ``most``: the upper end of the axis."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .unit(unit)
        .min(0)
        .span(span)
        .height(8)
        .draw_style(GraphDrawStyle.LINE)
        .show_points(VisibilityMode.NEVER)
        .fill_opacity(30 if stacked else 8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if most is not None:
        panel = panel.max(most)
    for target in _targets(queries):
        panel = panel.with_target(target)
    return panel


def number(
    title: str, description: str, expr: str, *steps: Step, unit: str = "short", decimals: int = 0, span: int = 4
) -> stat.Panel:
    """One number of now, with its course behind it; green below the first step."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .unit(unit)
        .decimals(decimals)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(BigValueGraphMode.AREA)
        .span(span)
        .height(4)
        .thresholds(_thresholds(steps))
        .with_target(next(_targets([Query(expr, title)])))
    )


def timeline(
    title: str, description: str, query: Query, states: Mapping[int, tuple[str, str]], *, height: int = 8
) -> statetimeline.Panel:
    """Which of some states something was in, over time; ``states`` maps a value to word and color."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .span(_WIDTH)
        .height(height)
        .mappings([_words(states)])
        .merge_values(merge_values=True)
        .show_value(VisibilityMode.AUTO)
        .with_target(next(_targets([query])))
    )


def listing(
    title: str, description: str, rows: Sequence[str], *columns: Column, span: int = _WIDTH, height: int = 9
) -> table.Panel:
    """A table of now: a row for each combination of the labels ``rows``, and a column for each query."""
    panel = table.Panel().title(title).description(description).datasource(_DATASOURCE).span(span).height(height)
    panel = panel.show_header(show_header=True)
    names = {}
    for reference, column in zip(ascii_uppercase, columns, strict=False):
        target = (
            prometheus.Dataquery()
            .datasource(_DATASOURCE)
            .expr(column.expr)
            .ref_id(reference)
            .instant()
            .format(PromQueryFormat.TABLE)
        )
        panel = panel.with_target(target).override_by_name(column.title, _shown(column))
        names[f"Value #{reference}" if len(columns) > 1 else "Value"] = column.title
    order = [*rows, *names]
    return panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={})).with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {name: index for index, name in enumerate(order)},
                "renameByName": names,
            },
        )
    )


def heat(title: str, description: str, expr: str, *, span: int = 12) -> heatmap.Panel:
    """How a duration is distributed over time; ``expr`` gives buckets by ``le``."""
    target = (
        prometheus.Dataquery()
        .datasource(_DATASOURCE)
        .expr(expr)
        .legend_format("{{le}}")
        .ref_id("A")
        .range()
        .format(PromQueryFormat.HEATMAP)
    )
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .span(span)
        .height(8)
        .calculate(calculate=False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues"))
        .with_target(target)
    )


def variable(name: str, label: str, query: str) -> builders.QueryVariable:
    """A variable with the values of a query of Grafana's (``label_values(…)``); several, or all, may be chosen."""
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(_DATASOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def empty(uid: str, title: str, description: str, *variables: builders.QueryVariable) -> builders.Dashboard:
    """A dashboard without panels yet, with its variables and the way to the others."""
    dashboard = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            builders.DashboardLink("Switchtender")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(as_dropdown=True)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .with_variable(builders.DatasourceVariable("datasource").label("Datasource").type("prometheus"))
    )
    for each in variables:
        dashboard = dashboard.with_variable(each)
    return dashboard


def _targets(queries: Sequence[Query]) -> Iterator[prometheus.Dataquery]:
    for reference, query in zip(ascii_uppercase, queries, strict=False):
        yield (
            prometheus.Dataquery()
            .datasource(_DATASOURCE)
            .expr(query.expr)
            .legend_format(query.legend)
            .ref_id(reference)
            .range()
        )


def _thresholds(steps: Sequence[Step]) -> builders.ThresholdsConfig:
    levels = [
        models.Threshold(value=None, color="green"),
        *(models.Threshold(value=step.value, color=step.color) for step in steps),
    ]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(levels)


def _words(states: Mapping[int, tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        {
            str(value): models.ValueMappingResult(text=word, color=color, index=value)
            for value, (word, color) in states.items()
        }
    )


def _shown(column: Column) -> list[models.DynamicConfigValue]:
    properties = [models.DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.states is not None:
        properties += [
            models.DynamicConfigValue(id_val="mappings", value=[_words(column.states)]),
            models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
        ]
    return properties
