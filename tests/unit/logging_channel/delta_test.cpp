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
    return PageEncoder().encode(std::move(numbers), std::move(content));
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
        const EncodedPages pages = PageEncoder().encode({1, 5, 1000}, content);
        EXPECT_EQ(pages.compressed, compressible);
        EXPECT_EQ(pages.content.size() < content.size(), compressible);
        EXPECT_EQ(PageDecoder().decode(pages), content);
    }
}

TEST(PageCodec, ZerosAreNumbersAlone) {
    PageEncoder encoder;
    PageDecoder decoder;
    const std::vector<std::byte> content(kPageBytes, std::byte{7});
    EXPECT_EQ(decoder.decode(encoder.encode({1}, content)), content);
    const EncodedPages zeros = encoder.encode({1, 2, 900}, {});
    EXPECT_TRUE(zeros.content.empty());
    EXPECT_EQ(decoder.decode(zeros), std::vector<std::byte>());
    EXPECT_EQ(decoder.decode(encoder.encode({1}, content)), content) << "as it went last, with something in it";
}

// What is written again with nearly the same costs next to nothing; what was written anew goes as it is.
TEST(PageCodec, WhatWentBeforeGoesAsADifference) {
    Sampler sampler(1);
    std::vector<std::byte> content = sampler.noise(3 * kPageBytes);
    PageEncoder encoder;
    PageDecoder decoder;
    EXPECT_EQ(decoder.decode(encoder.encode({1, 2, 3}, content)), content);

    content[kPageBytes] ^= std::byte{1};  // page 2
    const auto anew = sampler.noise(kPageBytes);
    std::ranges::copy(anew, content.begin() + 2 * kPageBytes);
    const EncodedPages pages = encoder.encode({1, 2, 3}, content);
    EXPECT_EQ(pages.differences, (std::vector<bool>{true, true, false}));
    EXPECT_LT(pages.content.size(), kPageBytes + 200);
    EXPECT_EQ(decoder.decode(pages), content);
    EXPECT_EQ(PageDecoder().decode(pages), std::nullopt);
}

// What is kept is bounded: pages far from one another share a place.
TEST(PageCodec, WhatIsNotKnownAnyMoreGoesWhole) {
    constexpr std::uint64_t kFar = 1U << 20U;
    Sampler sampler(1);
    PageEncoder encoder;
    PageDecoder decoder;
    for (const std::uint64_t number : {std::uint64_t{7}, 7 + kFar, std::uint64_t{7}, std::uint64_t{7}}) {
        const auto content = sampler.noise(kPageBytes);
        const EncodedPages pages = encoder.encode({number}, content);
        EXPECT_EQ(pages.differences, std::vector<bool>{false});
        EXPECT_EQ(decoder.decode(pages), content);
    }
}

TEST(PageCodec, BytesThatAreNoPagesAreRefused) {
    EncodedPages pages = pages_of({1, 2});
    pages.numbers.push_back(3);
    EXPECT_EQ(PageDecoder().decode(pages), std::nullopt);
    pages.differences.push_back(false);
    EXPECT_EQ(PageDecoder().decode(pages), std::nullopt);
    pages = {{1}, bytes_of("short"), false, {false}};
    EXPECT_EQ(PageDecoder().decode(pages), std::nullopt);
    pages = {{1}, bytes_of("no zstd frame"), true, {false}};
    EXPECT_EQ(PageDecoder().decode(pages), std::nullopt);
    constexpr std::size_t kTooMany = kMaxEncodedPages + 1;
    pages = {std::vector<std::uint64_t>(kTooMany), {}, true, std::vector<bool>(kTooMany)};
    EXPECT_EQ(PageDecoder().decode(pages), std::nullopt);
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

TEST(Delta, ZerosComeBack) {
    const Record whole = interrupted(1, {pages_of({1}), PageEncoder().encode({2, 3, 7}, {})});
    std::vector<std::byte> bytes;
    RecordEncoder().encode(whole, bytes);
    EXPECT_EQ(std::get<Record>(last_of(bytes)), whole);
}

TEST(Delta, DifferencesComeBack) {
    PageEncoder encoder;
    const std::vector<std::byte> content(9 * kPageBytes, std::byte{7});
    const std::vector<std::uint64_t> numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    std::vector<EncodedPages> pages;
    pages.push_back(encoder.encode(numbers, content));
    pages.push_back(encoder.encode(numbers, content));
    pages[1].differences[3] = false;
    const Record whole = interrupted(1, pages);
    std::vector<std::byte> bytes;
    RecordEncoder().encode(whole, bytes);
    EXPECT_EQ(std::get<Record>(last_of(bytes)), whole);
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
