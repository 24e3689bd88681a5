#!/bin/sh
# Installs, upgrades, rolls back and removes the agent on Raspberry Pi OS and Debian (64-bit); never needs a compiler.
#
# Each version is an environment of its own, /opt/drupelet/versions/NAME, built beside the one that runs. A symbolic link,
# /opt/drupelet/current, is then switched in one step; /opt/drupelet/previous is what it was before.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
action=install
root=
wheelhouse=
wheel=
python=
engine=onnxruntime
dry_run=
purge=
start=yes

usage() {
    cat <<END
usage: install.sh [OPTIONS]

  --offline FOLDER  install from this wheelhouse; the default where one lies beside this script
  --wheel FILE      install this wheel of drupelet, and what it needs from the package index
  --engine NAME     with --wheel: onnxruntime, litert, ncnn, both (the first two) or all (default: onnxruntime)
  --rollback        go back to the version before
  --uninstall       remove the agent; models, configuration and keys stay
  --purge           with --uninstall: remove those too
  --dry-run         say what would be done, and do nothing
  --no-start        neither enable nor start the service
  --root FOLDER     act on the system under FOLDER, such as a mounted image; its own Python runs there with chroot
  --python FILE     use this Python, not /usr/bin/python3; with --root it is run without chroot
END
}

say() { echo "install: $1"; }

fail() {
    echo "install: $1" >&2
    exit "${2:-1}"
}

finish() { if [ -n "$dry_run" ]; then say "nothing was done"; else say "done: $1"; fi; }

# Every change goes through here.
act() {
    if [ -n "$dry_run" ]; then
        say "would run: $*"
    else
        "$@"
    fi
}

while [ $# -gt 0 ]; do
    case $1 in
    --offline | --wheel | --engine | --root | --python) [ $# -ge 2 ] || fail "$1 needs a value" 2 ;;
    esac
    case $1 in
    --offline) wheelhouse=$2 && shift ;;
    --wheel) wheel=$2 && shift ;;
    --engine) engine=$2 && shift ;;
    --root) root=${2%/} && shift ;;
    --python) python=$2 && shift ;;
    --rollback) action=rollback ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    --dry-run) dry_run=yes ;;
    --no-start) start= ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done
[ -z "$purge" ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall" 2
case $engine in
onnxruntime | litert | ncnn | both | all) ;;
*) fail "engine '$engine': expected onnxruntime, litert, ncnn, both or all" 2 ;;
esac
if [ -n "$root" ]; then
    [ -d "$root" ] || fail "root $root: no such folder" 2
    root=$(CDPATH='' cd -- "$root" && pwd)
fi
[ -n "$dry_run" ] || [ "$(id -u)" = 0 ] || fail "needs root: run it with sudo"

base=$root/opt/drupelet
unit_folder=$root/etc/systemd/system
unit=drupelet-agent.service
command=$root/usr/local/bin/drupelet-agent
# How the root folder is called for what runs in it.
inside=$root
enter=
if [ -n "$root" ] && [ -z "$python" ]; then
    inside=
    enter="chroot $root"
fi
python=${python:-/usr/bin/python3}

run_inside() {
    # shellcheck disable=SC2086 # two words or none
    $enter "$@"
}

systemd_runs() { [ -z "$root" ] && [ -n "$start" ] && [ -d /run/systemd/system ]; }

current() { readlink "$base/current" 2>/dev/null || true; }

# rename(2) replaces the link in one step: there is no moment without one.
point() {
    act ln -sfn "$2" "$base/$1.new"
    act mv -T "$base/$1.new" "$base/$1"
}

check_machine() {
    run_inside "$python" -c '' 2>/dev/null || fail "$python does not run${root:+ under $root}: install python3"
    facts=$(run_inside "$python" -c 'import platform as p, struct, sys
print(8 * struct.calcsize("P"), p.machine(), "%d.%d" % sys.version_info[:2])')
    # shellcheck disable=SC2086 # three words
    set -- $facts
    [ "$1" = 64 ] || fail "this system is ${1}-bit: the engines need the 64-bit Raspberry Pi OS (uname shows the kernel alone)"
    case $2 in aarch64 | x86_64) ;; *) fail "machine $2: expected aarch64 or x86_64" ;; esac
    case $3 in
    3.11 | 3.12 | 3.13) version=$3 ;;
    *) fail "Python $3: expected 3.11 to 3.13 (Raspberry Pi OS Bookworm or Trixie)" ;;
    esac
    say "$2, Python $3${root:+, under $root}"
}

