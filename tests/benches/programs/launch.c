/* Starts one program and measures it. Small and static: a child's peak RSS is never reported below its starter's.
   Usage: launch DESCRIPTOR DEADLINE PRELOAD COMMAND ARGUMENT...
   COMMAND runs as leader of a process group of its own, with PRELOAD in LD_PRELOAD (none if PRELOAD is empty), and the
   group is killed after DEADLINE seconds, or when this program is told to terminate. One line goes to DESCRIPTOR:
   wall nanoseconds, user and system microseconds, peak RSS in KiB (the largest process of those waited for), status. */
#include "bench.h"
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static volatile sig_atomic_t child;

static void end_group(int signal) {
    (void)signal;
    if (child > 0) {
        kill(-child, SIGKILL);
    }
}

static long long microseconds(struct timeval time) {
    return time.tv_sec * 1000000LL + time.tv_usec;
}

int main(int argc, char **argv) {
    must(argc >= 5);
    int descriptor = (int)number(argv[1]);
    signal(SIGALRM, end_group);
    signal(SIGTERM, end_group);
    signal(SIGINT, end_group);
    /* Nothing outlives a benchmark that was interrupted. */
    must(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0);
    /* Ready before the clock runs: the child does nothing but `exec`. */
    if (argv[3][0] != 0) {
        must(setenv("LD_PRELOAD", argv[3], 1) == 0);
    }
    double start = now();
    pid_t pid = vfork();
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(descriptor);
        execvp(argv[4], argv + 4);
        _exit(127);
    }
    must(pid > 0);
    child = pid;
    alarm((unsigned)number(argv[2]));
    int status;
    struct rusage used;
    while (wait4(pid, &status, 0, &used) < 0) {
        must(errno == EINTR);
    }
    double taken = now() - start;
    child = 0;
    dprintf(descriptor, "%.0f %lld %lld %ld %d\n", taken * 1e9, microseconds(used.ru_utime),
            microseconds(used.ru_stime), used.ru_maxrss, status);
    return 0;
}
