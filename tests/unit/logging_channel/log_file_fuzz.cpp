// Any bytes as a log file: the reader says what is wrong, and neither crashes nor allocates beyond its bounds.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "common/error.hpp"
#include "logging_channel/log_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace understudy;
    static const int file = ::memfd_create("log", MFD_CLOEXEC);
    if (file < 0 || ::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) {
        std::abort();
    }
    try {
        channel::LogReader reader(fmt::format("/proc/self/fd/{}", file));
        if (reader.header().guest.memory <= Bytes{1U << 20}) {
            std::vector<std::byte> memory(reader.header().guest.memory.value);
            static_cast<void>(reader.read_state(memory));
        } else {
            reader.skip_state();
        }
        while (std::holds_alternative<Record>(reader.next())) {
        }
        if (reader.offset() > size) {
            std::abort();
        }
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the expected end of most inputs
    }
    return 0;
}
