"""What dovecot does now and then is no news about cfcat."""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol

# Of some hundred connections one is not answered: a command that comes right behind the handshake, or an end right
# behind a command, goes unseen. The plain clients of dialogs.py, on Python's own ssl, meet it as well.
DOVECOT = frozenset({"imap", "pop3", "lmtp", "sieve"})


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test of dovecot once more where it fails: twice in a row is not dovecot."""
    if not isinstance(item, pytest.Function) or not _about_dovecot(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if any(report.failed for report in reports):
        item._initrequest()
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _about_dovecot(item: pytest.Function) -> bool:
    return hasattr(item, "callspec") and not DOVECOT.isdisjoint(map(str, item.callspec.params.values()))
