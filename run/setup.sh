# shellcheck shell=bash
# setup.sh: what the scripts of this folder share. `setup LOCK...` brings .venv to what the lock files say, and is
# silent when it is so already. A change of requirements.lock, of the checkout's place or of the machine's Python
# makes .venv anew. A stamp is the last thing an installation writes: one that was cut off is done again.

root=$(readlink -e "${BASH_SOURCE[0]%/*}/..")
venv=$root/.venv

say() { printf 'zmx: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

setup() {
  local lock
  for lock; do
    installed "$lock" && continue
    ( # fd 9 is the lock, on a folder that no installation replaces; it is let go with this subshell.
      flock --nonblock 9 || { say "another set-up is making .venv; waiting for it"; flock 9; }
      installed "$lock" || install_lock "$lock"
    ) 9<"$root/run"
  done
}

stamp_file() { printf '%s' "$venv/installed-${1//\//-}"; }
stamp() { printf '%s\n' "$root" "$(readlink -e "$venv/bin/python")"; cat "$root/$1"; }
installed() { stamp "$1" | cmp -s - "$(stamp_file "$1")"; }

install_lock() {
  local lock=$1 log=$venv/pip.log total
  [[ $lock != requirements.lock ]] || make_venv
  total=$(grep -c '^[a-z].*==' "$root/$lock") || true
  say "installing the $total packages of $lock (half a minute with a good connection, once)"
  "$venv/bin/python" -I -m pip install --require-hashes --only-binary :all: --no-input --no-color \
    --disable-pip-version-check -r "$root/$lock" 2>&1 | tee "$log" | progress "$total" || {
    tail -n 15 "$log" >&2
    fail "pip could not install $lock; its last lines stand above, the rest in $log." \
      "Is a package index within reach (proxy, mirror in pip.conf), is there room on the disk? Then run this again."
  }
  stamp "$lock" >"$(stamp_file "$lock")"
}

make_venv() {
  local python=${PYTHON:-python3} site
  command -v "$python" >/dev/null \
    || fail "$python is not there. On Debian or Ubuntu: apt-get install python3 python3-venv"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "Python 3.11 or newer is needed and $python is $("$python" --version 2>&1)." \
      "If this machine has another, name it: PYTHON=python3.11 $0"
  "$python" -c 'import ensurepip, venv' 2>/dev/null \
    || fail "$python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"
  say "making .venv with $("$python" --version)"
  "$python" -m venv --clear "$venv" || fail "could not make $venv (see above)"
  # A path file, not an editable install: an import finder would take the folder /run for our package `run`.
  site=$("$venv/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  printf '%s\n' "$root" >"$site/zmx.pth"
}

progress() { # what pip says, as one line that moves; nothing where there is no terminal
  local line count=0
  while IFS= read -r line; do
    [[ -t 2 ]] || continue
    case $line in
      *"(from -r "*)
        line=${line#* } line=${line%% *}
        printf '\r\033[K  %d/%d %s' $((++count)) "$1" "${line##*/}" >&2 ;;
      "Installing "*) printf '\r\033[K  unpacking' >&2 ;;
    esac
  done
  [[ ! -t 2 ]] || printf '\r\033[K' >&2
}
