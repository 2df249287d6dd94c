/* The kernel-level eviction protocol (shim/helper/evict.h, src/cache/evict_batch.ts) against one program
 * that opens the file, appends to it and closes it, at any moment.
 *
 * One inode. `name` says where it can be found; an open has two halves, as in the kernel: the lookup
 * finds the inode, then, in the same system call, the lease is looked at. What is modelled of time is
 * the grace: GRACE means that a system call does not stand still between its halves for the whole of
 * it. A shimmed program (SHIM) compares the inode with its path after the open, and opens again.
 *
 * Bugs to leave out, each of which must lose a write:
 *   -DNO_LEASE     take the file without a lease, and do not look at it later
 *   -DNO_RECHECK   unlink without looking at the lease again after the grace
 *   -DNO_GRACE     no grace between the rename and the second look
 *   -DNO_VERSION   do not compare the version under the lease and at the second look
 * NO_GRACE loses nothing where the program uses the shim (-DSHIM).
 *
 * tests/sim/eviction_model_test.ts checks all of this.
 */

mtype = { DEPOT, TRASH, GONE };

mtype name = DEPOT;
bool leased = false, breaking = false; /* the daemon's lease; somebody waits for its end */
byte opens = 0;                        /* open files of the program */
bool changed = false;                  /* content is newer than what is uploaded */
bool in_call = false;                  /* the program is between lookup and lease check */
bool acknowledged = false;             /* the append was written */
bool found_new = false;                /* the program found the path empty: restored, another inode */

proctype evictor() {
    /* A batch may be tried again after a file was put back. */
    byte rounds = 0;
again:
    /* openat2, then F_SETLEASE(F_WRLCK): granted only if nobody else has it open. */
#ifdef NO_LEASE
    skip;
#else
    if
    :: atomic { opens == 0 -> leased = true; breaking = false }
    :: opens > 0 -> goto stays
    fi;
#endif
    /* fstat: the version that was uploaded. */
#ifndef NO_VERSION
    if
    :: changed -> goto unlease
    :: else
    fi;
#endif
    /* renameat2 into the trash. */
    name = TRASH;
#ifndef NO_GRACE
    /* Grace: who had found the inode before has reached the lease check meanwhile. */
    !in_call;
#endif
    /* The second look: F_GETLEASE and fstat. */
    if
#ifndef NO_LEASE
#ifndef NO_RECHECK
    :: breaking -> goto put_back
#endif
#endif
#ifndef NO_VERSION
    :: changed -> goto put_back
#endif
    :: else
    fi;
    /* The manifest is committed; one more look; unlinkat. */
#ifndef NO_LEASE
#ifndef NO_RECHECK
    if
    :: atomic { !breaking -> name = GONE }
    :: breaking -> goto put_back
    fi;
#else
    name = GONE;
#endif
#else
    name = GONE;
#endif
    goto unlease;

put_back:
    name = DEPOT;
unlease:
    /* close(2) drops the lease; who waits for it goes on. */
    atomic { leased = false; breaking = false };
stays:
    if
    :: rounds < 1 && name == DEPOT -> rounds++; goto again
    :: true
    fi
}

proctype program() {
open:
    if
    :: atomic { name == DEPOT -> in_call = true }
    :: name != DEPOT ->
        /* Not there: the shim has it restored, and the append goes to that file. */
        found_new = true;
        goto done
    fi;
    /* The second half: it counts as open before the lease is looked at. */
    atomic {
        opens++;
        in_call = false;
        if
        :: leased -> breaking = true
        :: else
        fi
    };
    !leased; /* waits in open(2) */
#ifdef SHIM
    if
    :: atomic { name != DEPOT -> opens-- }; goto open
    :: name == DEPOT
    fi;
#endif
    /* write(2), close(2) */
    atomic { changed = true; acknowledged = true };
    opens--;
done:
    skip
}

init {
    atomic { run evictor(); run program() };
    /* Both have ended: what was written is under its name. */
    (_nr_pr == 1);
    assert(!acknowledged || found_new || name == DEPOT)
}
