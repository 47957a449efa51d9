// The log on a disk whose sync fails: what the host's memory still holds afterwards is no proof of what the disk holds.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "arbiter/mutation.hpp"
#include "arbiter/storage/wal.hpp"
#include "common/error.hpp"
#include "tests/simulation/arbiter/memory_directory.hpp"

namespace understudy::arbiter::simulation {
namespace {

constexpr std::size_t kSegmentBytes = 1500;

void append(Wal& wal, raft::Index index) {
    const std::vector<raft::Entry> entries{
        {index, 1, raft::EntryKind::command, fmt::format("entry {} {}", index, std::string(200, 'x'))}};
    raft::Write write;
    write.hard_state = raft::HardState{1, 1};
    write.entries = entries;
    wal.append(write);
    wal.sync();
}

// Appends until the disk fails. The last index that is durable.
raft::Index append_until_failure(MemoryDirectory& disk, int operations) {
    Wal wal(disk, kSegmentBytes);
    disk.fail_after(operations);
    for (raft::Index index = 1;; ++index) {
        try {
            append(wal, index);
        } catch (const Error&) {
            return index - 1;
        }
    }
}

TEST(FailedSync, WhatARestartedServerReadsOutlivesItsHost) {
    active_mutation<Mutation> = Mutation::none;
    for (int operations = 1; operations <= 60; ++operations) {  // a few segments
        std::mt19937_64 random(static_cast<std::uint64_t>(operations));
        MemoryDirectory disk(random);
        const auto durable = append_until_failure(disk, operations);
        disk.outlive_server();
        const auto read = Wal(disk, kSegmentBytes).take_contents().entries;
        EXPECT_GE(read.size(), durable) << operations;
        disk.lose_unsynced();
        std::optional<Wal> again;
        ASSERT_NO_THROW(again.emplace(disk, kSegmentBytes)) << operations;
        EXPECT_EQ(again->take_contents().entries.size(), read.size()) << operations;
    }
}

}  // namespace
}  // namespace understudy::arbiter::simulation
