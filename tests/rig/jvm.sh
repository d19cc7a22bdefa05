# Shared by ./kafka and ./apicurio: fetch a Java server from Maven Central into
# a private prefix and run it there.  Sourced, not run.  Needs: bash, Maven, a
# Java runtime, flock.  No root needed.
#
# How: Maven resolves the server and every library that its own pom names, at
# one pinned version, through its usual settings, mirrors and cache, so that a
# download that was cut short goes on.  PREFIX/VERSION records the jars.
#
# Environment (all optional):
#   RIG_JVM_OPTIONS  the server's JVM (default: a small heap, quick to start)
#   RIG_WAIT         seconds to wait for a start or a stop (default 60)
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

rig_jvm_options=${RIG_JVM_OPTIONS:--Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}

# rig_java MAJOR: the path of the first java that is new enough
rig_java() {
    local java major
    for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        [ -x "$java" ] || continue
        major=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
        [ "${major:-0}" -ge "$1" ] || continue
        printf '%s\n' "$java"; return
    done
    rig_die "no Java $1 or newer: install a runtime, or set JAVA_HOME"
}

# rig_fetch PREFIX NAME GOAL [GROUP:ARTIFACT:VERSION...]: GOAL is one of Maven's
# dependency plugin, and works on these dependencies; its output is PREFIX/lib
rig_fetch() {
    local prefix=$1 name=$2 goal=$3 group artifact version item; shift 3
    command -v mvn >/dev/null || rig_die "needs Maven (mvn)"
    mkdir -p "$prefix" || rig_die "cannot create $prefix"
    prefix=$(cd "$prefix" && pwd)
    exec 9>"$prefix/.lock"; flock 9          # two test runs may install at once
    if [ "$(head -n1 "$prefix/VERSION" 2>/dev/null)" = "$name" ]; then
        rig_say "already installed: $name"; exec 9>&-; return
    fi
    local w=$prefix/.work
    rm -rf "$w" "$prefix/lib" "$prefix/VERSION"; mkdir -p "$w"
    { printf '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
      printf '<groupId>rig</groupId><artifactId>rig</artifactId><version>1</version><dependencies>\n'
      for item in "$@"; do
          IFS=: read -r group artifact version <<<"$item"
          printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' \
              "$group" "$artifact" "$version"
      done
      printf '</dependencies></project>\n'; } >"$w/pom.xml"
    rig_say "downloading $name and its libraries"
    # shellcheck disable=SC2086 # a goal brings its own options
    mvn -B -ntp -f "$w/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:$goal \
        "-DoutputDirectory=$w/lib" >"$w/log" 2>&1 </dev/null ||
        { tail -n 20 "$w/log" >&2; rig_die "cannot download $name (log: $w/log)"; }
    mv "$w/lib" "$prefix/lib"
    { printf '%s\n' "$name"; (cd "$prefix/lib" && find . -name '*.jar' -printf '%P\n' | sort); } >"$prefix/VERSION.tmp"
    mv "$prefix/VERSION.tmp" "$prefix/VERSION"; rm -rf "$w"; exec 9>&-
    rig_say "installed: $name ($(du -sm "$prefix" | cut -f1) MB in $prefix)"
}

# rig_jvm DATADIR READY COMMAND...: starts it and waits until its log holds the words READY
rig_jvm() {
    local dir=$1 ready=$2 i begin child wait=${RIG_WAIT:-60}; shift 2
    touch "$dir/server.log"; begin=$(wc -c <"$dir/server.log")
    "$@" >>"$dir/server.log" 2>&1 </dev/null &
    child=$!
    echo "$child" >"$dir/server.pid"
    disown "$child"
    for ((i = 0; i < wait * 20; i++)); do
        if tail -c "+$((begin + 1))" "$dir/server.log" | grep -qF "$ready"; then
            printf 'pid=%s log=%s\n' "$child" "$dir/server.log"; return 0
        fi
        if ! kill -0 "$child" 2>/dev/null; then
            tail -n 20 "$dir/server.log" >&2; rm -f "$dir/server.pid"
            rig_die "the server ended before it was ready (log: $dir/server.log)"
        fi
        sleep 0.05
    done
    tail -n 20 "$dir/server.log" >&2
    kill -9 "$child" 2>/dev/null || true
    rig_die "the server was not ready within ${wait}s (log: $dir/server.log)"
}
