#include "logging_channel/record_codec.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/bytes.hpp"
#include "common/digest.hpp"
#include "logging_channel/record.pb.h"
#include "logging_channel/varint.hpp"
#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::channel {
namespace {

using testing::Sampler;

DecodedEntry decode_fresh(std::span<const std::byte> bytes) {
    return RecordDecoder().decode(bytes);
}

Record idle_record() {
    Record record;
    record.stop = {{1}, StopKind::idle, RequestKind::none, {1000}, 5000};
    record.input.clock = GuestTime(2000);
    record.digests.registers = 0x1122334455667788;
    return record;
}

// These bytes stand in files: a change here is a new format version.
TEST(RecordCodec, GoldenBytes) {
    RecordEncoder encoder;
    std::vector<std::byte> bytes;
    const std::size_t size = encoder.encode(idle_record(), bytes);
    EXPECT_EQ(size, bytes.size());
    EXPECT_EQ(testing::hex(bytes),
              "14"                    // length
              "38bea785"              // checksum
              "1001"                  // kind
              "20e807"                // count_delta 1000
              "30904e"                // deadline 5000, zigzag
              "38a01f"                // clock_delta 2000, zigzag
              "518877665544332211");  // registers

    Record next;
    next.stop = {{2}, StopKind::request, RequestKind::rdtsc, {1001}, 7};
    next.input.clock = GuestTime(2500);
    next.input.answer = testing::bytes_of("ANSWER!!");
    next.input.frames = {testing::bytes_of("a frame's bytes")};
    next.digests = {1, 2, MemoryDigest{{}, 3}};
    bytes.clear();
    encoder.encode(next, bytes);
    EXPECT_EQ(testing::hex(bytes),
              "43"
              "66d3ec9b"
              "1003"                  // kind
              "1801"                  // request
              "2001"                  // count_delta 1
              "2807"                  // argument
              "38e807"                // clock_delta 500, zigzag
              "4a08414e535745522121"  // answer
              "510100000000000000"    // digests: registers, outputs, memory
              "590200000000000000"
              "610300000000000000"
              "9a01100061206672616d652773206279746573");  // a frame, as it is

    Record typed;
    typed.stop = {{3}, StopKind::request, RequestKind::device, {1001}, 2};
    typed.input.clock = GuestTime(2500);
    typed.input.typed = testing::bytes_of("ls\n");
    bytes.clear();
    encoder.encode(typed, bytes);
    EXPECT_EQ(testing::hex(bytes),
              "0b"
              "88869f05"
              "1003"          // kind
              "180c"          // request
              "2802"          // argument: the device
              "72036c730a");  // typed
}

TEST(RecordCodec, AnUnknownRequestIsRefused) {
    Record record = idle_record();
    record.stop.kind = StopKind::request;
    record.stop.request = RequestKind(static_cast<unsigned>(kLastRequestKind) + 1);
    std::vector<std::byte> bytes;
    RecordEncoder().encode(record, bytes);
    EXPECT_EQ(std::get<RecordFault>(decode_fresh(bytes)), RecordFault::bad_value);
}

TEST(RecordCodec, EveryRecordComesBack) {
    Sampler sampler(1);
    RecordEncoder encoder;
    RecordDecoder decoder;
    std::vector<std::byte> bytes;
    std::vector<Record> records;
    for (int i = 0; i < 2000; ++i) {
        records.push_back(sampler.record());
        encoder.encode(records.back(), bytes);
    }
    std::span<const std::byte> rest(bytes);
    for (const Record& record : records) {
        auto decoded = decoder.decode(rest);
        ASSERT_TRUE(std::holds_alternative<DecodedRecord>(decoded)) << describe(std::get<RecordFault>(decoded));
        ASSERT_EQ(std::get<DecodedRecord>(decoded).record, record);
        rest = rest.subspan(std::get<DecodedRecord>(decoded).size);
    }
    EXPECT_TRUE(rest.empty());
    EXPECT_EQ(decoder.chain(), encoder.chain());
}

TEST(RecordCodec, ContinuesFromTheBaseOfATransfer) {
    const LogBase base{{100}, {5000}, GuestTime(70000)};
    Record record;
    record.stop = {{101}, StopKind::budget, RequestKind::none, {5500}, 0};
    record.input.clock = GuestTime(71000);
    std::vector<std::byte> bytes;
    RecordEncoder encoder(base);
    encoder.encode(record, bytes);
    RecordDecoder decoder(base);
    const auto decoded = decoder.decode(bytes);
    ASSERT_TRUE(std::holds_alternative<DecodedRecord>(decoded));
    EXPECT_EQ(std::get<DecodedRecord>(decoded).record, record);
    EXPECT_EQ(decoder.base(), (LogBase{{101}, {5500}, GuestTime(71000)}));
}

TEST(RecordCodec, EveryPrefixIsTruncatedAndChangesNothing) {
    Sampler sampler(2);
    RecordEncoder encoder;
    RecordDecoder decoder;
    for (int i = 0; i < 20; ++i) {
        const Record record = sampler.record();
        std::vector<std::byte> bytes;
        encoder.encode(record, bytes);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            const auto decoded = decoder.decode(std::span(bytes).first(size));
            ASSERT_TRUE(std::holds_alternative<RecordFault>(decoded));
            ASSERT_EQ(std::get<RecordFault>(decoded), RecordFault::truncated) << size;
        }
        ASSERT_TRUE(std::holds_alternative<DecodedRecord>(decoder.decode(bytes)));
    }
}

