/* Sets this process's wall clock forward by STEP_MS as soon as the file STEP_FILE exists: to be preloaded. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int stepped;

static void step(struct timespec *at)
{
    const char *file = getenv("STEP_FILE");
    if (!stepped)
        stepped = file && access(file, F_OK) == 0;
    if (stepped) {
        long ns = at->tv_nsec + atol(getenv("STEP_MS")) * 1000000L;
        at->tv_sec += ns / 1000000000L;
        at->tv_nsec = ns % 1000000000L;
    }
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int said = syscall(SYS_clock_gettime, clock, at);
    if (said == 0 && clock == CLOCK_REALTIME)
        step(at);
    return said;
}
