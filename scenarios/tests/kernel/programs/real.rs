//! The programs, each with the script that starts it.

use crate::needs::Need;

/// A program, what it needs to be installed, the script that starts it, and what is left of it when
/// its first process ends.
pub(super) struct Real {
    pub(super) name: &'static str,
    pub(super) needs: &'static [Need],
    pub(super) script: &'static str,
    pub(super) kept: Kept,
}

/// What a script leaves to run on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing: it waits for all that it started.
    Nothing,
    /// Processes that end by themselves.
    Ending,
    /// Processes that run until they are killed.
    Forever,
}

/// The scripts change to the trial's own directory first. `await` waits for a line in a file by
/// asking again, for fifty seconds.
pub(super) const PRELUDE: &str = "cd \"$HOME\" || exit 9
await() {
    n=0
    until grep -q \"$1\" \"$2\" 2>/dev/null; do
        n=$((n + 1)); [ $n -gt 1000 ] && exit 8; sleep 0.05
    done
}
";

pub(super) const REAL: &[Real] = &[
    Real {
        name: "a_shell_with_background_jobs",
        needs: &["program:sh"],
        script: "sleep 0.2 & (sleep 0.3 & sleep 0.1) & setsid sleep 0.4 & exit 0",
        kept: Kept::Ending,
    },
    Real {
        name: "make_with_parallel_jobs",
        needs: &["program:make"],
        script: "printf 'all: a b c d\\na b c d:\\n\\t@sh -c \"sleep 0.1; : > $@\"\\n' > Makefile
            make -j4 && [ -e a ] && [ -e d ]",
        kept: Kept::Nothing,
    },
    Real {
        name: "a_python_pool_whose_parent_is_killed",
        needs: &["program:python3"],
        script: "cat > pool.py <<'EOF'
import multiprocessing, os, signal, time
if __name__ == '__main__':
    with multiprocessing.get_context('fork').Pool(3) as pool:
        pool.map_async(time.sleep, [60] * 3)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
EOF
            python3 pool.py; exit 0",
        kept: Kept::Forever,
    },
    Real {
        name: "git_gc",
        needs: &["program:git"],
        script: "git init -q repo && cd repo && git config user.email a@b && git config user.name a
            for i in 1 2 3; do echo $i > f && git add f && git commit -qm $i; done
            git gc --quiet",
        kept: Kept::Nothing,
    },
    Real {
        name: "gpg_agent_started_by_a_script",
        needs: &["program:gpg-agent"],
        script: "mkdir -m 700 g; GNUPGHOME=$HOME/g gpg-agent --daemon \\
            && [ -S g/S.gpg-agent ]",
        kept: Kept::Forever,
    },
    Real {
        name: "ssh_agent_started_by_a_script",
        needs: &["program:ssh-agent"],
        script: "ssh-agent > env && . ./env && [ -S \"$SSH_AUTH_SOCK\" ]",
        kept: Kept::Forever,
    },
    Real {
        name: "a_tmux_session",
        needs: &["program:tmux"],
        script: "tmux -L x -f /dev/null new-session -d 'echo up > up; sleep 60' && await up up",
        kept: Kept::Forever,
    },
    Real {
        name: "a_screen_session",
        needs: &["program:screen"],
        script: "mkdir -m 700 s; SCREENDIR=$HOME/s screen -dmS x sh -c 'echo up > up; sleep 60' \\
            && await up up",
        kept: Kept::Forever,
    },
    Real {
        name: "npm_with_a_watcher",
        needs: &["program:npm", "program:node"],
        script: "cat > package.json <<'EOF'
{\"name\": \"x\", \"version\": \"1.0.0\", \"scripts\": {\"watch\": \"node watch.js\"}}
EOF
            cat > watch.js <<'EOF'
const fs = require('fs');
fs.watch('.', () => {});
fs.writeFileSync('up', 'up\\n');
EOF
            npm run watch --offline --no-update-notifier > log 2>&1 &
            await up up",
        kept: Kept::Forever,
    },
    Real {
        name: "stress_ng_process_stressors",
        needs: &["program:stress-ng"],
        script: "stress-ng --fork 2 --clone 2 --zombie 2 --timeout 1s --quiet \\
            --temp-path \"$HOME\"",
        kept: Kept::Nothing,
    },
    Real {
        name: "a_c_compile",
        needs: &["program:cc"],
        script: "echo 'int main(void) { return 0; }' > x.c && cc -O2 -pipe -o x x.c && ./x",
        kept: Kept::Nothing,
    },
    Real {
        name: "postgresql_started_and_abandoned",
        needs: &["program:cc", "program:initdb", "program:postgres"],
        // It wants its user to have a name.
        script: "cat > user.c <<'EOF'
#include <pwd.h>
#include <stdlib.h>
static struct passwd user = {\"user\", \"x\", 0, 0, \"\", \"/\", \"/bin/sh\"};
struct passwd *getpwuid(uid_t id) {
    user.pw_uid = user.pw_gid = id;
    user.pw_dir = getenv(\"HOME\");
    return &user;
}
int getpwuid_r(uid_t id, struct passwd *to, char *b, size_t n, struct passwd **found) {
    *to = *getpwuid(id);
    *found = to;
    return 0;
}
EOF
            cc -shared -fPIC -o user.so user.c || exit 6
            export LD_PRELOAD=\"$HOME/user.so\"
            initdb -D db -A trust -N > log 2>&1 || { cat log; exit 7; }
            echo \"dynamic_shared_memory_type = mmap\" >> db/postgresql.conf
            echo \"listen_addresses = ''\" >> db/postgresql.conf
            echo \"unix_socket_directories = '$HOME'\" >> db/postgresql.conf
            echo \"shared_buffers = 4MB\" >> db/postgresql.conf
            postgres -D db > log 2>&1 &
            await 'ready to accept' log",
        kept: Kept::Forever,
    },
];
