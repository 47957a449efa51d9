#include "common/file_digest.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "common/error.hpp"

namespace understudy {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20U;

struct FreeState {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
using State = std::unique_ptr<XXH3_state_t, FreeState>;

std::uint64_t length_of(const FileDescriptor& file, const std::string& name) {
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) {
        throw Error::from_errno("cannot look at " + name, errno);
    }
    if (!S_ISREG(status.st_mode)) {
        throw Error(name + " is no regular file");
    }
    return static_cast<std::uint64_t>(status.st_size);
}

// At least one byte.
std::size_t read_at(const FileDescriptor& file, const std::string& name, std::byte* into, std::size_t size,
                    std::uint64_t offset) {
    ssize_t count = 0;
    do {
        count = ::pread(file.get(), into, size, static_cast<off_t>(offset));
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        throw Error::from_errno("cannot read " + name, errno);
    }
    if (count == 0) {
        throw Error(name + " became shorter while it was read");
    }
    return static_cast<std::size_t>(count);
}

}  // namespace

std::string FileDigest::text() const {
    return fmt::format("{:016x}{:016x}", high, low);
}

FileDigest digest_file(const FileDescriptor& file, const std::string& name) {
    const std::uint64_t length = length_of(file, name);
    const State state(XXH3_createState());
    if (!state || XXH3_128bits_reset(state.get()) != XXH_OK) {
        throw std::bad_alloc();
    }
    ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    std::vector<std::byte> buffer(std::min<std::uint64_t>(length, kBufferBytes));
    for (std::uint64_t offset = 0; offset < length;) {
        const std::size_t wanted = std::min<std::uint64_t>(length - offset, buffer.size());
        const std::size_t count = read_at(file, name, buffer.data(), wanted, offset);
        XXH3_128bits_update(state.get(), buffer.data(), count);
        offset += count;
    }
    const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
    return {.high = hash.high64, .low = hash.low64, .bytes = length};
}

FileDigest digest_file(const std::filesystem::path& path) {
    // Not blocking: a named pipe is refused, not waited for.
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file) {
        throw Error::from_errno("cannot open " + path.string(), errno);
    }
    return digest_file(file, path.string());
}

}  // namespace understudy
