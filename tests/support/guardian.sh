# The guardian: a shell that outlives the process that started it just long enough to clean up after it.
#
# Its standard input is a pipe whose other end only that process holds. When the pipe closes, for whatever reason
# (the owner dropped it, panicked, or was killed with SIGKILL), `read` fails, and the guardian kills what it guards
# and removes the folder. The text is put after the server's own definitions of `prepare` and `serve`.

# A Ctrl-C or a closing terminal must not race the clean-up, nor must an answer that nobody reads any more end it.
trap '' INT TERM HUP PIPE

# Debian keeps mariadbd in a folder that is not on an ordinary user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# The guardian makes the folder itself: made by the owner, it would stay when the owner dies before this line.
folder=$(mktemp -d "${TMPDIR:-/tmp}/recountd-test.XXXXXX") || exit 1
server=
watched=

kill_server() {
    if [ -n "$server" ]; then
        kill -KILL "$server"
        wait "$server"
        server=
    fi
}

forget() {
    kept=
    for one in $watched; do
        [ "$one" = "$1" ] || kept="$kept $one"
    done
    watched=$kept
}

# Orders come one a line, and each is answered when it is done.
printf '%s\n' "$folder"
while read -r order process; do
    case $order in
    prepare) prepare "$@" >"$folder/server.log" 2>&1 </dev/null ;;
    # A server that held the guardian's pipes open would keep its owner waiting for their end.
    start)
        serve "$@" >"$folder/server.log" 2>&1 </dev/null &
        server=$!
        ;;
    kill) kill_server ;;
    freeze) kill -STOP "$server" ;;
    thaw) kill -CONT "$server" ;;
    watch) watched="$watched $process" ;;
    forget) forget "$process" ;;
    esac
    printf '%s\n' "$order"
done

kill_server
for one in $watched; do
    kill -KILL "$one"
done
# What was only watched is not the guardian's child, so it cannot be waited for: it may still write a last file.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$folder" && [ ! -e "$folder" ] && break
    sleep 0.1
done