# Where the packages come from, what the new version is called, and how much room it needs.
choose_source() {
    if [ -z "$wheelhouse$wheel" ] && [ -f "$here/SHA256SUMS" ]; then wheelhouse=$here; fi
    [ -n "$wheelhouse$wheel" ] || fail "where from? --offline FOLDER (made by deploy/wheelhouse) or --wheel FILE" 2
    if [ -n "$wheel" ]; then
        [ -f "$wheel" ] || fail "wheel $wheel: no such file"
        run_inside "$python" -c 'import ensurepip' 2>/dev/null || fail "$python has no ensurepip: apt install python3-venv"
        release=$(basename "$wheel" | cut -d- -f2)
        digest=$({ sha256sum <"$wheel" && echo "$engine"; } | sha256sum | cut -c1-8)
        need_kib=400000
    else
        pins=$wheelhouse/requirements-$version.txt
        [ -f "$pins" ] || fail "wheelhouse $wheelhouse has nothing for Python $version: make it with --python $version"
        release=$(sed -n 's/^drupelet==\([^ ]*\).*/\1/p' "$pins")
        digest=$(sha256sum <"$pins" | cut -c1-8)
        # Unpacked and compiled, wheels take four times their size.
        need_kib=$((4 * $(du -skL "$wheelhouse" | cut -f1)))
    fi
    name=$release-$digest
}

check_room() {
    folder=$base
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    free_kib=$(df -Pk "$folder" | awk 'NR == 2 {print $4}')
    [ "$free_kib" -ge "$need_kib" ] ||
        fail "$folder has $((free_kib / 1024)) MiB free: a new version beside the old one needs $((need_kib / 1024)) MiB"
}

build() {
    target=$base/versions/$name
    if [ -f "$target/.complete" ]; then
        say "$name is built already"
        return
    fi
    check_room
    say "building $name in $target"
    # What an interrupted run has left.
    act rm -rf "$target"
    act mkdir -p "$base/versions"
    [ -n "$dry_run" ] && say "would install drupelet $release there, from ${wheel:-$wheelhouse}" && return
    trap 'rm -rf "$target" "$base/.incoming"' EXIT
    if [ -n "$wheel" ]; then fill_from_index; else fill_from_wheelhouse; fi
    run_inside "$inside/opt/drupelet/versions/$name/bin/python" -P -m drupelet_agent --version ||
        fail "the new version does not start; nothing was switched"
    : >"$target/.complete"
    # All of it is on the disk before anything points there.
    sync
    trap - EXIT
}

# What a system under another root can read.
visible() {
    if [ -z "$enter" ]; then
        echo "$1"
    else
        rm -rf "$base/.incoming"
        cp -rL "$1" "$base/.incoming"
        echo /opt/drupelet/.incoming
    fi
}

fill_from_wheelhouse() {
    (cd "$wheelhouse" && sha256sum --check --quiet SHA256SUMS) || fail "wheelhouse $wheelhouse is damaged: copy it again"
    from=$(visible "$wheelhouse")
    environment=$inside/opt/drupelet/versions/$name
    run_inside "$python" -m venv --without-pip "$environment"
    # Not by its name alone: a wheelhouse that was copied over an older one holds the older one's too.
    pip=$(sed -n 's|.* \./\(pip-[^/]*\.whl\)$|\1|p' "$wheelhouse/SHA256SUMS")
    run_inside env PIP_CONFIG_FILE=/dev/null PYTHONPATH="$from/$pip" "$environment/bin/python" -m pip install \
        --quiet --no-cache-dir --no-index --find-links "$from" --only-binary=:all: --require-hashes \
        --requirement "$from/requirements-$version.txt"
    rm -rf "$base/.incoming"
}

fill_from_index() {
    extras=agent
    [ "$engine" != both ] || extras=agent,litert
    [ "$engine" != all ] || extras=agent,litert,ncnn
    packages=
    case $engine in litert | ncnn) extras=$engine && packages='pillow psutil' ;; esac
    mkdir -p "$base/.wheel"
    cp "$wheel" "$base/.wheel"
    environment=$inside/opt/drupelet/versions/$name
    run_inside "$python" -m venv "$environment"
    # shellcheck disable=SC2086 # a list of words
    run_inside "$environment/bin/python" -m pip install --disable-pip-version-check --quiet --no-cache-dir \
        --only-binary=:all: "$inside/opt/drupelet/.wheel/$(basename "$wheel")[$extras]" $packages
    rm -rf "$base/.wheel"
}

# A file that is as it should be is left alone, so that a second run changes nothing.
put() {
    cmp -s "$1" "$2" && [ "$(stat -c %a "$2")" = "$3" ] && return
    say "writing $2"
    act install -D -m "$3" "$1" "$2"
}

put_folder() { [ -d "$2" ] || act install -d -m "$1" "$2"; }

