// spin: computes for a while without a system call, and prints checksums and the time that it took.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "guest/programs/net/event_loop.hpp"
#include "guest/programs/net/options.hpp"
#include "guest/programs/spin/kernels.hpp"

namespace understudy::spin {

std::span<const Kernel> kernels() {
    static const std::vector<Kernel> all = [] {
        std::vector<Kernel> joined;
        for (const auto& group : {integer_kernels(), floating_point_kernels(), memory_kernels()}) {
            joined.insert(joined.end(), group.begin(), group.end());
        }
        return joined;
    }();
    return all;
}

namespace {

using programs::monotonic_now;
using programs::Time;

unsigned long long printable(std::uint64_t value) {
    return value;
}

unsigned long long nanoseconds(Time time) {
    return static_cast<unsigned long long>(time.count());
}

// Reads the clock `samples` times. The times go into the checksum: a replay must see the same ones.
int observe_clock(std::uint64_t samples) {
    const Time start = monotonic_now();
    Time last = start;
    Time longest{};
    std::uint64_t advances = 0;
    std::uint64_t checksum = 0;
    for (std::uint64_t i = 0; i < samples; ++i) {
        const Time now = monotonic_now();
        if (now < last) {
            std::fprintf(stderr, "spin: the clock went back by %llu ns\n", nanoseconds(last - now));
            return 1;
        }
        advances += now > last ? 1 : 0;
        longest = std::max(longest, now - last);
        checksum = mix(checksum, static_cast<std::uint64_t>((now - start).count()));
        last = now;
    }
    std::printf("clock samples=%llu advances=%llu longest_step_ns=%llu checksum=%016llx elapsed_ns=%llu\n",
                printable(samples), printable(advances), nanoseconds(longest), printable(checksum),
                nanoseconds(last - start));
    return 0;
}

void compute(std::uint64_t rounds, const std::string& only) {
    std::uint64_t total_checksum = 0;
    Time total{};
    bool found = false;
    for (const Kernel& kernel : kernels()) {
        if (!only.empty() && kernel.name != only) {
            continue;
        }
        found = true;
        std::uint64_t checksum = 0;
        const Time start = monotonic_now();
        for (std::uint64_t round = 0; round < rounds; ++round) {
            checksum = mix(checksum, kernel.run(round));
        }
        const Time elapsed = monotonic_now() - start;
        std::printf("%s rounds=%llu checksum=%016llx elapsed_ns=%llu\n", std::string(kernel.name).c_str(),
                    printable(rounds), printable(checksum), nanoseconds(elapsed));
        std::fflush(stdout);
        total_checksum = mix(total_checksum, checksum);
        total += elapsed;
    }
    if (!found) {
        throw programs::UsageError("--kernel " + only + ": unknown; --list shows what there is");
    }
    std::printf("total rounds=%llu checksum=%016llx elapsed_ns=%llu\n", printable(rounds), printable(total_checksum),
                nanoseconds(total));
}

int run(int argc, char** argv) {
    std::uint64_t rounds = 20;
    std::uint64_t passes = 1;
    std::uint64_t clock_samples = 0;
    std::string only;
    bool list = false;
    programs::Options options("spin", "computes for a while and prints checksums and times", "spin --rounds 100");
    options.number("--rounds", "rounds of each kernel, some milliseconds each", rounds, 1, 1'000'000'000)
        .number("--passes", "how often to run them all, each time with its own lines and times", passes, 1,
                1'000'000'000)
        .text("--kernel", "run this kernel alone", only)
        .number("--observe-clock", "instead: read the clock N times", clock_samples, 1, 1'000'000'000)
        .flag("--list", "list the kernels", list);
    if (!options.parse(argc, argv)) {
        return 0;
    }
    if (list) {
        for (const Kernel& kernel : kernels()) {
            std::printf("%-12s %s\n", std::string(kernel.name).c_str(), std::string(kernel.what).c_str());
        }
        return 0;
    }
    if (clock_samples > 0) {
        return observe_clock(clock_samples);
    }
    for (std::uint64_t pass = 0; pass < passes; ++pass) {
        compute(rounds, only);
    }
    return 0;
}

}  // namespace
}  // namespace understudy::spin

int main(int argc, char** argv) {
    return understudy::programs::run_program("spin", [&] { return understudy::spin::run(argc, argv); });
}
