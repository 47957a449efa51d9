// Computing, in a file of its own that may be a library.
#pragma once

// Until *word is `value` or more.
void spin_until(const volatile int* word, int value);
void spin_times(unsigned long times);
