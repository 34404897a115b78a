#!/usr/bin/env bash
# A Chromium for the browser tests: the one found, else Debian's.
set -euo pipefail
command -v chromium >/dev/null 2>&1 && exit 0
echo "Installing Chromium for the browser tests"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core fonts-noto-cjk >/dev/null
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  sudo apt-get update -qq
  sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core fonts-noto-cjk >/dev/null
else
  echo "The browser tests need Chromium: install it with 'apt-get install chromium' and run 'make test' again" >&2
fi
