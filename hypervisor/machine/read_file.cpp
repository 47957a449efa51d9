#include "hypervisor/machine/read_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"

namespace understudy::machine {
namespace {

FileDescriptor open_regular(const std::filesystem::path& path, std::string_view what) {
    FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0) {
        throw Error::from_errno(fmt::format("cannot open the {} {}", what, path.string()), errno);
    }
    if (!S_ISREG(status.st_mode)) {
        throw Error::format("the {} {} is no regular file", what, path.string());
    }
    return file;
}

// Bytes read; 0 at the end.
std::size_t read_some(const FileDescriptor& file, std::span<std::byte> into, const std::filesystem::path& path) {
    for (;;) {
        const ssize_t got = ::read(file.get(), into.data(), into.size());
        if (got >= 0) {
            return static_cast<std::size_t>(got);
        }
        if (errno != EINTR) {
            throw Error::from_errno(fmt::format("cannot read {}", path.string()), errno);
        }
    }
}

constexpr std::size_t kPiece = 1U << 20;

}  // namespace

std::vector<std::byte> read_file(const std::filesystem::path& path, std::string_view what) {
    const FileDescriptor file = open_regular(path, what);
    std::vector<std::byte> content;
    for (;;) {
        struct stat status {};
        const std::size_t had = content.size();
        if (had > kMaxFileBytes ||
            (::fstat(file.get(), &status) == 0 && static_cast<std::uint64_t>(status.st_size) > kMaxFileBytes)) {
            throw Error::format("the {} {} is larger than {} MiB", what, path.string(), kMaxFileBytes >> 20);
        }
        content.resize(had + kPiece);
        const std::size_t got = read_some(file, std::span(content).subspan(had), path);
        content.resize(had + got);
        if (got == 0) {
            return content;
        }
    }
}

}  // namespace understudy::machine
