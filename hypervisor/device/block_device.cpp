#include "hypervisor/device/block_device.hpp"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/error.hpp"

namespace understudy::device {
namespace {

constexpr std::uint32_t kQueueSize = 128;
constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kMaxSegments = 126;
constexpr std::uint32_t kMaxSegmentBytes = 64U << 10;
constexpr std::size_t kMaxRequestBytes = std::size_t{kMaxSegments} * kMaxSegmentBytes;

}  // namespace

BlockDevice::BlockDevice(const std::filesystem::path& image)
    : path_(image), file_(::open(image.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    struct stat status {};
    if (!file_ || ::fstat(file_.get(), &status) != 0) {
        throw Error::from_errno(fmt::format("cannot open the image {}", path_.string()), errno);
    }
    bytes_ = static_cast<std::uint64_t>(status.st_size);
    if (!S_ISREG(status.st_mode) || bytes_ == 0 || bytes_ % kSector != 0) {
        throw Error::format(
            "{} is no image: it has to be a file of whole 512-byte sectors; 'understudy image' makes one",
            path_.string());
    }
}

std::uint32_t BlockDevice::id() const {
    return VIRTIO_ID_BLOCK;
}

std::uint64_t BlockDevice::features() const {
    return std::uint64_t{1} << VIRTIO_BLK_F_RO | std::uint64_t{1} << VIRTIO_BLK_F_SEG_MAX |
           std::uint64_t{1} << VIRTIO_BLK_F_SIZE_MAX;
}

std::vector<std::byte> BlockDevice::config() const {
    virtio_blk_config config{};
    config.capacity = bytes_ / kSector;
    config.seg_max = kMaxSegments;
    config.size_max = kMaxSegmentBytes;
    const auto bytes = std::as_bytes(std::span(&config, 1));
    return {bytes.begin(), bytes.end()};
}

std::vector<std::uint32_t> BlockDevice::queue_sizes() const {
    return {kQueueSize};
}

void BlockDevice::collect(std::span<Virtqueue> queues, std::vector<Output>& /*outputs*/) {
    queues[0].take_all([this](const Chain& chain) { return serve(chain); });
}

// A request: its header, the data, one byte of status. Returns how much of the chain was written.
std::uint32_t BlockDevice::serve(const Chain& chain) const {
    virtio_blk_outhdr header{};
    if (chain.readable.empty() || chain.readable.front().size() < sizeof header || chain.writable.empty() ||
        chain.writable.back().empty()) {
        return 0;
    }
    std::memcpy(&header, chain.readable.front().data(), sizeof header);
    std::vector<std::span<std::byte>> data = chain.writable;
    std::byte& status = data.back().back();
    data.back() = data.back().first(data.back().size() - 1);
    std::uint32_t written = 0;
    status = chain.writable_bytes() <= kMaxRequestBytes + 1
                 ? static_cast<std::byte>(carry_out(header.type, header.sector, data, written))
                 : std::byte{VIRTIO_BLK_S_IOERR};
    return written + 1;
}

std::uint8_t BlockDevice::carry_out(std::uint32_t type, std::uint64_t sector, std::span<std::span<std::byte>> data,
                                    std::uint32_t& written) const {
    switch (type) {
        case VIRTIO_BLK_T_IN:
            for (const auto part : data) {
                const std::uint64_t offset = sector * kSector + written;
                if (sector > bytes_ / kSector || offset > bytes_ || part.size() > bytes_ - offset) {
                    return VIRTIO_BLK_S_IOERR;
                }
                read(offset, part);
                written += static_cast<std::uint32_t>(part.size());
            }
            return VIRTIO_BLK_S_OK;
        case VIRTIO_BLK_T_FLUSH:
            return VIRTIO_BLK_S_OK;
        case VIRTIO_BLK_T_GET_ID: {
            static constexpr std::string_view kId = "understudy-image";
            if (data.empty() || data.front().size() < VIRTIO_BLK_ID_BYTES) {
                return VIRTIO_BLK_S_IOERR;
            }
            std::ranges::fill(data.front(), std::byte{0});
            std::memcpy(data.front().data(), kId.data(), kId.size());
            written = VIRTIO_BLK_ID_BYTES;
            return VIRTIO_BLK_S_OK;
        }
        default:
            return VIRTIO_BLK_S_UNSUPP;
    }
}

void BlockDevice::read(std::uint64_t offset, std::span<std::byte> into) const {
    while (!into.empty()) {
        const ssize_t n = ::pread(file_.get(), into.data(), into.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            throw Error::from_errno(fmt::format("cannot read the image {}", path_.string()), n < 0 ? errno : EIO);
        }
        into = into.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
}

}  // namespace understudy::device
