/**
 * Real programs on an evicted tree: each prints, byte for byte, what it prints on a plain copy of the tree.
 *
 * The tree is in the storage of a replica, whose daemon is the compiled one; in the depot there are only
 * directories. Before each program everything is evicted again.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { DaemonProcess, hasProgram, run, shimEnv, TempDir } from "../e2e/daemon_process.ts";

/** Makes the tree: archives of RCS, a git repository with a pack, odd names, modes and times. */
const MAKE = String.raw`
set -e
mkdir -p d/sub "d/it's odd" site
seq 1 5000 > d/text
head -c 3000000 /dev/urandom > d/binary
printf '#!/bin/sh\necho ran "$@"\n' > d/script
seq 7 > d/sub/seven; seq 8 > "d/it's odd/größe ☃"; : > d/empty
echo hello > site/index.html; cp d/binary site/large
for r in 1 2 3; do
  seq $r 40 > d/file
  ci -q -mx -t-x -u -d"2020-01-0$r 00:00Z" -wme d/file d/file,v </dev/null
  rcs -q -l d/file,v
done
rm -f d/file
git init -q repo; cd repo
git config user.name n; git config user.email e@e; git config gc.auto 0; git config core.checkStat minimal
for r in 1 2 3; do seq $r 50 > a; seq $r > b$r; git add .; git commit -qm "commit $r"; done
git gc -q; seq 9 > c; git add c; git commit -qm "loose"
cd ..
chmod 755 d/script; chmod 600 d/sub/seven
find . -type f -exec touch -h -d '2021-02-03 04:05:06.789' {} +
`;

/** A program's script: run in the tree, with $OUT for what it makes elsewhere. */
interface Script {
  readonly script: string;
  /** With P4CACHE_LIST=1: it looks for files, and is not told their names. */
  readonly lists?: boolean;
  /** Programs besides the first word of its name. */
  readonly needs?: readonly string[];
}

const SCRIPTS: Readonly<Record<string, Script>> = {
  "cat": { script: `cat d/text "d/it's odd/größe ☃" d/empty d/binary` },
  "head": { script: "head -c 100000 d/binary; head -n 3 d/text" },
  "md5sum": { script: "md5sum d/text d/binary d/sub/seven" },
  "md5sum -c": { script: "md5sum /dev/null > $OUT.md5; md5sum -c $OUT.md5; sha256sum d/binary" },
  "gzip": { script: "gzip -nc d/binary d/text" },
  "cp": {
    script:
      "cp -p d/binary d/script $OUT; cat $OUT/*; stat -c '%n %s %a %Y' d/binary $OUT/script | sed s:$OUT::",
  },
  "cp in the tree": { script: "cp d/text d/copy; cat d/copy; rm d/copy" },
  "mv": {
    script: "mv d/text d/moved; cat d/moved; test ! -e d/moved.none; mv d/moved $OUT/x; cat $OUT/x",
  },
  "tar": { script: "tar --sort=name --owner=0 --group=0 -cf - d/text d/script d/binary" },
  "tar of a tree": {
    script:
      "tar -C d -cf $OUT/t.tar --warning=no-file-changed . || [ $? = 1 ]; mkdir $OUT/t; tar -C $OUT/t -xf $OUT/t.tar; cd $OUT/t; find . -type f | sort | xargs -d '\\n' md5sum",
    lists: true,
  },
  "rsync": {
    script: "rsync -t d/binary d/text $OUT/; md5sum < $OUT/binary; stat -c '%s %Y' $OUT/text",
  },
  "rsync of a tree": {
    script: "rsync -r d/ $OUT/r/; cd $OUT/r; find . -type f | sort | xargs -d '\\n' md5sum",
    lists: true,
  },
  "ls -l": { script: "TZ=UTC ls -lgo --full-time d/text d/script d/sub/seven" },
  "ls of a tree": { script: "ls -R d; ls -A d", lists: true },
  "stat": {
    script: "stat -c '%n %s %a %y %F' d/text d/binary d/empty d/sub/seven; stat d/none 2>&1",
  },
  "test": {
    script:
      "test -f d/text; test -s d/text; test -x d/script; test ! -e d/none; test d/text -nt d/none; echo $?",
  },
  "find": { script: "find d/text d/binary -size +100k -type f -printf '%p %s\\n'" },
  "find of a tree": {
    script: "find d -type f -size +1k -printf '%p %s %m\\n' | sort; find d -name 'gr*'",
    lists: true,
  },
  "sh": {
    script: "sh < d/script; sh d/script 1 2; ./d/script 3; . d/script; wc -l < d/text; cat d/s*",
    lists: true,
  },
  "co": {
    script: "co -q -p d/file,v; co -q -p1.1 d/file,v; co -q -l d/file,v d/file; cat d/file",
    needs: ["ci"],
  },
  "rlog": { script: "rlog d/file,v | sed 's:^RCS.*::'", needs: ["ci"] },
  "rcsdiff": { script: "rcsdiff -r1.1 -r1.3 d/file,v 2>&1 || true", needs: ["ci"] },
  "ci": {
    script:
      "co -q -l d/file,v d/file; echo more >> d/file; ci -q -mnew -d'2022-01-01 00:00Z' -wme d/file d/file,v; co -q -p1.2 d/file,v; co -q -p d/file,v; rlog d/file,v | grep -c revision",
    needs: ["ci"],
  },
  "git": {
    script:
      "git -C repo log --stat --format=%s; git -C repo show HEAD~2:a; git -C repo fsck --full 2>&1; git -C repo status --short; git -C repo diff HEAD~3",
    lists: true,
  },
  "git commit": {
    script:
      "cd repo; echo new >> a; git add a; GIT_AUTHOR_DATE=@0 GIT_COMMITTER_DATE=@0 git commit -qm new; git log --format='%T %s'; git show HEAD:a",
    lists: true,
  },
  "python3": {
    script: `python3 -c '
import os, shutil, sys, pathlib, glob
sys.stdout.write(open("d/text").read()); print(os.stat("d/binary").st_size, os.path.exists("d/none"))
shutil.copy2("d/script", os.environ["OUT"]); print(os.access("d/script", os.X_OK), pathlib.Path("d/text").read_bytes()[:9])
print(sorted(os.listdir("d")), sorted(glob.glob("d/*")), sorted(e.name for e in os.scandir("d/sub")))
shutil.copytree("d", os.environ["OUT"] + "/tree"); print(sorted(p.name for p in pathlib.Path(os.environ["OUT"], "tree").rglob("*")))
os.rename("d/text", "d/t2"); print(len(open("d/t2", "a+").read()), os.path.getmtime("d/sub/seven"))'`,
    lists: true,
  },
  "perl": {
    script:
      `perl -e 'open(F, "<", "d/text") or die; print <F>; print -s "d/binary", -e "d/none" ? 1 : 0, (stat "d/script")[2]; print sort glob("d/*"); rename "d/text", "d/t2" or die; open(F, "+<", "d/t2") or die; print scalar <F>'`,
    lists: true,
  },
  "ruby": {
    script: `ruby -e 'print File.read("d/text"), File.size("d/binary"), Dir.children("d").sort'`,
    lists: true,
  },
  "node": {
    script:
      `node -e 'const fs = require("fs"); process.stdout.write(fs.readFileSync("d/text")); console.log(fs.statSync("d/binary").size, fs.existsSync("d/none")); fs.copyFileSync("d/script", process.env.OUT + "/n")'`,
  },
  "java": {
    script: `cat > $OUT/R.java <<'END'
import java.nio.file.*;
public class R { public static void main(String[] a) throws Exception {
  System.out.write(Files.readAllBytes(Path.of("d/text"))); System.out.println(Files.size(Path.of("d/binary")));
  System.out.println(new java.io.File("d/sub/seven").length() + " " + Files.exists(Path.of("d/none")));
  try (var in = new java.io.FileInputStream("d/script")) { System.out.write(in.readAllBytes()); }
  System.out.flush(); } }
END
java $OUT/R.java`,
    needs: ["javac"],
  },
  "nginx": {
    script: `cat > $OUT/nginx.conf <<END
daemon on; pid $OUT/pid; error_log $OUT/error.log; user root;
events {}
http { access_log off; client_body_temp_path $OUT; proxy_temp_path $OUT; fastcgi_temp_path $OUT; uwsgi_temp_path $OUT; scgi_temp_path $OUT;
  server { listen unix:$OUT/sock; root $PWD/site; } }
END
/usr/sbin/nginx -p $OUT -c $OUT/nginx.conf
for f in "" index.html large none; do curl -s --unix-socket $OUT/sock http://x/$f; done
kill $(cat $OUT/pid)`,
    needs: ["curl"],
  },
};

