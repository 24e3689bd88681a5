"""The power fails while a release is being activated."""

from __future__ import annotations

from pathlib import Path

from emulated.machine.delivery import push, stage_of, start_push
from emulated.machine.lab import Lab, expect

# The device's words after which the power fails. After `tuned` the package is moved and its record is written; `active`
# is a promise.
STAGES = ("received", "golden_check", "measured", "tuned", "active")


def a_power_cut_leaves_one_whole_release(lab: Lab) -> str:
    """Wherever it is cut, the old release or the new one runs afterwards, and the push succeeds when it is repeated."""
    lab.boot()
    lab.wait_until_serving(*lab.records())
    seen = {stage: _cut(lab, stage) for stage in STAGES}
    return (
        f"cut after {', '.join(f'`{stage}`: {release}' for stage, release in seen.items())}; each whole and answering"
    )


def _cut(lab: Lab, stage: str) -> str:
    old = lab.active_release()
    package, new = lab.make_package()
    _cut_after(lab, package, stage)
    lab.machine.power_on(kernel_options=lab.machine.kernel_options)
    lab.wait_until_serving(*lab.records())
    found = lab.active_release()
    expect(found in {old, new}, f"{stage}: release {found} is active: neither {old} nor {new}")
    expect(stage != "active" or found == new, f"{stage}: release {new} was called active and is gone")
    answered = lab.ask().model_version
    expect(answered == f"{found}.0.0", f"{stage}: version {answered} answers, and the store says release {found}")
    lab.shell.run("drupelet-agent check digits")
    # What is left behind is in nobody's way and cleared by the next that writes, which a push is not that finds its
    # release there.
    if push(lab, package):
        lab.wait_for_release(new)
        leftovers = lab.shell.run("ls /var/lib/drupelet/staging")
        expect(not leftovers, f"{stage}: left behind in staging: {leftovers}")
    release = "the new release" if found == new else "the old one"
    print(f"      after {stage}: {release}", flush=True)
    return release


def _cut_after(lab: Lab, package: Path, stage: str) -> None:
    lines = []
    with start_push(lab, package) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if stage_of(line) == stage:
                lab.machine.cut_power()
                break
        process.kill()
    expect(not lab.machine.is_on, f"stage {stage!r} never came: {' / '.join(lines)}")
