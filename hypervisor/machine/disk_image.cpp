#include "hypervisor/machine/disk_image.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>

#include "common/bytes.hpp"
#include "common/error.hpp"
#include "common/file_descriptor.hpp"

namespace understudy::machine {
namespace {

using Head = std::array<std::byte, 2048>;  // all superblocks are in it

template <typename Integer>
Integer at(const Head& head, std::size_t offset) {
    return read_little_endian<Integer>(std::span(head).subspan(offset));
}

// The bytes that the file system claims: superblocks as in Linux's erofs_fs.h, squashfs_fs.h and ext4.h. Nothing: none
// of these.
std::optional<std::uint64_t> file_system_bytes(const Head& head) {
    constexpr std::size_t kErofs = 1024;
    constexpr std::size_t kExt4 = 1024;
    constexpr unsigned kMaxBlockBits = 16;
    if (at<std::uint32_t>(head, kErofs) == 0xe0f5e1e2) {
        const unsigned bits = at<std::uint8_t>(head, kErofs + 12);
        return std::uint64_t{at<std::uint32_t>(head, kErofs + 36)} << std::min(bits, kMaxBlockBits);
    }
    if (at<std::uint32_t>(head, 0) == 0x73717368) {
        return at<std::uint64_t>(head, 40);
    }
    if (at<std::uint16_t>(head, kExt4 + 56) == 0xef53) {
        constexpr std::uint32_t kHas64Bits = 0x80;
        const unsigned bits = 10 + at<std::uint32_t>(head, kExt4 + 24) % 8;
        const bool wide = (at<std::uint32_t>(head, kExt4 + 96) & kHas64Bits) != 0;
        const std::uint64_t high = wide ? at<std::uint32_t>(head, kExt4 + 336) & 0xffffU : 0;
        return (high << 32U | at<std::uint32_t>(head, kExt4 + 4)) << std::min(bits, kMaxBlockBits);
    }
    return std::nullopt;
}

}  // namespace

void check_disk_image(const std::filesystem::path& path, DiskUse use) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    Head head{};
    if (!file || ::fstat(file.get(), &status) != 0 || ::pread(file.get(), head.data(), head.size(), 0) < 0) {
        throw Error::from_errno(fmt::format("cannot read the image {}", path.string()), errno);
    }
    const auto bytes = file_system_bytes(head);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (bytes && *bytes > size) {
        throw Error::format("{} was cut short: its file system has {} bytes, the file {}; copy it again", path.string(),
                            *bytes, size);
    }
    if (!bytes && use == DiskUse::root) {
        throw Error::format(
            "{} is no image: it has no erofs, squashfs or ext4 file system; 'understudy image' makes one",
            path.string());
    }
}

}  // namespace understudy::machine
