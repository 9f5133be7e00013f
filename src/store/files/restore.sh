#!/bin/sh
# Rebuilds a snapshot of this repository (snapback, format 1) without snapback.
#
#   sh restore.sh SNAPSHOT OUTDIR
#
# SNAPSHOT   a number (42), the first four or more digits of an id (3f9a0c1d), a label (the newest that has it), `latest`
#            or `latest~2`. As for snapback, `latest` passes over what a restore took by itself (before-restore) and, where
#            there is one of everything, over those of a part. It cannot ask a cluster which one it is: where the
#            repository has snapshots of several, it refuses. `list` lists them all: number, id, time, label, cluster (the
#            UID of its namespace kube-system) and scope, `-` where there is none
# OUTDIR     a folder that is empty or does not exist
#
# Needs POSIX utilities, tar, zstd and sha256sum. Checks the log entry, every pack and every content against its
# SHA-256. Exit codes: 0 done, 1 failed (OUTDIR is left empty), 2 wrong usage. Names are percent-encoded (`%2F` is `/`).
set -u
LC_ALL=C
export LC_ALL
umask 077

work=
fail() {
    echo "restore.sh: $*" >&2
    exit 1
}
usage() {
    echo 'usage: sh restore.sh SNAPSHOT OUTDIR   (SNAPSHOT: number, short id, label, latest, latest~2), or: sh restore.sh list' >&2
    exit 2
}
finish() {
    status=$?
    trap - EXIT
    if [ -n "$work" ]; then rm -rf "$work"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

if [ $# -eq 1 ] && [ "$1" = list ]; then set -- list /; fi
[ $# -eq 2 ] || usage
wanted=${1#'#'}
out=$2
[ -n "$wanted" ] && [ -n "$out" ] || usage
for tool in awk cat chmod cp dirname find ln mkdir mv rm sed sort tail tar tr xargs zstd sha256sum; do
    command -v "$tool" >/dev/null 2>&1 || fail "$tool is needed, and is not in the PATH"
done

repo=$(cd "$(dirname "$0")" && pwd) || fail "cannot enter the folder of $0"
case $out in
    /*) ;;
    *) out=$(pwd)/$out ;;
esac
cd "$repo" || fail "cannot enter $repo"
if ! [ -d log ] || ! [ -f repo.json ]; then fail "$repo is not a snapback repository"; fi
format=$(sed -n 's/^"format": \([0-9]*\),$/\1/p' repo.json)
[ "$format" = 1 ] || fail "repo.json has format ${format:-unknown}, and this script reads format 1"

# One line for each entry that matters: `snapshot NUMBER ID TIME LABEL CLUSTER SCOPE` or `forget NUMBER`, between tabs.
tab=$(printf '\t')
entries() {
    find log -name '[0-9]*.json' | sort | xargs awk '
        function value(line) { sub(/^"[a-z]*": "?/, "", line); sub(/"?,?$/, "", line); return line }
        function or_dash(text) { return text == "" ? "-" : text }
        FNR == 1 { op = ""; inside = 0; number = FILENAME; sub(/^.*\//, "", number); sub(/\.json$/, "", number); sub(/^0*/, "", number) }
        /^"op": / && !inside { op = value($0) }
        /^"id": / && !inside { id = value($0) }
        /^"body": \{$/ { inside = 1; time = ""; label = ""; cluster = ""; scope = "" }
        /^"time": / && inside { time = value($0) }
        /^"label": / && inside { label = value($0) }
        /^"cluster": / && inside { cluster = value($0) }
        /^"scope": / && inside { scope = value($0) }
        /^\},$/ && inside {
            inside = 0; OFS = "\t"; print "snapshot", number, id, time, or_dash(label), or_dash(cluster), or_dash(scope)
        }
        /^"snapshots": / && op == "forget" {
            list = value($0); gsub(/[][]/, "", list); count = split(list, part, ",")
            for (i = 1; i <= count; i++) print "forget\t" part[i] + 0
        }'
}
live=$(entries | awk -F "$tab" '
    $1 == "forget" { gone[$2] = 1 }
    $1 == "snapshot" { order[++count] = $2; sub(/^snapshot\t/, ""); line[order[count]] = $0 }
    END { for (i = 1; i <= count; i++) if (!(order[i] in gone)) print line[order[i]] }')
[ -n "$live" ] || fail 'there is no snapshot in this repository'
if [ "$wanted" = list ]; then
    printf '%s\n' "$live" | tr '\t' ' '
    exit 0
fi
# In the environment, since awk reads a backslash in `-v`. A number is compared as one only if it is made of digits.
number=$(printf '%s\n' "$live" | wanted=$wanted awk -F "$tab" '
    BEGIN { wanted = ENVIRON["wanted"]; is_number = wanted ~ /^[0-9]+$/ }
    is_number && $1 + 0 == wanted + 0 { exact = $1 }
    $4 != "-" && $4 "" == wanted "" { labelled = $1 }
    length(wanted) >= 4 && index($2, wanted) == 1 { byid = $1; ids++ }
    !($5 in seen) { seen[$5] = 1; clusters++ }
    $4 != "before-restore" { any[++count] = $1; if ($6 == "-") whole[++wholes] = $1 }
    END {
        if (wanted == "latest" || wanted ~ /^latest~[0-9]+$/) {
            back = wanted == "latest" ? 0 : substr(wanted, 8) + 0
            if (clusters > 1) print "clusters"
            else if (wholes > back) print whole[wholes - back]
            else if (wholes == 0 && count > back) print any[count - back]
        } else if (exact != "") print exact
        else if (ids + (labelled != "") > 1) print "ambiguous"
        else print labelled byid
    }')
case $number in
    '') fail "there is no snapshot \`$wanted\`; see: sh restore.sh list" ;;
    ambiguous) fail "\`$wanted\` means several snapshots; name one by its number, see: sh restore.sh list" ;;
    clusters) fail "the repository has snapshots of several clusters; name one by its number, see: sh restore.sh list" ;;
