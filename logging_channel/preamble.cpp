#include "logging_channel/preamble.hpp"

#include <cstring>

#include "common/bytes.hpp"

namespace understudy::channel {

namespace {

constexpr std::array<char, 8> kMagic = {'U', 'S', 'T', 'D', 'Y', 'C', 'H', 'N'};

}  // namespace

std::array<std::byte, kPreambleBytes> preamble(std::uint32_t version) {
    std::array<std::byte, kPreambleBytes> bytes{};
    std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
    write_little_endian(bytes.data() + kMagic.size(), version);
    return bytes;
}

std::optional<std::uint32_t> read_preamble(std::span<const std::byte> bytes) {
    if (bytes.size() < kPreambleBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
        return std::nullopt;
    }
    return read_little_endian<std::uint32_t>(bytes.subspan(kMagic.size()));
}

}  // namespace understudy::channel
