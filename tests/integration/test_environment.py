"""What the daemon was started with reaches workers where that was asked for; the rest does not."""

from dataclasses import replace
from pathlib import Path

from tests.harness.daemon import Daemon
from tests.harness.settings import Settings

SECRET = "postgres://chat:s3cr3t@db/chat"
VARIABLES = {
    "DATABASE_URL": SECRET,
    "OTHER_SECRET": "x",
    "CREDENTIALS_DIRECTORY": "/run/credentials/chat",
}


def variables_of(daemon: Daemon) -> list[dict[str, str]]:
    found = []
    for pid in daemon.active_pids():
        data = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8")
        found.append(dict(one.split("=", 1) for one in data.split("\0") if "=" in one))
    return found


def test_a_named_variable_reaches_workers_over_reloads_and_upgrades(settings: Settings) -> None:
    settings = replace(settings, extra_app='pass_environment = ["DATABASE_URL"]')
    with Daemon(settings, variables=VARIABLES, options=("--log-level", "debug")) as daemon:
        daemon.start()
        for _ in range(2):
            for found in variables_of(daemon):
                assert found["DATABASE_URL"] == SECRET
                assert found["CREDENTIALS_DIRECTORY"] == "/run/credentials/chat"
                assert "OTHER_SECRET" not in found
            assert daemon.ctl("upgrade").status == 0
            daemon.reload()

        said = [daemon.ctl(verb, "--json").out for verb in ("status", "events", "history")]
        assert not any("s3cr3t" in one for one in [*said, daemon.log()])


def test_names_on_the_command_line_are_passed_on(settings: Settings) -> None:
    options = ("--pass-environment", "DATABASE_URL", "--pass-environment=-UNSET")
    with Daemon(settings, variables=VARIABLES, options=options) as daemon:
        daemon.start()

        assert {found["DATABASE_URL"] for found in variables_of(daemon)} == {SECRET}


def test_a_name_that_is_not_set_fails_the_reload_with_the_reason(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        pids = daemon.start().active_pids()
        replace(settings, extra_app='pass_environment = ["DATABASE_URL"]').write()
        answer = daemon.ctl("reload")

        assert answer.status == 1
        assert "[app] pass_environment: DATABASE_URL is set neither" in answer.err
        assert pids == daemon.active_pids()


def test_a_name_that_is_not_set_fails_the_start_with_the_reason(settings: Settings) -> None:
    settings = replace(settings, extra_app='pass_environment = ["DATABASE_URL"]')
    with Daemon(settings) as daemon:
        assert daemon.run_to_its_end() == 1
        assert "[app] pass_environment: DATABASE_URL is set neither" in daemon.log()
        assert daemon.leftovers() == []


def test_a_reload_warns_of_what_is_not_pinned(settings: Settings) -> None:
    current = settings.releases.current
    with Daemon(settings) as daemon:
        daemon.start()
        release = settings.releases.install("two")
        (release / "serve").symlink_to(f"{current}/run")
        replace(settings, command=("./serve",)).write()
        answer = daemon.ctl("reload")

        assert answer.status == 0
        assert f"warning: [app] command: {release}/serve leads into the release" in answer.err
        assert f"{current}, which the next deploy may switch" in daemon.log()
