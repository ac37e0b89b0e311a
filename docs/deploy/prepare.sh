#!/bin/sh
# Make what compose.yaml needs and what nobody else may know: the keyring, passwords for store and ledger, settings.
#
#     docs/deploy/prepare.sh https://secrets.example.org [FOLDER]
#
# What is there already stays as it is. The folder (instance/compose) is closed to others; the files in it can be
# read, because a container's user is not yours. Put certificate.pem and certificate.key there yourself.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 https://NAME [FOLDER]" >&2; exit 2; }
folder=${2:-instance/compose}
allowed='~ss:* +@read +@write +@scripting +@connection -@dangerous +info +config|get +time +bgrewriteaof +bgsave'

umask 077
mkdir -p "$folder"
chmod 700 "$folder"
random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
new() { [ ! -e "$folder/$1" ] && echo "making $folder/$1"; }
# put NAME: whole or not at all
put() { cat > "$folder/$1.new" && chmod 444 "$folder/$1.new" && mv "$folder/$1.new" "$folder/$1"; }
acl() {
  digest=$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)
  printf 'user default on nopass resetchannels -@all +ping\nuser secretsvc on #%s resetchannels -@all %s\n' "$digest" "$allowed"
}

if new keyring; then printf '%s:%s\n' "$(date -u +%Y-%m-%d)" "$(random)" | put keyring; fi
if new servers.env; then
  store=$(random) ledger=$(random)
  acl "$store" | put store.acl
  acl "$ledger" | put ledger.acl
  printf 'SECRETSVC_REDIS_URL=%s\nSECRETSVC_LEDGER_URLS=%s\n' \
    "redis://secretsvc:$store@store:6379" \
    "redis://secretsvc:$ledger@ledger-1:6379,redis://secretsvc:$ledger@ledger-2:6379,redis://secretsvc:$ledger@ledger-3:6379" \
    | put servers.env
fi
if new service.env; then printf 'SECRETSVC_PUBLIC_URL=%s\n' "$1" | put service.env; chmod 644 "$folder/service.env"; fi
