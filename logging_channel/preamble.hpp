// The logging channel's bytes. Each side begins with a preamble; behind it come messages (common/message_stream.hpp),
// each a wire::Message (channel.proto). Numbers are little-endian:
//
//   offset size
//        0    8  "USTDYCHN"
//        8    4  kProtocolVersion
//
// The preamble stays as it is in every version to come, so that two versions can tell each other apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "logging_channel/record_codec.hpp"

namespace understudy::channel {

constexpr std::uint32_t kProtocolVersion = 5;
constexpr std::size_t kPreambleBytes = 12;
// Records are gathered into one message up to this size; one more may follow before it is sent.
constexpr std::size_t kRecordBatchBytes = 256U << 10;
constexpr std::size_t kMaxMessageBytes = kMaxRecordBytes + kRecordBatchBytes + 1024;
// Before the handshake nobody may send more.
constexpr std::size_t kMaxHandshakeBytes = 64U << 10;

[[nodiscard]] std::array<std::byte, kPreambleBytes> preamble(std::uint32_t version = kProtocolVersion);

// The version in a preamble, or nothing: the peer is no logging channel. `bytes` holds kPreambleBytes.
[[nodiscard]] std::optional<std::uint32_t> read_preamble(std::span<const std::byte> bytes);

}  // namespace understudy::channel
