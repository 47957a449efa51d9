// torture [--seed N] [--operations N] [--only NAME] [--hostile] [--list]
//
// Prints what it is about to do, one line an operation, and its checksum; ends with status 0 after as many operations
// as it was told.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "guest/programs/torture/torture.hpp"

namespace understudy::torture {

void expect(bool holds, const char* what) {
    if (!holds) {
        dprintf(STDOUT_FILENO, "torture: this does not hold: %s (errno %d)\n", what, errno);
        _exit(1);
    }
}

namespace {

struct Options {
    std::uint64_t seed = 1;
    std::uint64_t operations = 100;
    std::string only;  // operations, by name, separated by commas; empty: all
    bool hostile = false;
    bool list = false;
};

Options parse(int count, char** words) {
    Options options;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        const char* const value = i + 1 < count ? words[i + 1] : "";
        if (word == "--hostile") {
            options.hostile = true;
        } else if (word == "--list") {
            options.list = true;
        } else if (word == "--status") {
            _exit(std::atoi(value));
        } else if (word == "--seed") {
            options.seed = std::strtoull(value, nullptr, 0);
            ++i;
        } else if (word == "--operations") {
            options.operations = std::strtoull(value, nullptr, 0);
            ++i;
        } else if (word == "--only") {
            options.only = value;
            ++i;
        } else {
            std::fprintf(stderr, "torture: what is %s?\n", word.c_str());
            std::exit(2);
        }
    }
    return options;
}

std::vector<Operation> chosen(const Options& options) {
    std::vector<std::span<const Operation>> groups = {
        call_operations(),   code_operations(),    compute_operations(),     file_operations(),
        memory_operations(), process_operations(), served_file_operations(), signal_operations(),
        socket_operations(), spin_operations(),    thread_operations()};
    if (options.hostile) {
        groups.push_back(hostile_operations());
    }
    std::vector<Operation> result;
    for (const auto& group : groups) {
        for (const Operation& operation : group) {
            if (options.only.empty() ||
                ("," + options.only + ",").find("," + std::string(operation.name) + ",") != std::string::npos) {
                result.push_back(operation);
            }
        }
    }
    return result;
}

int run(const Options& options) {
    const std::vector<Operation> operations = chosen(options);
    if (operations.empty()) {
        std::fprintf(stderr, "torture: there is no operation %s\n", options.only.c_str());
        return 2;
    }
    if (options.list) {
        for (const Operation& operation : operations) {
            std::printf("%s\n", operation.name);
        }
        return 0;
    }
    Random random(options.seed);
    Context context{Random(random.next()), {}};
    for (std::uint64_t i = 0; i < options.operations; ++i) {
        const Operation& operation = operations[random.below(operations.size())];
        // Each has numbers of its own: leaving one out changes none behind it.
        context.random = Random(random.next());
        dprintf(STDOUT_FILENO, "%llu %s\n", static_cast<unsigned long long>(i), operation.name);
        operation.run(context);
    }
    dprintf(STDOUT_FILENO, "seen %016llx\n", static_cast<unsigned long long>(context.seen.value()));
    return 0;
}

}  // namespace
}  // namespace understudy::torture

int main(int count, char** words) {
    return understudy::torture::run(understudy::torture::parse(count, words));
}
