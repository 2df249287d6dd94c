#!/bin/sh
# Installs, upgrades and removes p4-cache. POSIX sh; needs only what every Linux has, and curl or wget.
# Nothing is touched before every file is there and its checksum is right; each file is put in place by
# one rename; a second run changes nothing. It is one file because it is piped from curl to sh, and one
# function, called in its last line, because a download that was cut short must do nothing.

p4_cache_installer() {
    set -eu
    umask 022

    # Filled in when a release is made.
    DEFAULT_VERSION=0.1.0
    DEFAULT_BASE_URL=''

    # Oldest C library that the program runs with.
    MIN_GLIBC=2.34

    usage() {
        cat <<USAGE
Installs p4-cache, a write-back NVMe cache for Perforce depots.

Examples:
  sudo ./install.sh                       from files beside this script, or P4CACHE_BASE_URL
  curl -fsSL URL/install.sh | sudo sh -s -- --yes
  ./install.sh --dry-run                  what would be done
  sudo ./install.sh --uninstall

Flags:
  --dry-run     change nothing, say what would change
  --yes         do not ask
  --replica     the unit of a read-only replica, without any capability
  --uninstall   remove the program; refused while a file is only on this machine
  --purge       with --uninstall: settings, secrets and logs too (never the depot)
  --force       with --uninstall: even if files are dirty, or that cannot be found out
  --help        print this

Variables (and what they are without you):
  P4CACHE_VERSION    version to install ($DEFAULT_VERSION)
  P4CACHE_BASE_URL   where the releases are: BASE_URL/vVERSION/FILE (${DEFAULT_BASE_URL:-none})
  P4CACHE_COSIGN_KEY public key that SHA256SUMS must be signed with; cosign or openssl checks it (none)
  P4CACHE_USER       the daemon's user and group, made if missing; best the one of p4d (perforce)
  BIN_DIR            /usr/local/bin
  LIB_DIR            /usr/local/lib
  SYSTEMD_DIR        /etc/systemd/system
  CONFIG_DIR         /etc/p4-cache
  LOG_DIR            /var/log/p4-cache
  LOGROTATE_DIR      /etc/logrotate.d
  TMPFILES_DIR       /etc/tmpfiles.d
  TEXTFILE_DIR       /var/lib/node_exporter/textfile
  SHARE_DIR          completions and man page (/usr/local/share)
  FISH_DIR           completions for fish, which looks below SHARE_DIR only where XDG_DATA_DIRS says so
                     (/etc/fish/completions)
  DESTDIR            put before every path, for packages and images; makes no user, starts nothing
  SKIP_DOWNLOAD=1    take the files beside this script, for machines without a network
  SKIP_START=1       do not start or restart the service
  SKIP_SETCAP=1      no file capability: the daemon gets it from systemd only
  HEALTH_TIMEOUT     seconds that an upgraded daemon has to answer before it is rolled back (90)

Exit codes: 0 done, 1 not done, 2 wrong use, 3 upgraded, found unhealthy and rolled back.
USAGE
    }

    say() { printf '%s\n' "$*"; }
    warn() { printf 'install.sh: %s\n' "$*" >&2; }
    die() {
        warn "$1"
        exit "${2:-1}"
    }
    # Does something, or says that it would.
    act() {
        CHANGES=$((CHANGES + 1))
        if [ "$DRY_RUN" = 1 ]; then
            say "would $1"
            return
        fi
        say "$1"
        shift
        "$@"
    }

    DRY_RUN=0 YES=0 UNINSTALL=0 PURGE=0 FORCE=0 REPLICA=0
    CHANGES=0 PROGRAM_CHANGES=0 UNIT_CHANGES=0 UPGRADED=0
    DIRS_TOLD='' # a dry run makes none, and would tell of them again
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) DRY_RUN=1 ;;
            --yes | -y) YES=1 ;;
            --replica) REPLICA=1 ;;
            --uninstall) UNINSTALL=1 ;;
            --purge) PURGE=1 ;;
            --force) FORCE=1 ;;
            --help | -h)
                usage
                exit 0
                ;;
            *) die "Cannot use $1: unknown flag; --help lists all" 2 ;;
        esac
        shift
    done
    if [ "$PURGE$FORCE" != 00 ] && [ "$UNINSTALL" = 0 ]; then
        die "Cannot use --purge or --force alone: they belong to --uninstall" 2
    fi

    VERSION=${P4CACHE_VERSION:-$DEFAULT_VERSION}
    VERSION=${VERSION#v}
    BASE_URL=${P4CACHE_BASE_URL:-$DEFAULT_BASE_URL}
    COSIGN_KEY=${P4CACHE_COSIGN_KEY:-}
    RUN_AS=${P4CACHE_USER:-perforce}
    DESTDIR=${DESTDIR:-}
    BIN_DIR=${BIN_DIR:-/usr/local/bin}
    LIB_DIR=${LIB_DIR:-/usr/local/lib}
    SYSTEMD_DIR=${SYSTEMD_DIR:-/etc/systemd/system}
    CONFIG_DIR=${CONFIG_DIR:-/etc/p4-cache}
    LOG_DIR=${LOG_DIR:-/var/log/p4-cache}
    LOGROTATE_DIR=${LOGROTATE_DIR:-/etc/logrotate.d}
    TMPFILES_DIR=${TMPFILES_DIR:-/etc/tmpfiles.d}
    TEXTFILE_DIR=${TEXTFILE_DIR:-/var/lib/node_exporter/textfile}
    SHARE_DIR=${SHARE_DIR:-/usr/local/share}
    FISH_DIR=${FISH_DIR:-/etc/fish/completions}
    HEALTH_TIMEOUT=${HEALTH_TIMEOUT:-90}
    for VALUE in "$VERSION" "$RUN_AS" "$DESTDIR" "$BIN_DIR" "$LIB_DIR" "$SYSTEMD_DIR" \
        "$CONFIG_DIR" "$LOG_DIR" "$LOGROTATE_DIR" "$TMPFILES_DIR" "$TEXTFILE_DIR" "$SHARE_DIR" "$FISH_DIR"; do
        case $VALUE in
            *[!A-Za-z0-9_./+@-]*)
                die "Cannot use '$VALUE': allowed are letters, digits and _ . / + @ -" 2
                ;;
        esac
    done
    # `curl … | sh` has no file of its own; then there is nothing beside it either.
    case $0 in
        */install.sh | install.sh) HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) ;;
        *) HERE='' ;;
    esac

    WORK=$(mktemp -d "${TMPDIR:-/tmp}/p4-cache-install.XXXXXX")
    PLACING=''
    cleanup() {
        rm -rf "$WORK"
        [ -z "$PLACING" ] || rm -f "$PLACING"
    }
    trap cleanup EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    has() { command -v "$1" >/dev/null 2>&1; }

    # systemctl of a running systemd; nothing where there is none, or the tree is not this machine's.
    runs_systemd() { [ -z "$DESTDIR" ] && [ -d "${SYSTEMD_RUN_DIR:-/run/systemd/system}" ] && has systemctl; }

    # Names of our services that run.
    active_services() {
        runs_systemd || return 0
        systemctl list-units --type=service --state=active --plain --no-legend 'p4-cache*' |
            while read -r UNIT _; do say "$UNIT"; done
    }

    confirm() {
        [ "$YES" = 0 ] && [ "$DRY_RUN" = 0 ] || return 0
        if ! (: </dev/tty) 2>/dev/null; then
            die "Cannot ask '$1': there is no terminal; give --yes"
        fi
        printf '%s [y/N] ' "$1" >/dev/tty
        read -r ANSWER </dev/tty
        case $ANSWER in y | Y | yes) ;; *) die "Nothing was changed" ;; esac
    }

    # ---- what this machine is -----------------------------------------------------------------------

    check_machine() {
        [ "$(uname -s)" = Linux ] || die "Cannot install on $(uname -s): p4-cache runs on Linux only"
        case $(uname -m) in
            x86_64 | amd64) ARCH=x86_64 ;;
            aarch64 | arm64) ARCH=aarch64 ;;
            *) die "Cannot install on $(uname -m): there are programs for x86_64 and aarch64 only" ;;
        esac
        GLIBC=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
        GLIBC=${GLIBC#glibc }
        if [ -z "$GLIBC" ]; then
            die "Cannot install here: no GNU C library (musl?); $MIN_GLIBC or newer is needed"
        fi
        if ! older_or_same "$MIN_GLIBC" "$GLIBC"; then
            die "Cannot install here: the GNU C library is $GLIBC; $MIN_GLIBC or newer is needed"
        fi
        if [ "$DRY_RUN" = 0 ] && [ -z "$DESTDIR" ] && [ "$(id -u)" != 0 ]; then
            die "Cannot install as $(id -un): run it as root (sudo), or with --dry-run or DESTDIR"
        fi
    }

    # Whether version $1 ("2.34") is not newer than $2.
    older_or_same() {
        [ "${1%%.*}" -lt "${2%%.*}" ] && return 0
        A=${1#*.} B=${2#*.}
        [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${A%%.*}" -le "${B%%.*}" ]
    }

    # ---- getting the files --------------------------------------------------------------------------

    fetch() { # NAME: to $WORK/NAME
        if [ "$FROM" = files ]; then
            [ -f "$HERE/$1" ] || return 1
            cp -- "$HERE/$1" "$WORK/$1"
        elif has curl; then
            curl -fsSL --retry 3 --connect-timeout 20 -o "$WORK/$1" "$BASE_URL/v$VERSION/$1"
        else
            wget -q -t 3 -T 20 -O "$WORK/$1" "$BASE_URL/v$VERSION/$1"
        fi
    }

    need_file() {
        fetch "$1" || die "Cannot get $1 from $SOURCE; nothing was changed"
        sum_is_right "$WORK/$1" "$1" ||
            die "Cannot use $1 from $SOURCE: its SHA-256 is not the one in SHA256SUMS; nothing was changed"
    }

    sum_of() { sha256sum "$1" | cut -d ' ' -f 1; }
    promised_sum() { awk -v name="$1" '$2 == name { print $1 }' "$WORK/SHA256SUMS"; }
    sum_is_right() { [ -n "$(promised_sum "$2")" ] && [ "$(sum_of "$1")" = "$(promised_sum "$2")" ]; }

    # What is installed beside the program and its settings, in FILES: name in the release, place, mode.
    list_files() {
        UNIT=p4-cache.service
        [ "$REPLICA" = 0 ] || UNIT=p4-cache-replica.service
        DOC_DIR=$SHARE_DIR/doc/p4-cache
        FILES="libp4shim-$VERSION-linux-$ARCH.so $LIB_DIR/libp4shim.so 755
$UNIT $SYSTEMD_DIR/p4-cache.service 644
p4-cache@.service $SYSTEMD_DIR/p4-cache@.service 644
p4-cache-depots.service $SYSTEMD_DIR/p4-cache-depots.service 644
p4-cache.tmpfiles $TMPFILES_DIR/p4-cache.conf 644
p4-cache.logrotate $LOGROTATE_DIR/p4-cache 644
p4-cache-forking.service $DOC_DIR/p4-cache-forking.service 644
p4d-p4cache.conf $DOC_DIR/p4d-p4cache.conf 644
p4-cache.1 $SHARE_DIR/man/man1/p4-cache.1 644
p4-cache.bash $SHARE_DIR/bash-completion/completions/p4-cache 644
p4-cache.zsh $SHARE_DIR/zsh/site-functions/_p4-cache 644
p4-cache.fish $FISH_DIR/p4-cache.fish 644"
    }

    get_release() {
        has sha256sum || die "Cannot check the files: sha256sum is missing; install coreutils"
        FROM=net
        if [ "${SKIP_DOWNLOAD:-0}" = 1 ] || { [ -z "$BASE_URL" ] && [ -f "${HERE:-/nowhere}/SHA256SUMS" ]; }; then
            FROM=files
        fi
        if [ "$FROM" = files ]; then
            [ -n "$HERE" ] || die "Cannot tell where the files are: run install.sh by its own name beside them"
            SOURCE=$HERE
        else
            [ -n "$BASE_URL" ] ||
                die "Cannot tell where p4-cache is: set P4CACHE_BASE_URL, or run install.sh beside the files" 2
            has curl || has wget ||
                die "Cannot download: curl and wget are missing; install one, or copy the files and set SKIP_DOWNLOAD=1"
            SOURCE=$BASE_URL/v$VERSION
        fi
        fetch SHA256SUMS || die "Cannot get SHA256SUMS from $SOURCE; nothing was changed"
        check_signature
        BINARY=p4-cache-$VERSION-linux-$ARCH
        [ -n "$(promised_sum "$BINARY")" ] ||
            die "Cannot install $VERSION from $SOURCE: there is no $BINARY; nothing was changed"
        list_files
        for NAME in config.json env; do need_file "$NAME"; done
        while read -r NAME _; do need_file "$NAME"; done <<LIST
$FILES
LIST
        # 90 MB that are there already are not fetched again.
        if [ -f "$DESTDIR$BIN_DIR/p4-cache" ] && sum_is_right "$DESTDIR$BIN_DIR/p4-cache" "$BINARY"; then
            NEW_BINARY=0
        else
            NEW_BINARY=1
            need_file "$BINARY"
        fi
    }

    check_signature() {
        if [ -z "$COSIGN_KEY" ]; then
            if has cosign; then say "The signature is not checked: P4CACHE_COSIGN_KEY is not set"; fi
            return
        fi
        has cosign || has openssl ||
            die "Cannot check the signature: cosign and openssl are missing; install one, or unset P4CACHE_COSIGN_KEY"
        fetch SHA256SUMS.sig || die "Cannot get SHA256SUMS.sig from $SOURCE; nothing was changed"
        if ! is_signed >"$WORK/why" 2>&1; then
            cat "$WORK/why" >&2
            die "Cannot trust $SOURCE: SHA256SUMS is not signed by $COSIGN_KEY; nothing was changed"
        fi
        say "SHA256SUMS is signed by $COSIGN_KEY"
    }
    # The key is yours and says enough: no public log is asked, so machines without a network can check too.
    # A signature of cosign's is a plain one (ECDSA over SHA-256, in base64), which openssl knows as well.
    is_signed() {
        if has cosign; then
            cosign verify-blob --insecure-ignore-tlog=true --key "$COSIGN_KEY" \
                --signature "$WORK/SHA256SUMS.sig" "$WORK/SHA256SUMS"
        else
            base64 -d "$WORK/SHA256SUMS.sig" >"$WORK/signature" &&
                openssl dgst -sha256 -verify "$COSIGN_KEY" -signature "$WORK/signature" "$WORK/SHA256SUMS"
        fi
    }

    # ---- putting them in place ----------------------------------------------------------------------

    # Our files name the usual places; yours go in their stead.
    localise() { # NAME
        case $1 in *.so) return ;; esac
        sed -e "s|/usr/local/bin/|$BIN_DIR/|g" -e "s|/usr/local/lib/|$LIB_DIR/|g" \
            -e "s|/etc/p4-cache/|$CONFIG_DIR/|g" -e "s|/var/log/p4-cache\([ /]\)|$LOG_DIR\1|g" \
            -e "s|/var/lib/node_exporter/textfile|$TEXTFILE_DIR|g" \
            -e "s|^User=perforce|User=$RUN_AS|" -e "s|^Group=perforce|Group=$RUN_AS|" \
            -e "s|perforce perforce|$RUN_AS $RUN_AS|g" "$WORK/$1" >"$WORK/local"
        mv "$WORK/local" "$WORK/$1"
    }

    make_dir() { # PATH MODE [OWNER]
        [ -d "$DESTDIR$1" ] && return
        case $DIRS_TOLD in *"|$1|"*) return 0 ;; esac
        DIRS_TOLD="$DIRS_TOLD|$1|"
        act "create $1" make_dir_now "$@"
    }
    make_dir_now() {
        mkdir -p -- "$DESTDIR$1"
        chmod "$2" "$DESTDIR$1"
        give_to "$DESTDIR$1" "${3:-}"
    }
    # Owner as in the running system; a tree for elsewhere does not know its users.
    give_to() { [ -z "$2" ] || [ -n "$DESTDIR" ] || chown "$2" "$1"; }

    put() { # SOURCE TARGET MODE [OWNER]: unless it is there already
        TARGET=$DESTDIR$2
        if [ -f "$TARGET" ] && cmp -s "$1" "$TARGET"; then return; fi
        make_dir "$(dirname -- "$2")" 755
        act "write $2" put_now "$@"
    }
    put_now() {
        PLACING=$DESTDIR$(dirname -- "$2")/.$(basename -- "$2").$$.tmp
        cp -- "$1" "$PLACING"
        chmod "$3" "$PLACING"
        give_to "$PLACING" "${4:-}"
        sync "$PLACING" 2>/dev/null || sync
        mv -f -- "$PLACING" "$DESTDIR$2"
        PLACING=''
    }

    put_link() { # TARGET PATH
        [ "$(readlink "$DESTDIR$2" 2>/dev/null)" = "$1" ] || act "link $2 to $1" ln -sfn "$1" "$DESTDIR$2"
    }

    make_user() {
        [ -z "$DESTDIR" ] || return 0
        if id "$RUN_AS" >/dev/null 2>&1; then return; fi
        act "create the system user $RUN_AS" make_user_now
    }
    make_user_now() {
        NOLOGIN=$(command -v nologin || say /bin/false)
        if has useradd; then
            useradd --system --user-group --home-dir /nonexistent --no-create-home --shell "$NOLOGIN" "$RUN_AS"
        else
            addgroup -S "$RUN_AS" && adduser -S -D -H -h /nonexistent -s "$NOLOGIN" -G "$RUN_AS" "$RUN_AS"
        fi
    }

    # Effective for the first, as watching needs it; the other two are taken over from systemd only, not
    # given to whoever runs the program.
    CAPABILITIES='cap_sys_admin+ep cap_dac_read_search,cap_lease+ei'
    wants_capability() { [ "$REPLICA" = 0 ] && [ "${SKIP_SETCAP:-0}" != 1 ]; }
    set_capability() { # FILE
        if ! has setcap; then
            warn "setcap is missing (package libcap2-bin): the daemon can watch only when root or systemd starts it"
        elif ! setcap "$CAPABILITIES" "$1" 2>/dev/null; then
            warn "setcap does not work in $BIN_DIR: the daemon can watch only when root or systemd starts it"
        fi
    }
    # Puts right what an earlier run could not; says nothing where it does not work now either.
    mend_capability() {
        has getcap && has setcap || return 0
        NOW=$DESTDIR$BIN_DIR/p4-cache
        case $(getcap "$NOW" 2>/dev/null) in
            *cap_sys_admin*)
                if ! wants_capability; then act "take the capability from $BIN_DIR/p4-cache" setcap -r "$NOW"; fi
                ;;
            *)
                if wants_capability && { [ "$DRY_RUN" = 1 ] || setcap "$CAPABILITIES" "$NOW" 2>/dev/null; }; then
                    act "give $BIN_DIR/p4-cache its capability" :
                fi
                ;;
        esac
    }

    put_binary() {
        if [ "$NEW_BINARY" = 1 ]; then
            [ ! -f "$DESTDIR$BIN_DIR/p4-cache" ] || UPGRADED=1
            make_dir "$BIN_DIR" 755
            act "write $BIN_DIR/p4-cache ($VERSION)" put_binary_now
        else
            mend_capability
        fi
        put_link p4-cache "$BIN_DIR/p4-cache-access"
    }
    put_binary_now() {
        if [ "$UPGRADED" = 1 ]; then keep_previous; fi
        PLACING=$DESTDIR$BIN_DIR/.p4-cache.$$.tmp
        cp -- "$WORK/$BINARY" "$PLACING"
        chmod 755 "$PLACING"
        give_to "$PLACING" root:root
        if wants_capability; then set_capability "$PLACING"; fi
        sync "$PLACING" 2>/dev/null || sync
        mv -f -- "$PLACING" "$DESTDIR$BIN_DIR/p4-cache"
        PLACING=''
    }
    # A second name of the same file, so that it keeps its capability; there is no moment without program.
    keep_previous() {
        NOW=$DESTDIR$BIN_DIR/p4-cache
        PLACING=$DESTDIR$BIN_DIR/.p4-cache.previous.$$.tmp
        ln -- "$NOW" "$PLACING"
        # After an interrupted upgrade both are one file already, and a rename would do nothing.
        rm -f -- "$NOW.previous"
        mv -f -- "$PLACING" "$NOW.previous"
        PLACING=''
    }

    install_all() {
        make_user
        put_binary
        PROGRAM_CHANGES=$CHANGES
        make_dir "$CONFIG_DIR" 750 "root:$RUN_AS"
        make_dir "$LOG_DIR" 750 "$RUN_AS:$RUN_AS"
        make_dir "$TEXTFILE_DIR" 755 "$RUN_AS:$RUN_AS"
        localise config.json
        if [ "$REPLICA" = 1 ]; then
            sed 's/^  "depot_path".*/&\
  "read_only": true,/' "$WORK/config.json" >"$WORK/replica.json"
            mv "$WORK/replica.json" "$WORK/config.json"
        fi
        for NAME in config.json env; do
            [ -e "$DESTDIR$CONFIG_DIR/$NAME" ] || put "$WORK/$NAME" "$CONFIG_DIR/$NAME" 640 "root:$RUN_AS"
        done
        while read -r NAME PLACE MODE; do
            localise "$NAME"
            BEFORE=$CHANGES
            put "$WORK/$NAME" "$PLACE" "$MODE" root:root
            case $PLACE in
                "$SYSTEMD_DIR"/* | "$TMPFILES_DIR"/*) UNIT_CHANGES=$((UNIT_CHANGES + CHANGES - BEFORE)) ;;
            esac
        done <<LIST
$FILES
LIST
        if [ "$UNIT_CHANGES" != 0 ] && runs_systemd; then
            act "reload systemd's units" systemctl daemon-reload
            ! has systemd-tmpfiles ||
                act "make what $TMPFILES_DIR/p4-cache.conf lists" systemd-tmpfiles --create "$TMPFILES_DIR/p4-cache.conf"
        fi
    }

    # ---- starting, and going back -------------------------------------------------------------------

    # The configuration that a service of ours runs with.
    config_of() {
        INSTANCE=${1#p4-cache@}
        if [ "$INSTANCE" = "$1" ]; then
            say "$CONFIG_DIR/config.json"
        else
            say "$CONFIG_DIR/${INSTANCE%.service}.json"
        fi
    }

    # What the daemon of service $1 says of itself; of several depots, what each of them says.
    ask_status() {
        if [ "$1" = p4-cache-depots.service ]; then
            "$BIN_DIR/p4-cache" status --all --json --config-dir "$CONFIG_DIR/depots.d"
        else
            "$BIN_DIR/p4-cache" status --json --config "$(config_of "$1")"
        fi
    }

    # Whether the daemon of service $1 is up and answers, asked for at most HEALTH_TIMEOUT seconds.
    becomes_healthy() {
        LEFT=$HEALTH_TIMEOUT
        while [ "$LEFT" -gt 0 ]; do
            if systemctl is-active --quiet "$1" &&
                ask_status "$1" >"$WORK/status" 2>/dev/null &&
                grep -q "\"version\":\"$VERSION\"" "$WORK/status"; then
                return 0
            fi
            sleep 1
            LEFT=$((LEFT - 1))
        done
        return 1
    }

    restart_services() {
        [ "${SKIP_START:-0}" != 1 ] && runs_systemd && [ "$DRY_RUN" = 0 ] || return 0
        RUNNING=$(active_services)
        if [ -z "$RUNNING" ]; then
            start_first
            return
        fi
        [ "$PROGRAM_CHANGES$UNIT_CHANGES" != 00 ] || return 0
        for SERVICE in $RUNNING; do
            say "restart $SERVICE"
            if ! systemctl restart "$SERVICE" || ! becomes_healthy "$SERVICE"; then
                roll_back "$SERVICE" "$RUNNING"
            fi
        done
    }

    start_first() {
        if ! "$BIN_DIR/p4-cache" config check --config "$CONFIG_DIR/config.json" >"$WORK/check" 2>&1; then
            say "Not started yet: $(sed 's/^p4-cache: //;q' "$WORK/check")"
            say "Edit $CONFIG_DIR/config.json, then: systemctl enable --now p4-cache"
            return
        fi
        [ "$CHANGES" != 0 ] || return 0
        say "enable and start p4-cache.service"
        systemctl enable --now p4-cache.service ||
            die "Installed, but p4-cache.service does not start; 'journalctl -u p4-cache' says why"
        becomes_healthy p4-cache.service ||
            die "Installed, but the daemon does not answer; 'journalctl -u p4-cache' says why"
    }

    roll_back() { # SERVICE ALL
        warn "$1 is not healthy after the upgrade to $VERSION"
        if [ "$UPGRADED" = 0 ] || [ ! -f "$BIN_DIR/p4-cache.previous" ]; then
            die "Cannot roll back: there is no previous program; 'journalctl -u $1' says what is wrong"
        fi
        mv -f -- "$BIN_DIR/p4-cache" "$BIN_DIR/p4-cache.failed"
        mv -f -- "$BIN_DIR/p4-cache.previous" "$BIN_DIR/p4-cache"
        "$BIN_DIR/p4-cache" shim install --to "$LIB_DIR/libp4shim.so" >/dev/null ||
            warn "the library stays the new one: 'p4-cache shim install' failed"
        for SERVICE in $2; do
            systemctl restart "$SERVICE" || warn "$SERVICE does not start with the previous program either"
        done
        die "Rolled back to the previous program; the new one is kept as $BIN_DIR/p4-cache.failed" 3
    }

    # ---- removing -----------------------------------------------------------------------------------

    # Refuses while a file is only on this machine, or while nobody can tell.
    check_nothing_dirty() { # CONFIG
        PROGRAM=$DESTDIR$BIN_DIR/p4-cache
        [ "$FORCE" = 0 ] && [ -x "$PROGRAM" ] && [ -f "$1" ] || return 0
        if ! "$PROGRAM" status --json --config "$1" >"$WORK/status" 2>"$WORK/why"; then
            check_never_served "$1"
            return
        fi
        FILES=$(sed -n 's/.*"files":{\([^}]*\)}.*/\1/p' "$WORK/status")
        DIRTY=$(say "$FILES" | sed -n 's/.*"dirty":\([0-9]*\).*/\1/p')
        UPLOADING=$(say "$FILES" | sed -n 's/.*"uploading":\([0-9]*\).*/\1/p')
        [ "$DIRTY$UPLOADING" != 00 ] || return 0
        warn "Cannot uninstall: in the depot of $1 files are dirty (${DIRTY:-unknown}) or being uploaded (${UPLOADING:-unknown})"
        die "Run 'p4-cache flush --wait --config $1' first; --force uninstalls all the same"
    }
    # A depot whose daemon does not answer may only be forgotten if it cannot have dirty files.
    check_never_served() { # CONFIG
        if grep -q '"read_only"[[:space:]]*:[[:space:]]*true' "$1"; then return; fi
        DEPOT=$(sed -n 's/.*"depot_path"[[:space:]]*:[[:space:]]*"\([^"\\]*\)".*/\1/p' "$1" | sed q)
        if [ -n "$DEPOT" ] && [ ! -e "$DEPOT/.p4cache/manifest" ]; then return; fi
        warn "Cannot tell whether all is uploaded: $(sed 's/^p4-cache: //;q' "$WORK/why")"
        die "Start the daemon first; --force uninstalls all the same"
    }

    remove_file() { if [ -e "$DESTDIR$1" ] || [ -L "$DESTDIR$1" ]; then act "remove $1" rm -f -- "$DESTDIR$1"; fi; }
    remove_dir() { if [ -d "$DESTDIR$1" ]; then act "remove $1" rm -rf -- "$DESTDIR$1"; fi; }

    uninstall() {
        for CONFIG in "$DESTDIR$CONFIG_DIR"/*.json "$DESTDIR$CONFIG_DIR"/depots.d/*.json; do
            check_nothing_dirty "$CONFIG"
        done
        confirm "Remove p4-cache?"
        for SERVICE in $(active_services); do
            act "stop $SERVICE" systemctl disable --now "$SERVICE"
        done
        for NAME in p4-cache-access p4-cache p4-cache.previous p4-cache.failed; do
            remove_file "$BIN_DIR/$NAME"
        done
        list_files
        while read -r _ PLACE _; do remove_file "$PLACE"; done <<LIST
$FILES
LIST
        remove_dir "$DOC_DIR"
        if runs_systemd && [ "$CHANGES" != 0 ]; then act "reload systemd's units" systemctl daemon-reload; fi
        if [ "$PURGE" = 1 ]; then
            remove_dir "$CONFIG_DIR"
            remove_dir "$LOG_DIR"
            remove_file "$TEXTFILE_DIR/p4cache.prom"
        fi
        if [ "$CHANGES" = 0 ]; then
            say "Nothing to do: p4-cache is not installed"
            return
        fi
        if [ "$PURGE" = 0 ]; then say "Kept: $CONFIG_DIR and $LOG_DIR; --purge removes them"; fi
        say "Kept: the depots with their .p4cache directories, and the user $RUN_AS"
        say "Take LD_PRELOAD out of p4d's start; evicted files are only in the storage now"
    }

    # ---- what is done -------------------------------------------------------------------------------

    check_machine
    if [ "$UNINSTALL" = 1 ]; then
        uninstall
        return
    fi
    get_release
    confirm "Install p4-cache $VERSION from $SOURCE to ${DESTDIR}$BIN_DIR?"
    install_all
    restart_services
    if [ "$CHANGES" = 0 ]; then
        say "Nothing to do: p4-cache $VERSION is installed"
    elif [ "$DRY_RUN" = 1 ]; then
        say "Nothing was changed (--dry-run)"
    else
        say "p4-cache $VERSION is installed"
        if [ "$UPGRADED" = 1 ]; then say "The previous program is kept; 'p4-cache rollback' returns to it"; fi
        if [ "$UPGRADED" = 0 ] && [ -z "$DESTDIR" ] && ! runs_systemd; then
            say "systemd does not run here: edit $CONFIG_DIR/config.json, then start as $RUN_AS: p4-cache --config $CONFIG_DIR/config.json"
        fi
    fi
}

p4_cache_installer "$@"
