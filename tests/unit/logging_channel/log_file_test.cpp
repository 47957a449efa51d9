#include "logging_channel/log_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.hpp"
#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::channel {
namespace {

using ::testing::HasSubstr;
using testing::Sampler;
using testing::TemporaryFile;

LogHeader sample_header() {
    LogHeader header;
    header.vm = "web";
    header.engine = "kvm";
    header.cpu_table_digest = 0x1234;
    header.guest = {GuestKind::linux_guest, {16 * kPageBytes}, "0123456789abcdef0123456789abcdef"};
    header.image = "/srv/latin\xe9/redis.img";
    header.quantum = 1000;
    header.start_time = std::chrono::nanoseconds(5);
    header.command_line = "kv --port 6379 caf\xe9";  // in whatever its user writes
    header.recorder = "0.1.0";
    return header;
}

std::vector<std::byte> sample_memory() {
    std::vector<std::byte> memory(16 * kPageBytes);
    memory[3 * kPageBytes + 5] = std::byte{9};
    return memory;
}

std::vector<Record> sample_records(int count, std::size_t longest_frame = 30) {
    Sampler sampler(11);
    std::vector<Record> records;
    records.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
        records.push_back(sampler.record(longest_frame));
    }
    return records;
}

void write_log(const TemporaryFile& file, std::span<const Record> records, bool finish = true) {
    LogWriter writer(file.path(), sample_header(), sample_memory(), testing::bytes_of("vcpu"));
    for (const Record& record : records) {
        writer.append(record);
    }
    if (finish) {
        writer.finish();
    }
}

// Replays the file: the records that are whole, and how it ends.
std::pair<std::vector<Record>, LogEnd> read_log(const TemporaryFile& file) {
    LogReader reader(file.path());
    std::vector<std::byte> memory(reader.header().guest.memory.value);
    EXPECT_EQ(reader.read_state(memory), testing::bytes_of("vcpu"));
    EXPECT_EQ(memory, sample_memory());
    std::vector<Record> records;
    while (true) {
        auto next = reader.next();
        if (auto* end = std::get_if<LogEnd>(&next)) {
            return {std::move(records), *end};
        }
        records.push_back(std::get<Record>(std::move(next)));
    }
}

TEST(LogFile, ComesBackWhole) {
    const TemporaryFile file("log");
    const auto records = sample_records(1000, kMaxFrameBytes);  // more than one buffer
    write_log(file, records);
    EXPECT_EQ(LogReader(file.path()).header(), sample_header());
    const auto [read, end] = read_log(file);
    EXPECT_EQ(read, records);
    EXPECT_EQ(end.how, LogEnd::How::finished);
    EXPECT_EQ(end.records, records.size());
    EXPECT_EQ(end.last, records.back().stop.number);
}

// It holds the guest's memory.
TEST(LogFile, IsForItsOwnerAlone) {
    const TemporaryFile file("log");
    write_log(file, sample_records(1, kMaxFrameBytes));
    using std::filesystem::perms;
    EXPECT_EQ(std::filesystem::status(file.path()).permissions() & (perms::group_all | perms::others_all), perms::none);
}

// These bytes stand in files: a change here is a new format version.
TEST(LogFile, GoldenBytes) {
    const TemporaryFile file("golden");
    LogHeader header;
    header.vm = "v";
    header.guest.memory = {kPageBytes};
    Record record;
    record.stop = {{1}, StopKind::exit, RequestKind::none, {2}, 3};
    {
        LogWriter writer(file.path(), header, std::vector<std::byte>(kPageBytes), testing::bytes_of("R"));
        writer.append(record);
        writer.finish();
    }
    EXPECT_EQ(testing::hex(file.contents()),
              "55535444594c4f47"
              "06000000"
              "08000000"  // magic, version, length of the header
              "0a0176"
              "7203108020"
              "2f90858a"  // vm, the guest's shape: memory size; checksum
              "03000000"
              "62cf3cd9"
              "120152"  // chunk: vCPU
              "0b000000"
              "b9f13fa6"
              "1a0911a17a080fdaaf9113"  // chunk: end
              "06"
              "301438fa"
              "100420022803"  // record
              "00"
              "301438fa");  // end mark
}