Deno.test("real programs see an evicted tree as if it were there", async (t) => {
  if (!hasProgram("ci") || !hasProgram("git")) {
    console.log("skipped: the tree needs rcs and git");
    return;
  }
  using dir = new TempDir();
  const store = `${dir.path}/store`, depot = `${dir.path}/depot`, plain = `${dir.path}/plain`;
  for (const path of [store, depot]) Deno.mkdirSync(path);
  const made = await run("sh", ["-c", MAKE], { cwd: store });
  assertEquals(made.code, 0, made.stderr);
  const setUp =
    `rm -rf "$2" "$3"/*; cp -a "$1" "$2"; cd "$1"; find . -type d -exec mkdir -p "$3"/{} \\;`;
  await using _daemon = await DaemonProcess.start(depot, [
    "--read-only",
    "--primary-type",
    "nfs",
    "--primary-path",
    store,
  ]);
  for (const [name, { script, lists, needs }] of Object.entries(SCRIPTS)) {
    const missing = [name.split(" ")[0]!, ...needs ?? []]
      .filter((program) => !["test", "sh"].includes(program) && !hasProgram(program));
    if (missing.length > 0) console.log(`skipped: ${name} (no ${missing.join(", ")})`);
    await t.step({
      name,
      ignore: missing.length > 0,
      fn: async () => {
        const ready = await run("sh", ["-ec", setUp, "sh", store, plain, depot]);
        assertEquals(ready.code, 0, ready.stderr);
        const outputs: string[] = [];
        for (const cwd of [plain, depot]) {
          const OUT = `${dir.path}/out`;
          Deno.mkdirSync(OUT);
          const shim = cwd === plain ? {} : { ...shimEnv(depot), P4CACHE_LIST: lists ? "1" : "0" };
          const env = { ...shim, OUT, LC_ALL: "C.UTF-8", LOGNAME: "me", HOME: dir.path };
          const outcome = await run("sh", ["-c", script], { cwd, env });
          const bytes = Array.from(outcome.bytes, (byte) => String.fromCharCode(byte)).join("");
          outputs.push(
            `${bytes}\nended with ${outcome.code}\n${outcome.stderr}`.replaceAll(cwd, ""),
          );
          Deno.removeSync(OUT, { recursive: true });
        }
        const [expected, got] = outputs as [string, string];
        // Outputs are megabytes: only where they differ is shown.
        const at = Array.from(expected).findIndex((c, i) => c !== got[i]);
        if (expected !== got) {
          assertEquals(got.slice(at - 200, at + 1000), expected.slice(at - 200, at + 1000));
        }
      },
    });
  }
});
