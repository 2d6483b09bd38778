#!/bin/bash
# Record what a real pgBackRest says of real repositories, for the tests of pgdolly.drivers.catalogue.
#
#   sudo -u postgres tests/data/pgbackrest/record.sh WORK_DIRECTORY OUTPUT_DIRECTORY
#
# Both directories must be writable for the user; the servers listen on sockets below WORK_DIRECTORY only.
# Needs PostgreSQL's programs in PATH or in PG_BIN. Recorded last with pgBackRest 2.45 and PostgreSQL 15.18.
set -euo pipefail
work=$1
output=$2
export PATH=${PG_BIN:-/usr/lib/postgresql/15/bin}:$PATH LC_ALL=C TZ=UTC
mkdir -p "$work"/{log,lock,spool} "$output"
cd "$work"

configure() { # stanza port more-lines
    cat > "$1.conf" <<CONF
[global]
repo1-path=$work/repo1-$1
repo1-bundle=y
repo1-retention-full=99
compress-type=zst
log-path=$work/log
lock-path=$work/lock
spool-path=$work/spool
start-fast=y
archive-timeout=20
${3:-}
[$1]
pg1-path=$work/data-$1
pg1-port=$2
pg1-socket-path=$work
CONF
}

new_server() { # stanza port initdb-options
    initdb -D "data-$1" -U postgres --no-sync -A trust "${@:3}" > log/initdb.log
    cat >> "data-$1/postgresql.conf" <<CONF
port=$2
listen_addresses=''
unix_socket_directories='$work'
archive_mode=on
archive_command='pgbackrest --config=$work/$1.conf --stanza=$1 archive-push %p'
fsync=off
shared_buffers=32MB
CONF
    start "$1"
}

start() { pg_ctl -D "data-$1" -l "log/server-$1.log" -w start > /dev/null; }
stop() { pg_ctl -D "data-$1" -m fast -w stop > /dev/null; }
sql() { psql -qAtX -h "$work" -p "$1" -U postgres -d postgres -c "$2"; }
write() { sql "$1" "insert into t select generate_series(1, ${2:-100})" && sql "$1" "select pg_switch_wal()" > /dev/null && sleep 1.2; }
pb() { pgbackrest --config="$work/$1.conf" --stanza="$1" "${@:2}"; }
promoted() { while [ "$(sql "$1" 'select pg_is_in_recovery()')" = t ]; do sleep 0.2; done; }

record() { # stanza into repositories…
    mkdir -p "$output/$2"
    pb "$1" --output=json info > "$output/$2/info.json"
    for repo in "${@:3}"; do
        pb "$1" --repo="$repo" --output=json --recurse repo-ls "archive/$1" > "$output/$2/repo-ls.$repo.json"
        for history in $(pb "$1" --repo="$repo" --recurse repo-ls "archive/$1" | grep '\.history$' || true); do
            mkdir -p "$output/$2/$repo/$(dirname "$history")"
            pb "$1" --repo="$repo" repo-get "archive/$1/$history" > "$output/$2/$repo/$history"
        done
    done
}

# Backups of every type; then three recoveries in place, of which the last begins on timeline 1 again.
configure pg-forks 5540
new_server pg-forks 5540
pb pg-forks stanza-create
pb pg-forks --output=json info > "$output/no-backup.info.json"
sql 5540 "create table t (i int)"
pb pg-forks --type=full backup
write 5540 10000
pb pg-forks --type=diff backup
write 5540
pb pg-forks --type=incr backup
set=$(pb pg-forks --output=json info | grep -o '[0-9F-]*_[0-9-]*D' | head -1)
sleep 2
first=$(sql 5540 "select now()")
sleep 2
for _ in 1 2 3; do write 5540; done
stop pg-forks
pb pg-forks --delta --type=time --target="$first" --target-action=promote restore
start pg-forks && promoted 5540
write 5540
pb pg-forks --type=full backup
write 5540
sleep 2
second=$(date -u '+%F %T+00')
sleep 2
write 5540
write 5540
stop pg-forks
pb pg-forks --delta --type=time --target="$second" --target-action=promote restore
start pg-forks && promoted 5540
write 5540
stop pg-forks
pb pg-forks --delta --set="$set" --target-timeline=1 --type=time --target="$first" --target-action=promote restore
start pg-forks && promoted 5540
write 5540
pb pg-forks --type=incr backup
stop pg-forks
record pg-forks forks 1
printf '%s\n%s\n' "$first" "$second" > "$output/forks/targets"

# Two repositories, the second enciphered; a standby promoted by accident while its primary goes on; then a new
# system in the same stanza.
configure pg-two 5541 "repo2-path=$work/repo2-pg-two
repo2-bundle=y
repo2-retention-full=99
repo2-cipher-type=aes-256-cbc
repo2-cipher-pass=secret"
new_server pg-two 5541
pb pg-two stanza-create
sql 5541 "create table t (i int)"
pb pg-two --repo=1 --type=full backup
pb pg-two --repo=2 --type=full backup
write 5541 10000
pg_basebackup -h "$work" -p 5541 -U postgres -D data-standby -X stream -R
sed -i "s/^port=.*/port=5542/; s/--stanza=pg-two/& --pg1-path=${work//\//\\/}\/data-standby/" data-standby/postgresql.conf
start standby
sql 5541 "insert into t select generate_series(1, 10000)"
sleep 1
pg_ctl -D data-standby -w promote > /dev/null
sql 5542 checkpoint # pgBackRest reads the timeline in pg_control, which only a checkpoint brings up to date
write 5541 # the old primary goes on
write 5542
pb pg-two --pg1-path="$work/data-standby" --pg1-port=5542 --repo=2 --type=incr backup
stop standby
stop pg-two
mv data-pg-two data-old
new_server pg-two 5541
pb pg-two stanza-upgrade
record pg-two upgraded 1 2
sql 5541 "create table t (i int)"
pb pg-two --repo=1 --type=full backup
write 5541
stop pg-two
record pg-two two-repos 1 2

# Segments of 64 MB.
configure pg-large 5543
new_server pg-large 5543 --wal-segsize=64
pb pg-large stanza-create
sql 5543 "create table t (i int)"
pb pg-large --type=full backup
write 5543
stop pg-large
record pg-large wal-64mb 1

# What pgBackRest says when it cannot read.
pgbackrest --config="$work/pg-two.conf" --stanza=nope --output=json info > "$output/missing-stanza.info.json"
pb pg-two --repo=1 --output=json repo-ls backup > "$output/stanzas.repo-ls.json"
PGBACKREST_REPO2_CIPHER_PASS=wrong pb pg-two --output=json info > "$output/wrong-passphrase.info.json"
PGBACKREST_REPO1_CIPHER_TYPE=aes-256-cbc PGBACKREST_REPO1_CIPHER_PASS=wrong pb pg-forks --output=json info \
    > "$output/wrong-cipher.info.json"
PGBACKREST_REPO1_PATH=/root pb pg-forks --output=json info > "$output/unreadable.info.json"
rm repo1-pg-large/backup/pg-large/backup.info*
pb pg-large --output=json info > "$output/missing-data.info.json"
grep -rlZ "$work" "$output" | xargs -0r sed -i "s#$work#/var/lib/pgbackrest#g"
