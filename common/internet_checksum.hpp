// The checksum of IP, TCP and UDP (RFC 1071).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace understudy::network {

// A sum over pieces of data, each of which but the last is of even length. Up to 16 GiB do not overflow it.
class InternetChecksum {
  public:
    InternetChecksum& add(std::span<const std::byte> bytes) {
        // The sum does not mind the order of bytes in a word, so the host's will do.
        std::size_t at = 0;
        for (; at + sizeof(std::uint32_t) <= bytes.size(); at += sizeof(std::uint32_t)) {
            std::uint32_t word = 0;
            std::memcpy(&word, bytes.data() + at, sizeof word);
            sum_ += word;
        }
        if (at < bytes.size()) {
            std::uint32_t word = 0;
            std::memcpy(&word, bytes.data() + at, bytes.size() - at);
            sum_ += word;
        }
        return *this;
    }
    // A number as it stands on the wire.
    InternetChecksum& add16(std::uint16_t value) {
        const std::byte bytes[] = {static_cast<std::byte>(value >> 8), static_cast<std::byte>(value & 0xff)};
        return add(bytes);
    }

    // Writes the checksum over the two bytes at `at`. `never_zero`: as 0xffff where it is 0, which in UDP says that
    // there is none, and in TCP the same number.
    void store(std::byte* at, bool never_zero) const {
        std::uint64_t sum = sum_;
        while (sum > 0xffff) {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        auto checksum = static_cast<std::uint16_t>(~sum);
        if (never_zero && checksum == 0) {
            checksum = 0xffff;
        }
        std::memcpy(at, &checksum, sizeof checksum);
    }

  private:
    std::uint64_t sum_ = 0;
};

}  // namespace understudy::network
