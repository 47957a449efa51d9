// faulty KIND: makes one mistake of a kind that a sanitizer has to find, and ends with success if none does.
#include <climits>
#include <cstdio>
#include <string_view>
#include <thread>
#include <vector>

namespace {

void read_behind(const std::vector<int>& numbers) {
    std::printf("%d\n", numbers.data()[numbers.size()]);
}

void overflow(int number) {
    std::printf("%d\n", number + 1);
}

// Many, for a stale pointer to the last one is on the stack.
void leak() {
    for (int i = 0; i < 100; ++i) {
        const char* const forgotten = new char[100];
        std::printf("%p\n", static_cast<const void*>(forgotten));
    }
}

void race() {
    int shared = 0;
    std::thread other([&] { ++shared; });
    ++shared;
    other.join();
    std::printf("%d\n", shared);
}

}  // namespace

int main(int count, char** words) {
    const std::string_view kind = count == 2 ? words[1] : "";
    if (kind == "address") {
        read_behind({1, 2, 3});
    } else if (kind == "undefined") {
        overflow(INT_MAX);
    } else if (kind == "leak") {
        leak();
    } else if (kind == "thread") {
        race();
    } else {
        std::fputs("usage: faulty address|undefined|leak|thread\n", stderr);
        return 2;
    }
    return 0;
}
