"""What holds the promises up, and which test goes red when it is taken out.

Each row is an edit of one place in the code: what is taken out, the module, the right text, the text without it, and
the test that has to notice. An edit whose text is no longer there is an error, so the table keeps up with the code.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NOTICED: Final = "noticed by "  # how the plugin says it


class Row(NamedTuple):
    """See the module. `right` stands exactly once in the module's source; `by`: what the test fails with."""

    module: str
    right: str
    wrong: str
    test: str
    by: str = "an assertion"


_SURVIVES: Final = (
    "tests/run/test_journal_faults.py::test_what_was_acknowledged_survives_power_losses_and_what_was_cut_stays_away"
)
_FULL_LOG: Final = (
    "tests/run/test_disk_faults.py::test_while_the_event_log_is_full_orders_are_refused_and_then_all_goes_on"
)

TAKEN_OUT: Final = {
    "the sync of the journal": Row(
        "run.journalwriter",
        "                self._file.fdatasync()\n            except",
        "                pass\n            except",
        _SURVIVES,
        by="JournalCorrupt",
    ),
    "the sync of a new segment's name": Row(
        "run.journalwriter",
        "name_of(self.last_seq + 1))\n            self._storage.sync_directory()\n",
        "name_of(self.last_seq + 1))\n",
        _SURVIVES,
    ),
    "zeros over a torn tail": Row(
        "run.journalwriter", "            self._cut(scan.walk)\n", "", _SURVIVES, by="JournalCorrupt"
    ),
    "what a write cut short has left to write, in the journal": Row(
        "run.journalwriter",
        "                written += count\n",
        "                written = len(data)\n",
        _SURVIVES,
        by="JournalCorrupt",
    ),
    "writing again what no record claims": Row(
        "run.journalwriter",
        "            self._settle(scan)\n",
        "",
        "tests/run/test_journal_faults.py::test_what_a_failed_sync_left_in_the_cache_is_written_again",
        by="JournalCorrupt",
    ),
    "stopping after a failed sync": Row(
        "run.journalwriter",
        "        if self._failure:\n",
        "        if False:\n",
        "tests/run/test_journal_faults.py::test_after_a_failure_in_the_middle_nothing_is_tried_again",
    ),
    "the chain of hashes, when the journal is read": Row(
        "run.records",
        "record.previous_hash(group.record) != self.last_hash",
        "False",
        "tests/run/test_journal_faults.py::test_a_record_with_a_right_hash_and_wrong_numbers_is_corruption",
    ),
    "the chain of hashes, when a group comes to the matcher": Row(
        "components.matcher.matcher",
        "if hash_before == self.last_hash:",
        "if True:",
        "tests/matcher/test_matcher.py::test_a_lost_mark_is_noticed_by_the_hash_although_no_number_is_missing",
    ),
    "sending again what was not acknowledged": Row(
        "components.gateway.uplink",
        "        self._at = 0\n        self._progress_ns = self._now_ns\n",
        "        self._progress_ns = self._now_ns\n",
        "tests/gateway/test_uplink.py::test_each_command_is_sequenced_once_whatever_is_lost",
    ),
    "sending again behind a sequencer's restart": Row(
        "components.gateway.uplink",
        "                self._send_again()\n            self.epoch = epoch\n",
        "                pass\n            self.epoch = epoch\n",
        "tests/gateway/test_uplink.py::test_a_new_epoch_means_that_all_on_its_way_is_gone",
    ),
    "the bound of a gateway's room": Row(
        "components.gateway.uplink",
        "        return count <= free and (not held or held + count <= free)\n\n    def room_for_cancels",
        "        return True\n\n    def room_for_cancels",
        "tests/gateway/test_uplink.py::test_one_that_floods_leaves_room_for_the_others",
    ),
    "the turn of brokers that were silent, beside one that floods": Row(
        "run.parts.gateway",
        "        see_all_peers(self._orders)\n",
        "",
        "tests/gateway/test_agent.py::test_beside_any_flood_a_frame_is_taken_within_one_duty_cycle",
    ),
    "refusing while the matcher is far behind": Row(
        "components.sequencer.sequencer",
        "        return NO_ORDERS if behind > self._max_lag else 0\n",
        "        return 0\n",
        "tests/sequencer/test_sequencer.py::test_gateways_are_told_to_refuse_and_to_go_on",
    ),
    "the publisher's repair from the log": Row(
        "run.parts.publisher",
        "            return work + self._repair()\n",
        "            return work\n",
        "tests/publisher/test_agent.py::test_a_lost_tail_is_found_by_the_streams_heartbeat",
    ),
    "the gateway's repair from the log": Row(
        "run.parts.gateway",
        "        if self._next_seq <= self._heard:\n",
        "        if False:\n",
        "tests/gateway/test_agent.py::test_events_that_the_stream_lost_are_read_from_the_log",
    ),
    "taking a frame only once": Row(
        "components.sequencer.sequencer",
        "        if number != following:\n",
        "        if number > following:\n",
        "tests/sequencer/test_sequencer.py::test_each_command_comes_once_and_in_order_whatever_the_link_does",
    ),
    "acknowledging only what is synced": Row(
        "components.sequencer.sequencer",
        "            gateway.acked = gateway.committed\n",
        "            gateway.acked = gateway.committed = gateway.grouped\n",
        "tests/sequencer/test_sequencer.py::test_nothing_is_acknowledged_before_it_is_committed",
    ),
    "the fence between a gateway's incarnations": Row(
        "components.sequencer.sequencer",
        "                self._append(_Part(gateway, incarnation, 0, _loss(gateway), _NO_EXTENSIONS))\n",
        "                pass\n",
        "tests/sequencer/test_sequencer.py::test_a_new_incarnation_fences_the_old_one_off_before_its_first_command",
    ),
    "the fence between a session's gateways": Row(
        "components.engine.readable.engine",
        "        require(session.gateway == command.gateway, Reason.SESSION_MOVED)\n",
        "",
        "tests/engine/test_rules.py::test_what_uses_up_a_ref",
    ),
    "logging events before they are published": Row(
        "run.parts.matcher",
        "        try:\n            self._append(published)\n",
        "        if self._sockets:\n"
        "            try_send(self._events, [topology.EVENTS_TOPIC, published.frame])\n"
        "        try:\n            self._append(published)\n",
        _FULL_LOG,
    ),
    "refusing while the event log is full": Row(
        "components.sequencer.sequencer", "        self.log_full = log_full\n", "", _FULL_LOG
    ),
    "standing still while the event log is full": Row(
        "run.parts.matcher", "            self._unlogged = published\n", "", _FULL_LOG, by="BrokenInvariant"
    ),
    "what a write cut short has left to write, in the event log": Row(
        "run.storage",
        "        rest, offset = rest[written:], offset + written\n",
        "        rest = rest[:0]\n",
        "tests/run/test_eventlog.py::test_short_writes_are_gone_on_with",
    ),
    "counting whole rows": Row(
        "run.eventlog",
        "                end = first + file.size() // ROW\n",
        "                end = first - -file.size() // ROW\n",
        "tests/run/test_eventlog.py::test_half_a_row_is_no_event_although_it_could_not_be_taken_back",
    ),
}
