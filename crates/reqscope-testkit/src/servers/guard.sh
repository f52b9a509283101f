# Makes a folder in $1 and says where. Removes it once nobody has the other end of stdin any more, however they ended.
# A line on stdin is a process group that has to end before; an empty line is none.

# Tests may have a PATH without anything.
PATH=$PATH:/usr/bin:/bin
# What ends a terminal or a run of tests ends those who hold stdin. Then there is work to do here.
trap '' HUP INT QUIT TERM PIPE
folder=$(mktemp -d "$1/reqscope-server-XXXXXX") || exit
echo "$folder"
exec > /dev/null 2>&1
cd /

group=
while IFS= read -r line; do group=$line; done
[ -z "$group" ] || kill -s KILL -- "-$group"

# Who dies may still be writing into it, for a moment.
tries=0
until rm -rf -- "$folder" || [ "$tries" -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
