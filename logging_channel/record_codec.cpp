#include "logging_channel/record_codec.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/bytes.hpp"
#include "common/digest.hpp"
#include "common/require.hpp"
#include "logging_channel/page_codec.hpp"
#include "logging_channel/record.pb.h"
#include "logging_channel/varint.hpp"

namespace understudy::channel {

namespace {

constexpr std::uint64_t kNoDeadline = std::numeric_limits<std::uint64_t>::max();

std::uint32_t chained_checksum(std::span<const std::byte> message, std::uint32_t previous) {
    return static_cast<std::uint32_t>(digest(message, previous));
}

std::uint64_t clock_bits(GuestTime clock) {
    return static_cast<std::uint64_t>(clock.count());
}

// But for the frames.
void to_message(const Record& record, const LogBase& base, wire::LogRecord& message) {
    const Stop& stop = record.stop;
    message.set_stop_gap(stop.number.value - base.stop.value - 1);
    message.set_kind(static_cast<std::uint32_t>(stop.kind));
    message.set_request(static_cast<std::uint32_t>(stop.request));
    message.set_count_delta(stop.count.value - base.count.value);
    if (stop.kind != StopKind::idle) {
        message.set_argument(stop.argument);
    } else if (stop.argument != kNoDeadline) {
        // Differences of clocks wrap, here and in from_message alike, so that every value has its encoding.
        message.set_deadline(static_cast<std::int64_t>(stop.argument - clock_bits(base.clock)));
    }
    message.set_mark(record.mark);
    if (!record.mark) {
        message.set_clock_delta(static_cast<std::int64_t>(clock_bits(record.input.clock) - clock_bits(base.clock)));
    }
    message.set_answer(record.input.answer.data(), record.input.answer.size());
    message.set_typed(record.input.typed.data(), record.input.typed.size());
    message.set_registers(record.digests.registers);
    if (record.digests.outputs) {
        message.set_outputs(*record.digests.outputs);
    }
    if (record.delta) {
        message.set_processor(record.delta->processor.data(), record.delta->processor.size());
    }
    if (record.digests.memory) {
        message.set_memory(record.digests.memory->value);
        message.set_memory_first(record.digests.memory->pages.first);
        message.set_memory_count(record.digests.memory->pages.count);
    }
}

std::vector<std::byte> to_bytes(const std::string& text) {
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    return {data, data + text.size()};
}

bool kinds_are_known(const wire::LogRecord& message) {
    return message.kind() >= static_cast<std::uint32_t>(StopKind::idle) &&
           message.kind() <= static_cast<std::uint32_t>(kLastStopKind) &&
           message.request() <= static_cast<std::uint32_t>(kLastRequestKind);
}

// base + delta, where that does not overflow.
std::optional<std::uint64_t> advance(std::uint64_t base, std::uint64_t delta) {
    if (delta > std::numeric_limits<std::uint64_t>::max() - base) {
        return std::nullopt;
    }
    return base + delta;
}

// But for the frames.
std::optional<Record> from_message(const wire::LogRecord& message, const LogBase& base) {
    const auto before = advance(base.stop.value, message.stop_gap());
    const auto number = before ? advance(*before, 1) : std::nullopt;
    const auto count = advance(base.count.value, message.count_delta());
    const bool has_input = message.frames_size() > 0 || !message.answer().empty() || !message.typed().empty();
    const bool early_input = message.mark() && has_input;
    if (!number || !count || !kinds_are_known(message) || early_input) {
        return std::nullopt;
    }
    Record record;
    record.stop = {{*number}, StopKind(message.kind()), RequestKind(message.request()), {*count}, message.argument()};
    if (record.stop.kind == StopKind::idle) {
        record.stop.argument = message.has_deadline()
                                   ? clock_bits(base.clock) + static_cast<std::uint64_t>(message.deadline())
                                   : kNoDeadline;
    }
    record.mark = message.mark();
    if (!record.mark) {
        record.input.clock = GuestTime(
            static_cast<std::int64_t>(clock_bits(base.clock) + static_cast<std::uint64_t>(message.clock_delta())));
        if (!is_guest_time(record.input.clock)) {
            return std::nullopt;
        }
    }
    record.input.answer = to_bytes(message.answer());
    record.input.typed = to_bytes(message.typed());
    record.digests.registers = message.registers();
    if (message.has_outputs()) {
        record.digests.outputs = message.outputs();
    }
    if (message.has_memory()) {
        record.digests.memory = {{message.memory_first(), message.memory_count()}, message.memory()};
    }
    return record;
}

// What the entry behind `record` is relative to. Behind a mark comes the record that completes it: the same stop.
LogBase position(const Record& record, const LogBase& base) {
    if (record.mark) {
        return {{record.stop.number.value - 1}, record.stop.count, base.clock};
    }
    return {record.stop.number, record.stop.count, record.input.clock};
}

std::string bits_of(const std::vector<bool>& flags) {
    std::string bytes((flags.size() + 7) / 8, '\0');
    for (std::size_t i = 0; i < flags.size(); ++i) {
        if (flags[i]) {
            bytes[i / 8] = static_cast<char>(static_cast<unsigned char>(bytes[i / 8]) | 1U << i % 8);
        }
    }
    return bytes;
}

// False: they are not so many.
bool take_bits(std::string_view bytes, std::vector<bool>& flags) {
    if (bytes.size() != (flags.size() + 7) / 8) {
        return false;
    }
    for (std::size_t i = 0; i < flags.size(); ++i) {
        flags[i] = (static_cast<unsigned char>(bytes[i / 8]) >> i % 8 & 1U) != 0;
    }
    return true;
}

}  // namespace

RecordEncoder::RecordEncoder(LogBase base) : message_(std::make_unique<wire::LogRecord>()), base_(base) {}
RecordEncoder::~RecordEncoder() = default;
RecordEncoder::RecordEncoder(RecordEncoder&&) noexcept = default;
RecordEncoder& RecordEncoder::operator=(RecordEncoder&&) noexcept = default;

std::size_t RecordEncoder::encode(const Record& record, std::vector<std::byte>& out) {
    require(record.stop.number > base_.stop, "a stop number that does not grow");
    require(record.stop.count >= base_.count, "an instruction count that decreases");
    require((record.stop.kind == StopKind::interrupt) == (record.delta != nullptr), "a delta of the wrong stop");
    std::size_t size = 0;
    if (record.delta) {
        for (const EncodedPages& pages : record.delta->pages) {
            size += encode(pages, out);
        }
    }
    message_->Clear();
    to_message(record, base_, *message_);
    std::size_t frame_bytes = 0;
    for (const Frame& frame : record.input.frames) {
        frame_bytes += frame.size();
        require(is_frame_size(frame.size()) && frame_bytes <= kMaxInputFrameBytes, "frames of a wrong length");
        frames_.encode(frame, *message_->add_frames());
    }
    size += append(out);
    base_ = position(record, base_);
    return size;
}

std::size_t RecordEncoder::encode(const EncodedPages& pages, std::vector<std::byte>& out) {
    message_->Clear();
    wire::CopiedPages& copied = *message_->mutable_pages();
    std::uint64_t next = 0;
    for (const std::uint64_t number : pages.numbers) {
        copied.add_gaps(number - next);
        next = number + 1;
    }
    copied.set_data(pages.content.data(), pages.content.size());
    copied.set_zstd(pages.compressed);
    if (std::ranges::find(pages.differences, true) != pages.differences.end()) {
        copied.set_differences(bits_of(pages.differences));
    }
    return append(out);
}

// The message, as the next entry.
std::size_t RecordEncoder::append(std::vector<std::byte>& out) {
    const std::size_t length = message_->ByteSizeLong();
    require(length <= kMaxRecordBytes, "more input than one record holds");

    const std::size_t start = out.size();
    append_varint(out, static_cast<std::uint32_t>(length));
    const std::size_t checksum_at = out.size();
    out.resize(checksum_at + sizeof(chain_) + length);
    std::byte* body = out.data() + checksum_at + sizeof(chain_);
    message_->SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(body));
    chain_ = chained_checksum({body, length}, chain_);
    write_little_endian(out.data() + checksum_at, chain_);
    return out.size() - start;
}

