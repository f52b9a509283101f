# Creates a folder in $1 and prints its path. Removes it when stdin ends, which is when the other end is closed, however
# its process ended. A line on stdin is a process group to kill before that; an empty line unregisters it.

# Tests may have an empty PATH.
PATH=$PATH:/usr/bin:/bin
# A signal that ends the test run must not end the guard, which has to clean up then.
trap '' HUP INT QUIT TERM PIPE
folder=$(mktemp -d "$1/reqscope-server-XXXXXX") || exit
echo "$folder"
exec > /dev/null 2>&1
cd /

group=
while IFS= read -r line; do group=$line; done
[ -z "$group" ] || kill -s KILL -- "-$group"

# A dying process may still write into the folder for a moment.
tries=0
until rm -rf -- "$folder" || [ "$tries" -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
