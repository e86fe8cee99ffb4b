#!/bin/sh
# Records what tc itself sends for each line of commands.txt, into tc.txt: the line, and below it
# the message behind the netlink header in hexadecimal. The kernel need not know TC: tc sends
# before the kernel refuses. It needs root, iproute2 and strace, and works in a network namespace
# of its own.
set -eu
cd "$(dirname "$0")"
[ "${1-}" = inside ] || exec unshare --net sh "./$(basename "$0")" inside
ip link add eth0 index 7 type veth peer name rep1 index 8

# RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER, RTM_DELTFILTER; the rest is tc asking for devices.
message() {
    # shellcheck disable=SC2086 # the line is tc's arguments
    strace -qq -e trace=sendmsg -e write=3 tc $1 2>&1 >/dev/null | awk '
        /^sendmsg/ { hex = "" }
        /^ \| [0-9a-f]+  / { hex = hex substr($0, 11, 49) }
        { gsub(/[ -]/, "", hex); type = substr(hex, 9, 4)
          if (type ~ /^(2400|2500|2c00|2d00)$/) found = hex }
        END { if (found == "") exit 1; print substr(found, 33) }'
}

{
    echo "# Recorded by record.sh from $(tc -V). Do not edit."
    grep -v -e '^#' -e '^$' commands.txt | while read -r line; do
        echo "$line"
        message "$line" || { echo "tc does not take: $line" >&2; exit 1; }
    done
} >tc.txt.new
mv tc.txt.new tc.txt
