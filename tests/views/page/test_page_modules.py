"""The page's own rules, asked in the browser that runs them: how things are written, ordered and counted as alarms."""

import pytest

FORMATS = [
    ("format", "duration", [0.04], "0 s"),
    ("format", "duration", [0.44], "0.4 s"),
    ("format", "duration", [9.99], "10 s"),
    ("format", "duration", [59.9], "59 s"),
    ("format", "duration", [60], "1 min"),
    ("format", "duration", [3600], "1 h"),
    ("format", "duration", [7500], "2 h 5 min"),
    ("format", "duration", [86_400], "1 d"),
    ("format", "duration", [100_000], "1 d 3 h"),
    ("format", "duration", [None], "–"),
    ("format", "percent", [0.996], "99 %"),
    ("format", "percent", [1], "100 %"),
    ("format", "percent", [0], "0 %"),
    ("format", "amount", [99.96], "100"),
    ("format", "amount", [1234.5], "1,235"),
    ("format", "amount", [0.25], "0.3"),
    ("format", "moment", [1_800_000_000, 1_800_000_060], "08:00:00"),
    ("format", "moment", [1_800_000_000, 1_800_100_000], "Jan 15 08:00:00"),
    ("format", "causes", [{"full": 3, "none_ready": 12, "refused": 0}], "none_ready 12, full 3"),
    ("order", "wordsOf", ["  Fs1 DOWN "], ["fs1", "down"]),
    ("explain", "headersOf", ["A: b\n\nC:d:e"], {"A": "b", "C": "d:e"}),
]


@pytest.fixture
def ask(open_page):
    """Call an exported function of a module of the page."""

    def called(module, function, *arguments):
        script = "([module, name, given]) => import(`/static/${module}.js`).then(found => found[name](...given))"
        return open_page.tab.evaluate(script, [module, function, list(arguments)])

    return called


def test_numbers_times_and_words_are_written_for_people(ask):
    answers = [ask(module, function, *arguments) for module, function, arguments, _ in FORMATS]
    assert answers == [expected for *_, expected in FORMATS]


GROUP = {"namespace": "n", "group": "g", "nodes": 2, "eligible": 1, "callsPerSecond": 3, "rejectedPerSecond": 0}
NODE = {
    "namespace": "n",
    "group": "g",
    "node": "a",
    "uid": "a",
    "state": "ready",
    "reason": "Reporting",
    "eligible": True,
}
VIEW = {"ready": True, "notReady": None, "process": {"overloaded": False}, "groups": [GROUP], "nodes": [NODE]}


def node(name, state, reason):
    return {**NODE, "node": name, "uid": name, "state": state, "reason": reason, "eligible": False}


def test_alarms_name_what_is_wrong_and_nothing_that_was_wanted(ask):
    assert ask("alarms", "alarms", VIEW) == []
    calm = [node("a", "down", "Disabled"), node("b", "draining", "Drained"), node("c", "full", "NoRoom")]
    assert ask("alarms", "alarms", {**VIEW, "nodes": calm}) == []
    lost = [node(name, "down", "ConnectionRefused") for name in ("a", "b", "c", "d")]
    twice = [*lost, {**lost[0], "group": "other"}, node("e", "stale", "ReportsOverdue")]
    found = ask("alarms", "alarms", {**VIEW, "nodes": twice})
    assert [(alarm["weight"], alarm["severity"], alarm["text"]) for alarm in found] == [
        (4, "error", "4 nodes down: a, b and 2 more (ConnectionRefused)"),
        (1, "warning", "1 node stale: e (ReportsOverdue)"),
    ]
    assert found[0]["filter"] == {"states": ["down"]}
    fewer = ask("alarms", "alarms", {**VIEW, "nodes": twice[1:]})
    assert [alarm["key"] for alarm in fewer] == [alarm["key"] for alarm in found], "it is the same, with other words"


def test_alarms_of_groups_and_of_the_balancer_come_first(ask):
    group = {**GROUP, "eligible": 0, "rejectedPerSecond": 3}
    view = {**VIEW, "ready": False, "notReady": "no configuration", "process": {"overloaded": True}, "groups": [group]}
    assert [alarm["text"] for alarm in ask("alarms", "alarms", view)] == [
        "The balancer is not ready: no configuration",
        "The balancer is overloaded: new calls get 503",
        "n/g: no eligible node of 2",
        "n/g: 3 calls/s turned away",
    ]
    tried = {**VIEW, "groups": [{**GROUP, "eligible": 0}]}
    assert ask("alarms", "alarms", tried)[0]["text"].endswith(", calls go to nodes that are not heard")


def test_rows_are_ordered_by_key_with_the_unknown_last_either_way(open_page):
    script = """([keys, descending]) => import('/static/order.js').then(({ ordered }) =>
        ordered(keys.map((key, at) => ({ key, at })), item => item.key, item => item.at, descending)
            .map(item => item.at))"""
    for keys, upward, downward in [
        ([3, None, 1, 3], [2, 0, 3, 1], [0, 3, 2, 1]),
        (["fs10", "fs2", "fs1"], [2, 1, 0], [0, 1, 2]),
        ([[1, -2], [0, 5], [1, -3]], [1, 2, 0], [0, 2, 1]),
    ]:
        assert open_page.tab.evaluate(script, [keys, False]) == upward
        assert open_page.tab.evaluate(script, [keys, True]) == downward


def test_a_held_order_takes_in_what_is_new_and_lets_go_of_what_is_gone(open_page):
    script = "() => import('/static/order.js').then(({ heldOrder }) => heldOrder([5, 1, 4, 2], x => x, [1, 2, 3, 4]))"
    assert open_page.tab.evaluate(script) == [1, 2, 4, 5]


def test_an_event_and_its_repeats_are_one_line(open_page):
    event = {"type": "NodeRefused", "severity": "warning", "namespace": "n", "group": "g", "node": "zz", "reason": "R"}
    script = """async events => {
        const { Events } = await import('/static/events.js');
        const shown = new Events({ older: async () => ({ events: [], first: 0 }) });
        for (const event of events) shown.add([event]);
        return shown.kept.map(event => [event.id, event.count]);
    }"""
    told = [
        {**event, "id": 1, "count": 1, "since": 10.0, "time": 10.0, "message": "m", "details": {}},
        {**event, "id": 4, "count": 9, "since": 10.0, "time": 12.0, "message": "m", "details": {}},
        {**event, "id": 5, "count": 1, "since": 40.0, "time": 40.0, "message": "m", "details": {}},
        {**event, "id": 4, "count": 9, "since": 10.0, "time": 12.0, "message": "m", "details": {}},
    ]
    assert open_page.tab.evaluate(script, told) == [[4, 9], [5, 1]]