esac
name=$(printf '%s\n' "00000000000000000000$number" | sed 's/.*\(....................\)$/\1/')
entry=log/$name.json

# The entry itself: its last line is the SHA-256 of the lines above.
digest() { sha256sum | sed 's/ .*//'; }
claimed=$(tail -n 1 "$entry" | sed -n 's/^"sha256": "\([0-9a-f]*\)"}$/\1/p')
[ "$(sed '$d' "$entry" | digest)" = "$claimed" ] || fail "$entry is damaged"
format=$(sed -n 's/^"format": \([0-9]*\),$/\1/p' "$entry")
[ "$format" = 1 ] || fail "$entry has format ${format:-unknown}, and this script reads format 1"
[ "$(sed -n 's/^"recipients": \(.*\),$/\1/p' "$entry")" = null ] || fail "$entry is encrypted: decrypt its packs with age first"
body=$(awk '/^"body": \{$/ { on = 1; print "{"; next } on && /^\},$/ { print "}"; exit } on { print }' "$entry")
id=$(sed -n 's/^"id": "\([0-9a-f]*\)",$/\1/p' "$entry")
[ "$(printf '%s' "$body" | digest)" = "$id" ] || fail "$entry is damaged: its body does not have its id"
root=$(printf '%s\n' "$body" | sed -n 's/^"root": "\([0-9a-f]*\)",$/\1/p')
[ ${#root} -eq 64 ] || fail "$entry is damaged: it has no root"

if [ -e "$out" ]; then
    [ -d "$out" ] || fail "$out is not a folder"
    [ -z "$(find "$out" ! -path "$out" | sed 1q)" ] || fail "$out is not empty"
else
    mkdir -p "$out" || fail "cannot make $out"
fi
work=$out/.restore-work
mkdir "$work" "$work/tree" "$work/unpacked" || fail "cannot write to $out"

# The packs, by the SHA-256 in their names.
awk '
    /^"(packs|segments)": \{$/ { on = 1; next }
    /^\},$/ { on = 0 }
    on { split($0, part, "\""); print "packs/" substr(part[2], 1, 2) "/" part[2] ".tar.zst" }' "$entry" >"$work/packs"
while read -r pack; do
    [ -f "$pack" ] || fail "$pack is missing; snapshot $number needs it"
done <"$work/packs"
xargs sha256sum <"$work/packs" >"$work/sums" || fail 'cannot read the packs'
bad=$(awk '{ name = $2; sub(/^.*\//, "", name); if (substr(name, 1, 64) != $1) print $2 }' "$work/sums")
[ -z "$bad" ] || fail "damaged:" $bad

# Their members, o/SHA256 and t/SHA256, by the SHA-256 in theirs. A pack holds plain files only: through a link, what is
# unpacked or written next would leave OUTDIR. So they are looked at after every pack, away from this script's own files.
while read -r pack; do
    zstd -q -d -c "$pack" | tar -x -f - -C "$work/unpacked" || fail "cannot unpack $pack"
    odd=$(find "$work/unpacked" ! -type f ! -type d) || fail 'cannot read what was unpacked'
    [ -z "$odd" ] || fail "$pack holds what is no plain file"
done <"$work/packs"
cd "$work" || fail "cannot enter $work"
for kind in o t; do
    if [ -d "unpacked/$kind" ]; then mv "unpacked/$kind" . || fail 'cannot move what was unpacked'; fi
done
mkdir -p o t
find o t -type f | xargs sha256sum >members || fail 'cannot read what was unpacked'
bad=$(awk '{ if (substr($2, 3) != $1) print $2 }' members)
[ -z "$bad" ] || fail "damaged members:" $bad

# From the root down: a script of mkdir, mv, cp and cat, and a list of big files to check.
awk -v root="$root" '
    function wrong(text) { print text; failed = 1; exit 1 }
    function member(kind, hash) {
        if (!((kind "/" hash) in have)) wrong("no pack holds " kind "/" hash ", which " where " needs")
        return kind "/" hash
    }
    { have[$2] = 1 }
    END {
        if (failed) exit 1
        depth = 1; tree[1] = root; folder[1] = "tree"
        while (depth > 0) {
            hash = tree[depth]; path = folder[depth]; depth--
            where = path; file = member("t", hash)
            while ((status = (getline line < file)) > 0) {
                fields = split(line, part, " ")
                kind = part[1]; name = part[4]
                if (fields != 4 || name == "" || name == "." || name == ".." || name ~ /[^A-Za-z0-9._:@+%~-]/ || part[2] ~ /[^0-9a-f]/)
                    wrong("the tree " hash " has a malformed line")
                where = path "/" name
                if (kind == "tree") {
                    print "mkdir \047" where "\047"
                    depth++; tree[depth] = part[2]; folder[depth] = where
                } else if (kind == "sub") {
                    depth++; tree[depth] = part[2]; folder[depth] = path
                } else if (kind == "blob" || kind == "exec" || kind == "link") {
                    content = member("o", part[2]); uses[content]++
                    files++; target[files] = where; source[files] = content; kinds[files] = kind
                } else if (substr(kind, 1, 6) == "parts:") {
                    list = member("t", substr(kind, 7))
                    print ": >\047" where "\047"
                    while ((getline line < list) > 0) {
                        split(line, part2, " ")
                        print "cat " member("o", part2[1]) " >>\047" where "\047"
                    }
                    close(list)
                    print part[2] "  " where > "big"
                } else wrong("the tree " hash " has an entry of the unknown kind " kind)
            }
            if (status < 0) wrong("cannot read " file)
            close(file)
        }
        # A content is moved to the last place that needs it, so that no two files are one. Links come at the end: nothing is written through them.
        for (pass = 1; pass <= 2; pass++) for (i = 1; i <= files; i++) {
            if ((kinds[i] == "link") != (pass == 2)) continue
            if (kinds[i] == "link") { print "ln -s -- \"$(cat " source[i] ")\" \047" target[i] "\047"; continue }
            print (uses[source[i]] > 1 ? "cp " : "mv ") source[i] " \047" target[i] "\047"
            uses[source[i]]--
            if (kinds[i] == "exec") print "chmod u+x \047" target[i] "\047"
        }
    }' members >plan || fail "$(tail -n 1 plan)"
[ -e big ] || : >big
sh -e ./plan || fail 'cannot write the files'
while read -r sum file; do
    [ "$(sha256sum <"$file" | sed 's/ .*//')" = "$sum" ] || fail "$file is damaged: its segments together do not have its SHA-256"
done <big
find tree -type f -exec chmod u+w {} + || fail 'cannot make the files writable'
count=$(find tree -type f | awk 'END { print NR }')
for path in tree/* tree/.[!.]* tree/..?*; do
    if [ -e "$path" ] || [ -h "$path" ]; then mv "$path" "$out/" || fail "cannot move $path"; fi
done
cd / || exit 1
echo "snapshot $number ($id): $count files in $out"