std::string_view describe(RecordFault fault) {
    switch (fault) {
        case RecordFault::truncated:
            return "the record is cut off";
        case RecordFault::bad_length:
            return "the record's length is impossible";
        case RecordFault::bad_checksum:
            return "the record's checksum is wrong";
        case RecordFault::malformed:
            return "the record does not parse";
        case RecordFault::bad_value:
            return "the record holds a value out of range";
    }
    return "the record has an unknown fault";
}

RecordDecoder::RecordDecoder(LogBase base, Bytes memory)
    : message_(std::make_unique<wire::LogRecord>()), base_(base), memory_pages_(memory.value / kPageBytes) {}
RecordDecoder::~RecordDecoder() = default;
RecordDecoder::RecordDecoder(RecordDecoder&&) noexcept = default;
RecordDecoder& RecordDecoder::operator=(RecordDecoder&&) noexcept = default;

// False: they lie outside memory, or there are more of them than memory has.
bool RecordDecoder::keep_pages() {
    const wire::CopiedPages& copied = message_->pages();
    EncodedPages pages;
    std::uint64_t next = 0;
    for (const std::uint64_t gap : copied.gaps()) {
        const auto number = advance(next, gap);
        if (!number || *number >= memory_pages_) {
            return false;
        }
        pages.numbers.push_back(*number);
        next = *number + 1;
    }
    kept_ += pages.numbers.size();
    if (pages.numbers.empty() || pages.numbers.size() > kMaxEncodedPages || kept_ > memory_pages_ ||
        copied.data().size() > pages.numbers.size() * kPageBytes) {
        return false;
    }
    pages.content = to_bytes(copied.data());
    pages.compressed = copied.zstd();
    if (!pages.content.empty() || pages.compressed) {
        pages.differences.resize(pages.numbers.size());
    }
    if (!copied.differences().empty() && !take_bits(copied.differences(), pages.differences)) {
        return false;
    }
    pages_.push_back(std::move(pages));
    return true;
}

