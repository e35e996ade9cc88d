#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The steps of `make install` that check before they write.
#
#   config FROM TO    installs a configuration file; an existing one that differs stays, and FROM is installed as TO.dist
#   page FROM TO      installs a directory of static files and removes those of an earlier version, except the administrator's two files
#   unpage FROM TO    removes it, except the same two files
#   remove FROM TO    removes a configuration file if it is unchanged
#   clean BUILD       removes what `make run` keeps outside of BUILD
#   memory DIR        removes the event logs and counts of servers that are gone from DIR
#   next LAYOUT DIR   prints the next steps of an administrator
set -eu

# Whether a file of the page is the administrator's: one of the two, and changed.
is_theirs() {
    case $3 in
    ./custom.css | ./config.json) [ -e "$2/$3" ] && ! cmp -s "$1/$3" "$2/$3" ;;
    *) false ;;
    esac
}

remove_page() {
    [ -d "$2" ] || return 0
    (cd "$2" && find . -type f) | while read -r file; do
        if is_theirs "$1" "$2" "$file"; then echo "install: $2/${file#./} was changed and stays"; else rm -f "$2/$file"; fi
    done
    find "$2" -depth -type d -empty -delete
}

# Whether a process has something in a directory open or mapped.
in_use() { grep -qs "$1/" /proc/[0-9]*/maps || find /proc/[0-9]*/fd -lname "$1/*" 2>/dev/null | grep -q .; }

case $1 in
clean)
    run=$2/run
    if [ -e "$run/memory.path" ]; then while read -r path; do in_use "$path" || rm -rf "$path"; done <"$run/memory.path"; fi
    # Of this folder, or of one that does not exist any more.
    for path in /var/tmp/agentchat.*; do
        [ -O "$path" ] && [ -e "$path/of.path" ] || continue
        of=$(cat "$path/of.path")
        if [ "$of" = "$run" ] || [ ! -d "$of" ]; then rm -rf "$path"; fi
    done
    ;;
memory)
    for path in "$2"/agentchat-*; do
        if [ -d "$path" ] && [ ! -L "$path" ] && ! in_use "$path"; then rm -rf "$path"; fi
    done
    ;;
config)
    mkdir -p "$(dirname "$3")"
    if [ -e "$3" ] && ! cmp -s "$2" "$3"; then
        install -m 644 "$2" "$3.dist"
        echo "install: $3 was changed and stays; the new one is $3.dist"
    else
        install -m 644 "$2" "$3"
    fi
    ;;
page)
    [ -d "$2" ] || exit 0
    remove_page "$2" "$3"
    (cd "$2" && find . -type f) | while read -r file; do
        is_theirs "$2" "$3" "$file" || install -D -m 644 "$2/$file" "$3/$file"
    done
    ;;
unpage)
    remove_page "$2" "$3"
    ;;
remove)
    if [ -e "$3" ] && { [ ! -e "$2" ] || cmp -s "$2" "$3"; }; then rm -f "$3"; fi
    rm -f "$3.dist"
    ;;
next)
    case $2 in
    debian) echo "Next: a2enmod agentchat, edit $3/mods-available/agentchat.conf, apache2ctl configtest, apache2ctl graceful" ;;
    fedora) echo "Next: edit $(dirname "$3")/conf.d/agentchat.conf, apachectl configtest, systemctl reload httpd" ;;
    httpd) echo "Next: Include conf/extra/agentchat-load.conf and conf/extra/agentchat.conf in $3/httpd.conf, apachectl configtest" ;;
    esac
    ;;
*)
    echo "usage: $0 config|page|unpage|remove FROM TO, clean BUILD, memory DIR, or next LAYOUT DIR" >&2
    exit 2
    ;;
esac
