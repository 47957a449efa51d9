// virtio-blk (virtio 1.2, section 5.2) on an image file, read-only: every host has the same image (its digest is in the
// handshake), so what is read needs no record.
#pragma once

#include <filesystem>

#include "common/file_descriptor.hpp"
#include "hypervisor/device/device.hpp"

namespace understudy::device {

class BlockDevice final : public Device {
  public:
    // Throws understudy::Error when the image cannot be opened, or is no multiple of 512 bytes.
    explicit BlockDevice(const std::filesystem::path& image);

    [[nodiscard]] std::uint32_t id() const override;
    [[nodiscard]] std::uint64_t features() const override;
    [[nodiscard]] std::vector<std::byte> config() const override;
    [[nodiscard]] std::vector<std::uint32_t> queue_sizes() const override;
    // Throws understudy::Error when the host cannot read the image: this replica cannot go on.
    void collect(std::span<Virtqueue> queues, std::vector<Output>& outputs) override;

  private:
    [[nodiscard]] std::uint32_t serve(const Chain& chain) const;
    [[nodiscard]] std::uint8_t carry_out(std::uint32_t type, std::uint64_t sector, std::span<std::span<std::byte>> data,
                                         std::uint32_t& written) const;
    void read(std::uint64_t offset, std::span<std::byte> into) const;

    std::filesystem::path path_;
    FileDescriptor file_;
    std::uint64_t bytes_ = 0;
};

}  // namespace understudy::device