// False: one of them is none, or they are more than one stop takes.
bool RecordDecoder::take_frames(std::vector<Frame>& frames) {
    std::size_t bytes = 0;
    for (const std::string& encoded : message_->frames()) {
        auto frame = frames_.decode(encoded);
        if (!frame || frame->size() > kMaxInputFrameBytes - bytes) {
            return false;
        }
        bytes += frame->size();
        frames.push_back(*std::move(frame));
    }
    return true;
}

// False: the stop and the delta do not belong together.
bool RecordDecoder::complete_delta(Record& record) {
    const bool copied = record.stop.kind == StopKind::interrupt;
    if (copied == message_->processor().empty() || (!copied && !pages_.empty()) || (copied && record.mark)) {
        return false;
    }
    if (copied) {
        record.delta = std::make_shared<Delta>(Delta{to_bytes(message_->processor()), std::exchange(pages_, {})});
        kept_ = 0;
    }
    return true;
}

DecodedEntry RecordDecoder::decode(std::span<const std::byte> bytes) {
    const Varint length = read_varint(bytes);
    if (!length.valid || (length.size != 0 && (length.value == 0 || length.value > kMaxRecordBytes))) {
        return RecordFault::bad_length;
    }
    const std::size_t size = length.size + sizeof(chain_) + length.value;
    if (length.size == 0 || bytes.size() < size) {
        return RecordFault::truncated;
    }
    const auto expected = read_little_endian<std::uint32_t>(bytes.subspan(length.size, sizeof(chain_)));
    const auto body = bytes.subspan(length.size + sizeof(chain_), length.value);
    if (chained_checksum(body, chain_) != expected) {
        return RecordFault::bad_checksum;
    }
    if (!message_->ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        return RecordFault::malformed;
    }
    if (message_->has_pages()) {
        if (!keep_pages()) {
            return RecordFault::bad_value;
        }
        chain_ = expected;
        return DecodedPages{size};
    }
    auto record = from_message(*message_, base_);
    if (!record || !complete_delta(*record) || !take_frames(record->input.frames)) {
        return RecordFault::bad_value;
    }
    chain_ = expected;
    base_ = position(*record, base_);
    return DecodedRecord{std::move(*record), size};
}

}  // namespace understudy::channel
