"""Each check has a test that breaks a real host for it, so that no check is only believed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from runnerkit.health.judge import CHECKS
from runnerkit.health.model import check_id
from tests.e2e import test_changes, test_images, test_mirror, test_status_faults, test_watch
from tests.e2e.faults import FAULTS

# Those that need more than a line of shell.
OTHERS: Mapping[str, Callable[..., None]] = {
    "cache-use": test_status_faults.test_a_cache_above_its_ceiling_is_told,
    "certificate": test_status_faults.test_tls_and_the_time_of_a_server,
    "change": test_changes.test_a_client_killed_while_it_drains_loses_no_build,
    "drift": test_status_faults.test_what_the_configuration_alone_decides,
    "hardening": test_status_faults.test_what_the_configuration_alone_decides,
    "layer-cache": test_status_faults.test_what_the_configuration_alone_decides,
    "pins": test_images.test_a_pinned_image_stays_until_upgrade_moves_it_and_rollback_returns,
    "polling": test_status_faults.test_a_runner_that_gets_no_work_is_told_by_its_own_log,
    "reachable": test_watch.test_four_hosts_are_told_whatever_becomes_of_a_dead_fifth,
    "registry-mirror": (
        test_mirror.test_a_mirror_that_stopped_is_told_where_it_is_and_where_it_is_used
    ),
    "root": test_status_faults.test_a_login_without_rights_is_one_failure,
    "selection": test_status_faults.test_what_the_configuration_alone_decides,
    "server-clock": test_status_faults.test_tls_and_the_time_of_a_server,
    "updates": test_status_faults.test_a_newer_image_is_told_until_it_runs,
}


def test_every_check_is_broken_on_a_host_of_the_lab() -> None:
    known = {check_id(check) for checks in CHECKS.values() for check in checks}
    shell = {check for fault in FAULTS for check in fault.expected}
    assert known == shell | set(OTHERS)
    assert not shell & set(OTHERS)


def test_the_tests_that_are_named_ask_for_their_check() -> None:
    for check, test in OTHERS.items():
        word = {"reachable": "unreachable", "pins": "pins_check"}.get(check, f'"{check}"')
        assert word in inspect.getsource(test), check
