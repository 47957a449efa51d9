#include "tools/demo/bit_flip.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"

namespace understudy::tools {
namespace {

struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    [[nodiscard]] std::uint64_t size() const { return end - begin; }
};

// A replica has nothing that is larger.
Range guest_memory(pid_t pid) {
    std::ifstream maps(fmt::format("/proc/{}/maps", pid));
    Range largest;
    for (std::string line; std::getline(maps, line);) {
        std::size_t parsed = 0;
        const Range range{std::stoull(line, &parsed, 16), std::stoull(line.substr(parsed + 1), nullptr, 16)};
        const bool writable = line.find(" rw-p ") != std::string::npos;
        if (writable && range.size() > largest.size()) {
            largest = range;
        }
    }
    return largest;
}

}  // namespace

std::uint64_t flip_a_bit(pid_t pid, std::mt19937_64& random) {
    const Range memory = guest_memory(pid);
    const FileDescriptor file(::open(fmt::format("/proc/{}/mem", pid).c_str(), O_RDWR | O_CLOEXEC));
    if (memory.size() == 0 || !file) {
        throw Error::from_errno(fmt::format("cannot reach the memory of process {}", pid), errno);
    }
    const std::uint64_t offset = std::uniform_int_distribution<std::uint64_t>(0, memory.size() - 1)(random);
    const auto at = static_cast<off_t>(memory.begin + offset);
    std::uint8_t byte = 0;
    if (::pread(file.get(), &byte, 1, at) != 1) {
        throw Error::from_errno("cannot read a replica's memory", errno);
    }
    byte ^= static_cast<std::uint8_t>(1U << (offset % 8));
    if (::pwrite(file.get(), &byte, 1, at) != 1) {
        throw Error::from_errno("cannot write a replica's memory", errno);
    }
    return offset;
}

}  // namespace understudy::tools
