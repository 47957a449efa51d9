// Files in memory, pipes, and what the kernel tells of itself.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "guest/programs/torture/torture.hpp"

namespace understudy::torture {
namespace {

// Of this program's children, too, some are alive while it is read.
void tells_of_itself(Context& context) {
    static constexpr std::array kFiles = {
        "/proc/self/maps",
        "/proc/self/stat",
        "/proc/self/status",
        "/proc/self/smaps",
        "/proc/self/statm",
        "/proc/self/limits",
        "/proc/self/auxv",
        "/proc/self/wchan",
        "/proc/self/stack",
        "/proc/self/io",
        "/proc/stat",
        "/proc/meminfo",
        "/proc/vmstat",
        "/proc/interrupts",
        "/proc/cpuinfo",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/softirqs",
        "/proc/slabinfo",
        "/proc/buddyinfo",
        "/proc/zoneinfo",
        "/proc/net/dev",
        "/proc/net/tcp",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/diskstats",
        "/proc/vmallocinfo",
        "/proc/sys/kernel/random/uuid",
        "/proc/sys/kernel/random/boot_id",
        "/proc/self/pagemap",
        "/proc/schedstat",
        "/proc/self/schedstat",
        "/proc/self/sched",
        "/proc/kpageflags",
    };
    for (std::uint64_t i = context.random.between(1, 6); i > 0; --i) {
        const int file = open(kFiles[context.random.below(kFiles.size())], O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            continue;
        }
        std::array<char, 4096> buffer{};
        ssize_t n = 0;
        for (int blocks = 0; blocks < 16 && (n = read(file, buffer.data(), buffer.size())) > 0; ++blocks) {
            context.seen.add_bytes(buffer.data(), static_cast<std::size_t>(n));
        }
        close(file);
    }
}

void files(Context& context) {
    std::string folder = "/tmp";
    mkdir(folder.c_str(), 0755);
    folder += "/torture.XXXXXX";
    expect(mkdtemp(folder.data()) != nullptr, "mkdtemp");
    const int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    inotify_add_watch(watch, folder.c_str(), IN_ALL_EVENTS);
    std::vector<std::string> names;
    for (std::uint64_t i = context.random.between(3, 20); i > 0; --i) {
        if (names.empty() || context.random.one_in(2)) {
            names.push_back(folder + "/" + std::to_string(context.random.next()));
        }
        std::string& name = names[context.random.below(names.size())];
        const int file = open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        expect(file >= 0, "open");
        std::vector<std::uint8_t> bytes(context.random.below(20'000), static_cast<std::uint8_t>(i));
        expect(pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(context.random.below(50'000))) >= 0,
               "pwrite");
        struct stat status {};
        fstat(file, &status);
        context.seen.add(status.st_size);
        context.seen.add(status.st_ino);
        context.seen.add(status.st_mtim.tv_nsec);
        if (context.random.one_in(4)) {
            expect(ftruncate(file, static_cast<off_t>(context.random.below(30'000))) == 0, "ftruncate");
        }
        close(file);
        if (context.random.one_in(4)) {
            const std::string renamed = name + "r";
            rename(name.c_str(), renamed.c_str());
            name = renamed;
        }
    }
    std::array<char, 2048> events{};
    context.seen.add(read(watch, events.data(), events.size()));
    context.seen.add_bytes(events.data(), events.size());
    close(watch);
    for (const std::string& name : names) {
        unlink(name.c_str());
    }
    rmdir(folder.c_str());
}

void pipes(Context& context) {
    std::array<int, 2> first{};
    std::array<int, 2> second{};
    expect(pipe2(first.data(), O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(second.data(), O_CLOEXEC | O_NONBLOCK) == 0,
           "pipe2");
    std::vector<std::uint8_t> bytes(context.random.between(1, 70'000), 7);
    context.seen.add(write(first[1], bytes.data(), bytes.size()));
    context.seen.add(
        splice(first[0], nullptr, second[1], nullptr, context.random.between(1, bytes.size()), SPLICE_F_NONBLOCK));
    context.seen.add(tee(first[0], second[1], context.random.between(1, bytes.size()), SPLICE_F_NONBLOCK));
    context.seen.add(read(second[0], bytes.data(), bytes.size()));
    for (const int end : {first[0], first[1], second[0], second[1]}) {
        close(end);
    }
}

void entropy(Context& context) {
    std::array<std::uint8_t, 300> bytes{};
    const ssize_t n = getrandom(bytes.data(), context.random.between(1, bytes.size()), 0);
    expect(n > 0, "getrandom");
    context.seen.add_bytes(bytes.data(), bytes.size());
}

constexpr std::array kOperations = {
    Operation{"tells-of-itself", tells_of_itself},
    Operation{"files", files},
    Operation{"pipes", pipes},
    Operation{"entropy", entropy},
};

}  // namespace

std::span<const Operation> file_operations() {
    return kOperations;
}

}  // namespace understudy::torture