TEST(LogFile, WithoutAnEndMarkItIsUnfinished) {
    const TemporaryFile file("unfinished");
    const auto records = sample_records(3);
    write_log(file, records, false);
    const auto [read, end] = read_log(file);
    EXPECT_EQ(read, records);
    EXPECT_EQ(end.how, LogEnd::How::unfinished);
    EXPECT_THAT(end.describe(), HasSubstr(fmt::format("at byte {} after record 3", file.contents().size())));
}

TEST(LogFile, CutAnywhereEverythingWholeIsReplayed) {
    const TemporaryFile file("cut");
    const auto records = sample_records(5);
    write_log(file, records);
    const auto bytes = file.contents();

    std::vector<std::size_t> boundaries;  // offsets behind 0, 1, ... whole records
    {
        LogReader reader(file.path());
        reader.skip_state();
        boundaries.push_back(reader.offset());
        while (std::holds_alternative<Record>(reader.next())) {
            boundaries.push_back(reader.offset());
        }
    }
    ASSERT_EQ(boundaries.size(), records.size() + 1);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        file.replace(std::span(bytes).first(size));
        if (size < boundaries.front()) {
            EXPECT_THROW(read_log(file), Error) << size;
            continue;
        }
        const auto whole =
            static_cast<std::size_t>(std::ranges::upper_bound(boundaries, size) - boundaries.begin()) - 1;
        const auto [read, end] = read_log(file);
        ASSERT_EQ(read.size(), whole) << size;
        ASSERT_EQ(end.offset, boundaries[whole]) << size;
        ASSERT_EQ(end.how, size == boundaries[whole] ? LogEnd::How::unfinished : LogEnd::How::truncated) << size;
    }
}

TEST(LogFile, DamageAnywhereIsNamedAndNothingWrongIsReplayed) {
    const TemporaryFile file("damaged");
    const auto records = sample_records(5);
    write_log(file, records);
    const auto bytes = file.contents();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        auto damaged = bytes;
        damaged[i] ^= std::byte{0x10};
        file.replace(damaged);
        try {
            const auto [read, end] = read_log(file);
            ASSERT_NE(end.how, LogEnd::How::finished) << "byte " << i;
            ASSERT_LE(end.offset, i);
            ASSERT_LE(read.size(), records.size());
            ASSERT_TRUE(std::equal(read.begin(), read.end(), records.begin())) << "byte " << i;
        } catch (const Error& error) {
            ASSERT_THAT(error.what(), HasSubstr(file.path().string()));
        }
    }
}

TEST(LogFile, WhatIsNoLogIsRefusedWithAReason) {
    const TemporaryFile file("no-log");
    EXPECT_THROW(LogReader(file.path()), Error);  // does not exist
    file.replace(testing::bytes_of("#!/bin/sh\necho not a log at all\n"));
    EXPECT_THAT([&] { LogReader reader(file.path()); },
                ::testing::ThrowsMessage<Error>(HasSubstr("is not a log of understudy")));
    write_log(file, {});
    auto bytes = file.contents();
    bytes[8] = std::byte{99};
    file.replace(bytes);
    EXPECT_THAT([&] { LogReader reader(file.path()); }, ::testing::ThrowsMessage<Error>(HasSubstr("log format 99")));
}

TEST(LogFile, AFullDiskIsAnError) {
    EXPECT_THAT([&] { LogWriter writer("/dev/full", sample_header(), sample_memory(), {}); },
                ::testing::ThrowsMessage<Error>(HasSubstr("No space left")));
    EXPECT_THROW(LogWriter("/nonexistent/log", sample_header(), sample_memory(), {}), Error);
}

}  // namespace
}  // namespace understudy::channel