put_files() {
    units=$here/systemd
    [ -d "$units" ] || units=$here/../systemd
    put "$units/$unit" "$unit_folder/$unit" 644
    if [ "$(systemd_version)" -ge 254 ]; then
        put "$units/50-backoff.conf" "$unit_folder/$unit.d/50-backoff.conf" 644
    fi
    put "$units/drupelet-sysusers.conf" "$root/usr/lib/sysusers.d/drupelet.conf" 644
    put "$units/drupelet-agent" "$command" 755
    grep -qs '^drupelet:' "$root/etc/passwd" || act systemd-sysusers ${root:+--root="$root"} drupelet.conf
    put_folder 755 "$root/etc/drupelet/trust"
    put_folder 700 "$root/etc/drupelet/credentials"
    [ -e "$root/etc/drupelet/agent.toml" ] || put "$units/agent.toml" "$root/etc/drupelet/agent.toml" 644
    # The service would make it at its start; `drupelet-agent install` may come before that.
    [ -d "$root/var/lib/drupelet" ] || act install -d -m 700 -o "$(identity 3)" -g "$(identity 4)" "$root/var/lib/drupelet"
}

systemd_version() {
    found=$(run_inside systemctl --version 2>/dev/null | awk 'NR == 1 {print $2}')
    echo "${found:-0}"
}

identity() {
    number=$(awk -F: -v field="$1" '$1 == "drupelet" {print $field}' "$root/etc/passwd" 2>/dev/null || true)
    echo "${number:-drupelet}"
}

enable_at_boot() {
    [ -n "$start" ] || return 0
    wanted=$unit_folder/multi-user.target.wants/$unit
    [ -L "$wanted" ] && return
    act mkdir -p "${wanted%/*}"
    act ln -s "../$unit" "$wanted"
}

# The service's state after a restart: it may wait for its broker for long, and that is no failure.
restart() {
    systemd_runs || return 0
    act systemctl daemon-reload
    act systemctl --no-block restart "$unit"
    [ -z "$dry_run" ] || return 0
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 1
        case $(systemctl show --property ActiveState --property SubState --value "$unit" | tr '\n' ' ') in
        "active "*) say "the service runs" && return ;;
        "failed "* | *" auto-restart "*) return 1 ;;
        esac
    done
    say "the service waits: $(systemctl show --property StatusText --value "$unit")"
}

do_install() {
    check_machine
    choose_source
    before=$(current)
    build
    changed=$(put_files)
    [ -z "$changed" ] || echo "$changed"
    enable_at_boot
    if [ "$before" = "versions/$name" ] && [ -z "$changed" ] && service_is_up; then
        say "$name is current; nothing to do"
        return
    fi
    if [ "$before" != "versions/$name" ]; then
        [ -z "$before" ] || point previous "$before"
        point current "versions/$name"
    fi
    if ! restart; then
        case $before in '' | "versions/$name") fail "the service does not start: journalctl -u $unit" ;; esac
        say "the service does not start with $name; going back to $before"
        point current "$before"
        restart || true
        fail "$name was not installed: journalctl -u $unit"
    fi
    remove_old
    finish "$name"
    [ -n "$before$dry_run" ] || say "next: edit /etc/drupelet/agent.toml, put a key into /etc/drupelet/trust, then 'drupelet-agent doctor'"
}

service_is_up() { ! systemd_runs || systemctl --quiet is-active "$unit" || [ "$(systemctl is-active "$unit")" = activating ]; }

remove_old() {
    for folder in "$base"/versions/*; do
        link=versions/${folder##*/}
        if [ -d "$folder" ] && [ "$link" != "$(current)" ] && [ "$link" != "$(readlink "$base/previous" || true)" ]; then
            say "removing $folder"
            act rm -rf "$folder"
        fi
    done
}

do_rollback() {
    before=$(current)
    target=$(readlink "$base/previous" 2>/dev/null || true)
    [ -f "$base/${target:-none}/.complete" ] || fail "there is no version before ${before:-this one}"
    point current "$target"
    point previous "$before"
    restart || fail "the service does not start: journalctl -u $unit"
    finish "${target#versions/}, and --rollback again goes back to ${before#versions/}"
}

do_uninstall() {
    systemd_runs && [ -e "$unit_folder/$unit" ] && act systemctl disable --now "$unit"
    act rm -f "$unit_folder/$unit" "$unit_folder/$unit.d/50-backoff.conf" "$unit_folder/multi-user.target.wants/$unit" \
        "$root/usr/lib/sysusers.d/drupelet.conf" "$command"
    [ ! -d "$unit_folder/$unit.d" ] || act rmdir --ignore-fail-on-non-empty "$unit_folder/$unit.d"
    act rm -rf "$base"
    systemd_runs && act systemctl daemon-reload
    if [ -n "$purge" ]; then
        act rm -rf "$root/var/lib/drupelet" "$root/etc/drupelet" "$unit_folder/$unit.d"
        if grep -q '^drupelet:' "$root/etc/passwd" 2>/dev/null; then act userdel ${root:+--prefix "$root"} drupelet; fi
        finish "nothing is left"
    else
        finish "/var/lib/drupelet, /etc/drupelet and the user drupelet stay; --purge removes them"
    fi
}

"do_$action"
