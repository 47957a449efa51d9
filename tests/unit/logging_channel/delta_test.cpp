// Intervals that were copied: their pages as bytes, and their place in the log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "logging_channel/page_codec.hpp"
#include "logging_channel/record_codec.hpp"
#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::channel {
namespace {

using testing::bytes_of;
using testing::Sampler;

constexpr Bytes kMemory = 4_MiB;
constexpr std::uint64_t kPages = kMemory.value / kPageBytes;

EncodedPages pages_of(std::vector<std::uint64_t> numbers) {
    std::vector<std::byte> content(numbers.size() * kPageBytes);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        content[i * kPageBytes] = static_cast<std::byte>(numbers[i]);
    }
    return encode_pages(std::move(numbers), content);
}

Record interrupted(std::uint64_t stop, std::vector<EncodedPages> pages) {
    Record record;
    record.stop = {{stop}, StopKind::interrupt, RequestKind::none, {1000 * stop}, 0};
    record.input.clock = GuestTime(5000 * stop);
    record.delta = std::make_shared<Delta>(Delta{bytes_of("a processor"), std::move(pages)});
    return record;
}

// What decoding all of `bytes` ends with: a record, or a fault.
std::variant<Record, RecordFault> last_of(std::span<const std::byte> bytes, Bytes memory = kMemory) {
    RecordDecoder decoder({}, memory);
    Record last;
    while (!bytes.empty()) {
        auto entry = decoder.decode(bytes);
        if (const auto* fault = std::get_if<RecordFault>(&entry)) {
            return *fault;
        }
        if (const auto* pages = std::get_if<DecodedPages>(&entry)) {
            bytes = bytes.subspan(pages->size);
            continue;
        }
        auto& record = std::get<DecodedRecord>(entry);
        bytes = bytes.subspan(record.size);
        last = std::move(record.record);
    }
    return last;
}

TEST(PageCodec, PagesComeBack) {
    Sampler sampler(1);
    for (const bool compressible : {true, false}) {
        std::vector<std::byte> content =
            compressible ? std::vector<std::byte>(3 * kPageBytes, std::byte{7}) : sampler.noise(3 * kPageBytes);
        const EncodedPages pages = encode_pages({1, 5, 1000}, content);
        EXPECT_EQ(pages.compressed, compressible);
        EXPECT_EQ(pages.content.size() < content.size(), compressible);
        EXPECT_EQ(decode_pages(pages), content);
    }
}

TEST(PageCodec, BytesThatAreNoPagesAreRefused) {
    EncodedPages pages = pages_of({1, 2});
    pages.numbers.push_back(3);
    EXPECT_EQ(decode_pages(pages), std::nullopt);
    pages = {{1}, bytes_of("short"), false};
    EXPECT_EQ(decode_pages(pages), std::nullopt);
    pages = {{1}, bytes_of("no zstd frame"), true};
    EXPECT_EQ(decode_pages(pages), std::nullopt);
    pages = {std::vector<std::uint64_t>(kMaxEncodedPages + 1), {}, true};
    EXPECT_EQ(decode_pages(pages), std::nullopt);
}

TEST(Delta, PagesGoBeforeTheirRecordAndComeBackWithIt) {
    const Record whole = interrupted(1, {pages_of({0, 1, 7}), pages_of({8, kPages - 1})});
    std::vector<std::byte> at_once;
    RecordEncoder().encode(whole, at_once);
    EXPECT_EQ(std::get<Record>(last_of(at_once)), whole);

    std::vector<std::byte> piecemeal;
    RecordEncoder encoder;
    for (const EncodedPages& pages : whole.delta->pages) {
        encoder.encode(pages, piecemeal);
    }
    encoder.encode(interrupted(1, {}), piecemeal);
    EXPECT_EQ(piecemeal, at_once);
}

TEST(Delta, TheNextOneStartsEmpty) {
    std::vector<std::byte> bytes;
    RecordEncoder encoder;
    encoder.encode(interrupted(1, {pages_of({3})}), bytes);
    encoder.encode(interrupted(2, {}), bytes);
    EXPECT_EQ(std::get<Record>(last_of(bytes)), interrupted(2, {}));
}

