#!/bin/sh
# Install the real servers that the integration tests run against, Node.js for the exporters of others, shells that complete
# commands, Chromium for the page in the browser, and systemd's own check of units.
# Does nothing when they are there, and says what is missing when it may not install.
set -eu
missing=""
# A program that tells whether a package is there; Debian keeps PostgreSQL's apart from the path.
for pair in prometheus:prometheus prometheus-alertmanager:prometheus-alertmanager chromium:chromium \
    nats-server:nats-server nginx-light:nginx nodejs:node npm:npm zsh:zsh fish:fish systemd:systemd-analyze; do
    command -v "${pair#*:}" >/dev/null 2>&1 || missing="$missing ${pair%%:*}"
done
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
if [ -z "$missing" ]; then
    echo "System packages are there: prometheus prometheus-alertmanager chromium nats-server nginx-light nodejs npm zsh fish systemd postgresql"
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Not installed (needs root and apt):$missing. Tests that need them are skipped, or fail with CI=true."
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# A fresh container starts no daemon for a package; a policy file keeps it so on a host that would.
policy=/usr/sbin/policy-rc.d
made_policy=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made_policy=yes
fi
trap '[ -z "$made_policy" ] || rm -f "$policy"' EXIT
apt-get -o Acquire::Retries=3 update -qq
# shellcheck disable=SC2086  # a list of package names
apt-get -o Acquire::Retries=3 install -qq -y --no-install-recommends $missing >/dev/null
echo "Installed:$missing"