TEST(RecordCodec, EveryFlippedBitShows) {
    Sampler sampler(3);
    const Record record = sampler.record();
    std::vector<std::byte> bytes;
    RecordEncoder().encode(record, bytes);
    // Each of the first; of what is behind, long content, one here and one there.
    constexpr std::size_t kFirst = 4096;
    for (std::size_t bit = 0; bit < 8 * bytes.size(); bit += bit < kFirst ? 1 : 13) {
        auto damaged = bytes;
        damaged[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        damaged.resize(damaged.size() + 300);  // so that a longer length finds bytes
        EXPECT_TRUE(std::holds_alternative<RecordFault>(decode_fresh(damaged))) << "bit " << bit;
    }
}

TEST(RecordCodec, AMissingRepeatedOrMovedRecordShows) {
    Sampler sampler(4);
    RecordEncoder encoder;
    std::vector<std::vector<std::byte>> encoded(3);
    for (auto& bytes : encoded) {
        encoder.encode(sampler.record(), bytes);
    }
    const auto decode_in_order = [&](std::initializer_list<std::size_t> order) {
        RecordDecoder decoder;
        for (const std::size_t i : order) {
            const auto decoded = decoder.decode(encoded[i]);
            if (std::holds_alternative<RecordFault>(decoded)) {
                return std::get<RecordFault>(decoded);
            }
        }
        return RecordFault::truncated;
    };
    EXPECT_EQ(decode_in_order({0, 1, 2}), RecordFault::truncated);  // no fault: more may come
    EXPECT_EQ(decode_in_order({0, 2}), RecordFault::bad_checksum);
    EXPECT_EQ(decode_in_order({0, 0}), RecordFault::bad_checksum);
    EXPECT_EQ(decode_in_order({1}), RecordFault::bad_checksum);
}

TEST(RecordCodec, ImpossibleLengthsAreRefusedBeforeAnyByteIsAwaited) {
    const auto fault = [](std::initializer_list<int> values) {
        std::vector<std::byte> bytes;
        for (const int value : values) {
            bytes.push_back(static_cast<std::byte>(value));
        }
        return std::get<RecordFault>(decode_fresh(bytes));
    };
    EXPECT_EQ(fault({0}), RecordFault::bad_length);
    EXPECT_EQ(fault({0x80, 0x00}), RecordFault::bad_length);                    // 0, in two bytes
    EXPECT_EQ(fault({0xff, 0xff, 0xff, 0xff, 0xff}), RecordFault::bad_length);  // never ends
    EXPECT_EQ(fault({0xff, 0xff, 0xff, 0xff, 0x0f}), RecordFault::bad_length);  // 4 GiB
    EXPECT_EQ(fault({0x81, 0x80, 0x80, 0x02}), RecordFault::bad_length);        // one byte more than the bound
    EXPECT_EQ(fault({0x80, 0x80, 0x80, 0x02}), RecordFault::truncated);         // the bound itself
}

TEST(RecordCodec, LogVolumeStaysUnderTheBudget) {
    Sampler sampler(5);
    RecordEncoder encoder;
    std::vector<std::byte> bytes;
    std::uint64_t input = 0;
    constexpr int kRecords = 5000;  // of one second
    for (int i = 1; i <= kRecords; ++i) {
        Record record;
        const auto clock = static_cast<std::uint64_t>(i) * 200'000;
        record.stop = {{static_cast<std::uint64_t>(i)},
                       StopKind::idle,
                       RequestKind::none,
                       {static_cast<std::uint64_t>(i) * 300'000},
                       clock + 250'000'000};
        record.input.clock = GuestTime(clock);
        record.input.frames = {sampler.noise(100), sampler.noise(66)};
        record.digests = {sampler.below(~0ULL), sampler.below(~0ULL), std::nullopt};
        input += 166;
        encoder.encode(record, bytes);
    }
    EXPECT_LE(static_cast<double>(bytes.size()), 1.2 * static_cast<double>(input) + 200'000.0);
}

using RecordCodecDeathTest = ::testing::Test;

TEST(RecordCodecDeathTest, ARecordThatNoDecoderTakesIsAProgrammersError) {
    std::vector<std::byte> bytes;
    Record stuck = idle_record();
    stuck.stop.number = {0};
    EXPECT_DEATH(RecordEncoder().encode(stuck, bytes), "stop number");
    Record runt = idle_record();
    runt.input.frames = {Frame(13)};
    EXPECT_DEATH(RecordEncoder().encode(runt, bytes), "frames of a wrong length");
    Record many = idle_record();
    many.input.frames.assign(3000, Frame(1514));
    EXPECT_DEATH(RecordEncoder().encode(many, bytes), "frames of a wrong length");
    Record huge = idle_record();
    huge.input.answer.resize(kMaxRecordBytes);
    EXPECT_DEATH(RecordEncoder().encode(huge, bytes), "more input than one record holds");
}

// Frames that are all alike take three bytes each.
TEST(RecordCodec, MoreFramesThanAStopTakesAreRefusedHoweverSmallTheyCome) {
    for (const std::size_t beyond : {0U, 1U}) {
        wire::LogRecord message;
        message.set_kind(static_cast<std::uint32_t>(StopKind::idle));
        for (std::size_t i = 0; i < kMaxInputFrameBytes / FrameCodec::kMaxHeadBytes + beyond; ++i) {
            message.add_frames("\x80\0\0", 3);
        }
        const std::string body = message.SerializeAsString();
        std::vector<std::byte> bytes;
        append_varint(bytes, static_cast<std::uint32_t>(body.size()));
        append_little_endian(bytes, static_cast<std::uint32_t>(digest(as_bytes(body), 0)));
        bytes.insert(bytes.end(), as_bytes(body).begin(), as_bytes(body).end());
        const auto decoded = decode_fresh(bytes);
        EXPECT_EQ(std::holds_alternative<DecodedRecord>(decoded), beyond == 0);
    }
}

// A mark and the record that completes it are two entries of one stop.
TEST(RecordCodec, MarkIsCompletedByARecordOfTheSameStop) {
    RecordEncoder encoder;
    RecordDecoder decoder;
    Record mark;
    mark.stop = {{1}, StopKind::idle, RequestKind::none, {40}, 5000};
    mark.digests.registers = 77;
    mark.mark = true;
    Record completed = mark;
    completed.mark = false;
    completed.input.clock = GuestTime(900);
    Record after = completed;
    after.stop.number = {2};
    std::vector<std::byte> bytes;
    for (const Record& record : {mark, completed, after}) {
        encoder.encode(record, bytes);
    }
    std::span<const std::byte> rest(bytes);
    for (const Record& record : {mark, completed, after}) {
        const auto decoded = decoder.decode(rest);
        ASSERT_TRUE(std::holds_alternative<DecodedRecord>(decoded));
        EXPECT_EQ(std::get<DecodedRecord>(decoded).record, record);
        rest = rest.subspan(std::get<DecodedRecord>(decoded).size);
    }
}

TEST(RecordCodec, AnImpossibleClockIsRefused) {
    for (const GuestTime clock : {GuestTime::min(), GuestTime(-1), kMaxGuestTime + GuestTime(1), GuestTime::max()}) {
        Record record = idle_record();
        record.input.clock = clock;
        std::vector<std::byte> bytes;
        RecordEncoder().encode(record, bytes);
        EXPECT_EQ(std::get<RecordFault>(decode_fresh(bytes)), RecordFault::bad_value) << clock.count();
    }
}

TEST(RecordCodec, AMarkWithInputIsRefused) {
    Input answered;
    answered.answer = testing::bytes_of("too early");
    Input typed;
    typed.typed = testing::bytes_of("too early");
    for (const Input& input : {answered, typed}) {
        Record record = idle_record();
        record.mark = true;
        record.input = input;
        std::vector<std::byte> bytes;
        RecordEncoder().encode(record, bytes);
        EXPECT_EQ(std::get<RecordFault>(decode_fresh(bytes)), RecordFault::bad_value);
    }
}

}  // namespace
}  // namespace understudy::channel
