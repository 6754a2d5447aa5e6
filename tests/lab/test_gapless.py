"""Law 3, measured: while entries change, no survivor is ever missing, and no domestic connection fails or is logged."""

from __future__ import annotations

import pytest

from tests.lab.gaps import configure, exchange, measure, records, reload, run_fwfeed, set_entries
from tests.lab.whole import table_handle
from tests.lab.world import World

pytestmark = [pytest.mark.lab, pytest.mark.all_services]

SETS = ("JP", "JP-pass")


def test_an_update_of_twenty_among_three_thousand_leaves_no_gap_and_a_reload_does(lab: World) -> None:
    update = exchange(3000, 20)
    lab.publish(*records(update.old))
    configure(lab, on_link=False)
    run_fwfeed(lab, "update")
    lab.publish(*records(update.new))
    run_fwfeed(lab, "fetch")
    handle = table_handle(lab)

    by_fwfeed = measure(lab, update, lambda: run_fwfeed(lab, "apply"), SETS)
    assert table_handle(lab) == handle, "it was by a reload"
    assert by_fwfeed.samples > 50, "that says nothing"
    assert by_fwfeed.tried > 50, "that says nothing"
    assert by_fwfeed.gap(update.survivors).missing == 0
    assert by_fwfeed.failed == 0
    assert by_fwfeed.mislogged == 0

    # The meter would have seen it: a reload drops new connections and fills the sets, setEntries empties one that is in
    # use.
    again = update.done()
    by_reload = measure(lab, again, lambda: reload(lab), SETS)
    assert by_reload.gap(again.survivors).missing > 0
    assert by_reload.failed > 0
    at_once = measure(lab, again, lambda: set_entries(lab, "JP", again.new), SETS)
    assert at_once.gap(again.survivors).missing > 0
    assert at_once.mislogged > 0
