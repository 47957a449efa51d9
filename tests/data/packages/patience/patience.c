/* Computes until five timer signals have come. */
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void tick(int signal)
{
	(void)signal;
	ticks++;
}

int main(void)
{
	const struct itimerval every_10_ms = { { 0, 10000 }, { 0, 10000 } };

	signal(SIGALRM, tick);
	setitimer(ITIMER_REAL, &every_10_ms, NULL);
	while (ticks < 5)
		;
	puts("patience rewarded");
	return 0;
}