TEST(Delta, PagesBeyondMemoryAreRefused) {
    std::vector<std::byte> bytes;
    RecordEncoder().encode(pages_of({kPages}), bytes);
    EXPECT_EQ(std::get<RecordFault>(last_of(bytes)), RecordFault::bad_value);
    bytes.clear();
    RecordEncoder().encode(pages_of({1}), bytes);
    EXPECT_EQ(std::get<RecordFault>(last_of(bytes, {0})), RecordFault::bad_value);
}

// What is kept of them is bounded by what they can overwrite.
TEST(Delta, MorePagesThanMemoryHasAreRefused) {
    std::vector<std::byte> bytes;
    RecordEncoder encoder;
    for (std::uint64_t page = 0; page <= kPages; ++page) {
        encoder.encode(pages_of({page % 2}), bytes);
    }
    EXPECT_EQ(std::get<RecordFault>(last_of(bytes)), RecordFault::bad_value);
}

TEST(Delta, EmptyEntriesAreRefused) {
    std::vector<std::byte> bytes;
    RecordEncoder().encode(EncodedPages{}, bytes);
    EXPECT_EQ(std::get<RecordFault>(last_of(bytes)), RecordFault::bad_value);
}

TEST(Delta, BelongsToAnInterruptStopAndToNoOther) {
    std::vector<std::byte> bytes;
    RecordEncoder encoder;
    encoder.encode(pages_of({1}), bytes);
    Record idle;
    idle.stop = {{1}, StopKind::idle, RequestKind::none, {1}, 0};
    encoder.encode(idle, bytes);
    EXPECT_EQ(std::get<RecordFault>(last_of(bytes)), RecordFault::bad_value);

    bytes.clear();
    Record without = interrupted(1, {});
    without.delta = std::make_shared<Delta>();
    RecordEncoder().encode(without, bytes);
    EXPECT_EQ(std::get<RecordFault>(last_of(bytes)), RecordFault::bad_value);

    bytes.clear();
    Record mark = interrupted(1, {});
    mark.mark = true;
    RecordEncoder().encode(mark, bytes);
    EXPECT_EQ(std::get<RecordFault>(last_of(bytes)), RecordFault::bad_value);
}

TEST(Delta, AFileCutOffWithinOneEndsBeforeIt) {
    const testing::TemporaryFile file("delta.log");
    LogHeader header;
    header.guest.memory = kMemory;
    const std::vector<std::byte> memory(kMemory.value);
    Record idle;
    idle.stop = {{1}, StopKind::idle, RequestKind::none, {1}, 0};
    {
        LogWriter writer(file.path(), header, memory, bytes_of("vcpu"));
        writer.append(idle);
        writer.append(pages_of({1, 2}));
        writer.append(interrupted(2, {pages_of({9})}));
        writer.append(pages_of({3}));
        // The recorder dies before the record.
    }
    LogReader reader(file.path());
    reader.skip_state();
    EXPECT_EQ(std::get<Record>(reader.next()).stop.number, StopNumber{1});
    EXPECT_EQ(std::get<Record>(reader.next()), interrupted(2, {pages_of({1, 2}), pages_of({9})}));
    const auto end = std::get<LogEnd>(reader.next());
    EXPECT_EQ(end.how, LogEnd::How::unfinished);
    EXPECT_EQ(end.last, StopNumber{2});
    EXPECT_EQ(end.records, 2U);
}

using DeltaDeathTest = ::testing::Test;

TEST(DeltaDeathTest, AnInterruptWithoutOneIsAProgrammersError) {
    Record record = interrupted(1, {});
    record.delta = nullptr;
    std::vector<std::byte> bytes;
    EXPECT_DEATH(RecordEncoder().encode(record, bytes), "a delta of the wrong stop");
}

}  // namespace
}  // namespace understudy::channel
