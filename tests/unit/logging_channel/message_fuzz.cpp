// Any bytes as a stream from the peer: messages, then records and state, as what is in them. Records are also tried
// with their checksum put right, so that the fuzzer gets past it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "common/bytes.hpp"
#include "common/digest.hpp"
#include "common/message_stream.hpp"
#include "logging_channel/preamble.hpp"
#include "logging_channel/record_codec.hpp"
#include "logging_channel/state_codec.hpp"
#include "logging_channel/varint.hpp"

namespace {

using namespace understudy;
using namespace understudy::channel;

void decode_stream(std::span<const std::byte> bytes) {
    MessageReader decoder(1U << 20);
    std::size_t messages = 0;
    while (!bytes.empty()) {
        const auto space = decoder.space();
        const auto part = bytes.first(std::min({space.size(), bytes.size(), std::size_t{100}}));
        std::ranges::copy(part, space.begin());
        decoder.received(part.size());
        bytes = bytes.subspan(part.size());
        for (auto next = decoder.next(); !std::holds_alternative<MessageReader::NeedMore>(next);
             next = decoder.next()) {
            if (std::holds_alternative<MessageReader::Fault>(next)) {
                return;
            }
            ++messages;
        }
    }
}

// The bytes as the message of a record whose length and checksum are right.
void decode_record(std::span<const std::byte> message) {
    if (message.empty() || message.size() > kMaxRecordBytes) {
        return;
    }
    std::vector<std::byte> bytes;
    append_varint(bytes, static_cast<std::uint32_t>(message.size()));
    append_little_endian(bytes, static_cast<std::uint32_t>(digest(message, 0)));
    bytes.insert(bytes.end(), message.begin(), message.end());
    RecordDecoder decoder({}, 1_MiB);
    const auto decoded = decoder.decode(bytes);
    if (const auto* whole = std::get_if<DecodedRecord>(&decoded)) {
        // What was accepted can be written again and means the same.
        std::vector<std::byte> again;
        RecordEncoder().encode(whole->record, again);
        const auto second = RecordDecoder().decode(again);
        if (std::get<DecodedRecord>(second).record != whole->record) {
            std::abort();
        }
    }
}

void decode_state(std::span<const std::byte> bytes) {
    static std::vector<std::byte> memory(64 * kPageBytes);
    StateDecoder decoder(memory);
    while (bytes.size() >= 2 && !decoder.complete()) {
        const std::size_t size = std::min<std::size_t>(read_little_endian<std::uint16_t>(bytes), bytes.size() - 2);
        if (!decoder.accept(bytes.subspan(2, size))) {
            return;
        }
        bytes = bytes.subspan(2 + size);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    decode_stream(bytes);
    decode_record(bytes);
    decode_state(bytes);
    return 0;
}
