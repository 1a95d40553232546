"""The dfx driver over the stand-in: passphrases, refusals, answers that get lost."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfx_backup.drivers.dfx import DfxDriver, DfxTool, probe_dfx
from dfx_backup.drivers.features import ToolVersion
from dfx_backup.drivers.process import Patience
from dfx_backup.errors import (
    NetworkError,
    ProjectError,
    ToolError,
    UnknownOutcomeError,
    WrongKeyError,
)
from dfx_backup.model import RunState
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import ReplicaBench, identity, pem
from tests.fakes.dfx.install import FakeDfx

PASSWORD = "correct horse"


class Setting:
    """A replica, a stand-in, and drivers on them."""

    def __init__(self, server: ReplicaServer, fake: FakeDfx) -> None:
        self.server = server
        self.fake = fake
        fake.add_identity("alice", pem("alice"))
        self.bench = ReplicaBench(
            server, driver=self.driver(), stranger=self.driver(), down=self.driver()
        )

    def tool(self, **environment: str) -> DfxTool:
        given = self.fake.environment | environment
        tool = probe_dfx(cache_path=str(self.fake.cache), environment=given)
        assert tool is not None
        return tool

    def driver(
        self,
        name: str = "alice",
        *,
        network: str | None = None,
        password: Callable[[], str] | None = None,
        timeout_s: float = 30,
        **environment: str,
    ) -> DfxDriver:
        return DfxDriver(
            tool=self.tool(**environment),
            network=network or self.server.url,
            identity=name,
            clock=time.time,
            password=password,
            timeout_s=timeout_s,
            patience=Patience(grace_s=0.5, interrupt_s=5),
        )


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    with ReplicaServer.start() as server:
        fake = FakeDfx.install(tmp_path, version="0.32.0")
        made = Setting(server, fake)
        yield made
        made.bench.close()
        fake.check()


# -- identities -----------------------------------------------------------------------------------


def test_the_passphrase_is_asked_once_and_never_shown(setting: Setting) -> None:
    asked: list[str] = []

    def password() -> str:
        asked.append("asked")
        return PASSWORD

    setting.fake.add_encrypted_identity("sealed", pem("alice"), password=PASSWORD)
    driver = setting.driver("sealed", password=password)
    assert asked == []  # only when dfx asks for it
    assert driver.status(setting.bench.canister).state is RunState.RUNNING
    driver.stop(setting.bench.canister, timeout_s=30)
    made = driver.take_snapshot(setting.bench.canister)
    assert setting.bench.snapshots() == [made.snapshot_id]
    assert asked == ["asked"]
    assert PASSWORD not in repr(vars(driver))


def test_a_wrong_passphrase_is_the_wrong_key(setting: Setting) -> None:
    setting.fake.add_encrypted_identity("sealed", pem("alice"), password=PASSWORD)
    driver = setting.driver("sealed", password=lambda: "battery staple")
    with pytest.raises(WrongKeyError) as caught:
        driver.stop(setting.bench.canister, timeout_s=30)
    assert "battery staple" not in caught.value.message
    assert setting.bench.state() is RunState.RUNNING


def test_without_a_passphrase_the_option_is_named(setting: Setting) -> None:
    setting.fake.add_encrypted_identity("sealed", pem("alice"), password=PASSWORD)
    with pytest.raises(ProjectError) as caught:
        setting.driver("sealed").stop(setting.bench.canister, timeout_s=30)
    assert "--identity-password-file" in (caught.value.hint or "")


def test_a_passphrase_that_can_not_be_had_ends_dfx_at_once(setting: Setting) -> None:
    def gone() -> str:
        raise ProjectError("the password file is gone")

    setting.fake.add_encrypted_identity("sealed", pem("alice"), password=PASSWORD)
    begun = time.monotonic()
    with pytest.raises(ProjectError, match="the password file is gone"):
        setting.driver("sealed", password=gone).status(setting.bench.canister)
    assert time.monotonic() - begun < 10


def test_an_identity_that_needs_no_passphrase_is_not_asked_for_one(setting: Setting) -> None:
    def never() -> str:
        raise AssertionError("asked for a passphrase")

    driver = setting.driver(password=never)
    assert driver.status(setting.bench.canister).state is RunState.RUNNING
    assert driver.principal() == identity("alice").principal.to_text()


def test_an_identity_that_is_not_there_is_named(setting: Setting) -> None:
    with pytest.raises(ProjectError, match="no identity bob"):
        setting.driver("bob").status(setting.bench.canister)


def test_a_plaintext_identity_acts_on_mainnet_only_when_the_user_said_so(setting: Setting) -> None:
    setting.fake.set(ic_url=setting.server.url)
    with pytest.raises(ProjectError) as caught:
        setting.driver(network="ic").stop(setting.bench.canister, timeout_s=30)
    assert "DFX_WARNING=-mainnet_plaintext_identity" in (caught.value.hint or "")
    assert setting.bench.state() is RunState.RUNNING
    allowed = setting.driver(network="ic", DFX_WARNING="-mainnet_plaintext_identity")
    assert allowed.status(setting.bench.canister).state is RunState.RUNNING


def test_the_users_network_variable_does_not_reach_dfx(setting: Setting) -> None:
    driver = setting.driver(DFX_NETWORK="ic")
    assert driver.status(setting.bench.canister).state is RunState.RUNNING


# -- answers that get lost ------------------------------------------------------------------------


def check_unknown(error: UnknownOutcomeError) -> None:
    assert error.request_id is None
    assert time.time() + 270 < error.expires_at <= time.time() + 300


@pytest.mark.parametrize(
    ("fault", "state"), [("die before", RunState.RUNNING), ("die after", RunState.STOPPED)]
)
def test_a_dfx_that_is_killed_leaves_the_outcome_open(
    setting: Setting, fault: str, state: RunState
) -> None:
    setting.fake.fault("canister stop", fault)
    with pytest.raises(UnknownOutcomeError) as caught:
        setting.driver().stop(setting.bench.canister, timeout_s=30)
    check_unknown(caught.value)
    assert setting.bench.state() is state


@pytest.mark.parametrize("with_terminal", [False, True])
def test_a_dfx_that_hangs_is_ended(setting: Setting, with_terminal: bool) -> None:  # noqa: FBT001 # a case
    setting.fake.fault("canister stop", "hang after")
    driver = setting.driver(password=(lambda: "unused") if with_terminal else None)
    with pytest.raises(UnknownOutcomeError, match="did not end within 2 s") as caught:
        driver.stop(setting.bench.canister, timeout_s=2)
    check_unknown(caught.value)


def test_a_question_that_hangs_is_the_tools_failure(setting: Setting) -> None:
    setting.server.faults.set(latency_by_method_s={"canister_status": 30.0})
    with pytest.raises(ToolError, match="did not end within 1 s"):
        setting.driver(timeout_s=1).status(setting.bench.canister)


def test_a_snapshot_whose_id_was_not_told_is_an_unknown_outcome(setting: Setting) -> None:
    driver = setting.driver()
    driver.stop(setting.bench.canister, timeout_s=30)
    setting.fake.fault("canister snapshot create", "silent")
    with pytest.raises(UnknownOutcomeError, match="printed no snapshot id"):
        driver.take_snapshot(setting.bench.canister)
    assert len(setting.bench.snapshots()) == 1


def test_a_list_that_was_not_told_is_not_an_empty_one(setting: Setting) -> None:
    setting.fake.fault("canister snapshot list", "silent")
    with pytest.raises(ToolError, match="can't be read"):
        setting.driver().list_snapshots(setting.bench.canister)


def test_a_local_replica_that_is_down_has_a_hint(setting: Setting) -> None:
    setting.bench.close()
    setting.server.close()
    with pytest.raises(NetworkError) as caught:
        setting.driver().status(setting.bench.canister)
    assert "dfx start" in (caught.value.hint or "")


def test_what_was_sent_may_execute_until_five_minutes_after_the_time_out(setting: Setting) -> None:
    told: list[float] = []
    setting.driver().stop(
        setting.bench.canister, timeout_s=30, before_send=lambda call: told.append(call.expires_at)
    )
    assert told[0] == pytest.approx(time.time() + 330, abs=20)


# -- the tool -------------------------------------------------------------------------------------


def test_the_version_is_asked_of_the_dfx_in_the_cache_first(tmp_path: Path) -> None:
    ours = FakeDfx.install(tmp_path / "ours", version="0.30.1")
    other = FakeDfx.install(tmp_path / "other", version="0.25.0")
    found = probe_dfx(cache_path=str(ours.cache), environment=other.environment)
    assert found is not None
    assert (found.binary, str(found.version)) == (str(ours.cache / "dfx"), "0.30.1")
    on_path = probe_dfx(cache_path=None, environment=other.environment)
    assert on_path is not None
    assert (on_path.binary, str(on_path.version)) == (str(other.bin_dir / "dfx"), "0.25.0")
    assert probe_dfx(cache_path=None, environment={"PATH": str(tmp_path)}) is None


def test_a_dfx_without_snapshots_is_refused_with_the_reason(tmp_path: Path) -> None:
    fake = FakeDfx.install(tmp_path, version="0.22.0")
    tool = probe_dfx(cache_path=None, environment=fake.environment)
    assert tool is not None
    with pytest.raises(ToolError, match=r"0\.22\.0 is too old") as caught:
        DfxDriver(tool=tool, network="local", identity=None, clock=time.time)
    assert "--driver agent" in (caught.value.hint or "")


def test_a_dfx_that_tells_no_version_is_no_dfx(tmp_path: Path) -> None:
    broken = tmp_path / "dfx"
    for script in ("#!/bin/sh\necho hello\n", "#!/bin/sh\necho no >&2; exit 1\n"):
        broken.write_text(script)
        broken.chmod(0o755)
        with pytest.raises(ToolError):
            probe_dfx(cache_path=None, environment={"PATH": str(tmp_path)})


def test_the_environment_of_the_user_is_not_shown() -> None:
    tool = DfxTool(
        binary="/bin/dfx",
        version=ToolVersion.parse("0.32.0"),
        environment={"DFX_HSM_PIN": "123456"},
    )
    assert "123456" not in repr(tool)
